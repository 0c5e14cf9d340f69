//! Operands.

use super::expr::{Const, Int};
use super::scope::Bound;
use super::{Parse, Parser};
use crate::ast::{Base, BaseKind, Item, Mark, Operand, OperandKind, Operands, Space, Symbol, Variable};
use hetir::diag::{Diagnostic, Span};

impl Parser<'_> {
    /// An operand of the instruction at hand.
    pub(super) fn operand(&mut self) -> Parse<Operand> {
        let first = self.cur.peek();
        match first {
            b'[' => self.memory(),
            b'{' => {
                let start = self.cur.pos;
                let vector = self.vector()?;
                if self.cur.peek() == b'|' { self.pair(vector, start) } else { Ok(vector) }
            }
            b'(' if self.func.is_call => self.list(),
            _ => self.simple(),
        }
    }

    fn operand_at(&self, kind: OperandKind, start: usize) -> Operand {
        Operand { kind, span: self.span_from(start) }
    }

    /// Moves what has been read since the stack had `base` operands to the arena.
    fn group(&mut self, base: usize) -> Operands {
        let start = self.func.operands.len() as u32;
        self.func.operands.extend(self.func.stack.drain(base..));
        Operands { start, len: self.func.operands.len() as u32 - start }
    }

    /// `{a, b}`
    fn vector(&mut self) -> Parse<Operand> {
        let start = self.cur.pos;
        let base = self.func.stack.len();
        self.cur.pos += 1;
        self.func.open_braces += 1;
        loop {
            let element = self.simple()?;
            self.func.stack.push(element);
            if !self.cur.eat(b',') {
                break;
            }
        }
        self.expect(b'}', "or `,` in the vector")?;
        self.func.open_braces -= 1;
        let elements = self.group(base);
        Ok(self.operand_at(OperandKind::Vector(elements), start))
    }

    /// `(a, b)`
    fn list(&mut self) -> Parse<Operand> {
        let start = self.cur.pos;
        let base = self.func.stack.len();
        self.cur.pos += 1;
        if !self.cur.eat(b')') {
            loop {
                let element = self.simple()?;
                self.func.stack.push(element);
                if !self.cur.eat(b',') {
                    break;
                }
            }
            self.expect(b')', "or `,` in the list")?;
        }
        let elements = self.group(base);
        Ok(self.operand_at(OperandKind::List(elements), start))
    }

    /// `[a]`, `[a + 4]`, `[a, {b, c}]`
    fn memory(&mut self) -> Parse<Operand> {
        let start = self.cur.pos;
        self.cur.pos += 1;
        let first = self.simple()?;
        let kind = if self.cur.peek() == b',' {
            let base = self.func.stack.len();
            self.func.stack.push(first);
            while self.cur.eat(b',') {
                let element = if self.cur.peek() == b'{' { self.vector()? } else { self.simple()? };
                self.func.stack.push(element);
            }
            OperandKind::MemList(self.group(base))
        } else {
            match first.kind {
                OperandKind::Reg { reg, suffix: Symbol::EMPTY, mark: Mark::None } => {
                    OperandKind::Mem { base: BaseKind::Reg(reg).into(), offset: 0 }
                }
                OperandKind::Ref { base, offset } => OperandKind::Mem { base, offset },
                OperandKind::Int { bits, .. } => OperandKind::Mem { base: BaseKind::None.into(), offset: bits as i64 },
                _ => {
                    let text = self.module.source(first.span);
                    return Err(Box::new(
                        Diagnostic::error("ptx::syntax", format!("`{text}` is not an address"))
                            .at(first.span, "")
                            .note("an address is a register, a variable or a number, with `+` and a constant"),
                    ));
                }
            }
        };
        self.expect(b']', "after the address")?;
        let operand = self.operand_at(kind, start);
        if self.cur.peek() == b'.' && self.cur.eat_dotted("unified") {
            self.func.unified = true;
        }
        Ok(operand)
    }

    /// A register, name or constant.
    fn simple(&mut self) -> Parse<Operand> {
        let first = self.cur.peek();
        let start = self.cur.pos;
        if self.cur.at_name() {
            let (_, end) = self.cur.word();
            let operand = self.named(start, end, Mark::None)?;
            return if self.cur.peek() == b'|' { self.pair(operand, start) } else { Ok(operand) };
        }
        if matches!(first, b'!' | b'-') {
            let mark = if first == b'!' { Mark::Not } else { Mark::Neg };
            self.cur.pos += 1;
            self.cur.skip();
            if self.cur.at_name() {
                let (name, end) = self.cur.word();
                if self.slice((name, end)) != "WARP_SZ" {
                    return self.named_after(start, name, end, mark);
                }
            }
            self.cur.pos = start;
        }
        if !self.cur.at_number() && !matches!(first, b'-' | b'+' | b'~' | b'!' | b'(') {
            return self.expected(format_args!("an operand of `{}`", self.func_opcode()));
        }
        let kind = match self.constant()? {
            Const::Int(Int { bits, unsigned }) => OperandKind::Int { bits, unsigned },
            Const::F32(bits) => OperandKind::F32(bits),
            Const::F64(value) => OperandKind::F64(value.to_bits()),
        };
        Ok(self.operand_at(kind, start))
    }

    /// The opcode at hand, for messages. Directives use the same operands.
    fn func_opcode(&self) -> String {
        self.name(self.func.opcode).to_owned()
    }

    fn named(&mut self, start: usize, end: usize, mark: Mark) -> Parse<Operand> {
        self.named_after(start, start, end, mark)
    }

    /// The operand whose name has just been read; `start` is before its mark.
    fn named_after(&mut self, start: usize, name: usize, end: usize, mark: Mark) -> Parse<Operand> {
        if end == name + 1 && self.cur.at(name) == b'_' && mark == Mark::None {
            return Ok(self.operand_at(OperandKind::Sink, start));
        }
        let symbol = self.intern((name, end));
        let bound = self.scopes.lookup(symbol, &mut self.module.names, &mut self.func.regs);
        if let Some(Bound::Reg(reg)) = bound {
            let (suffix, end) = self.suffix(end)?;
            if self.cur.peek() == b'+' && suffix.is_empty() && mark == Mark::None {
                let offset = self.offset()?;
                return Ok(self.operand_at(OperandKind::Ref { base: BaseKind::Reg(reg).into(), offset }, start));
            }
            let span = Span::new(start as u32, end as u32);
            return Ok(Operand { kind: OperandKind::Reg { reg, suffix, mark }, span });
        }
        let local = matches!(bound, Some(Bound::Var(_) | Bound::Label(_)));
        if self.cur.at(name) == b'%' && !local && self.module.find(symbol).is_none() {
            let (component, end) = self.suffix(end)?;
            let span = Span::new(start as u32, end as u32);
            return Ok(Operand { kind: OperandKind::Special { name: symbol, component, mark }, span });
        }
        if mark != Mark::None {
            let text = self.module.source(self.span_from(start));
            return Err(Box::new(
                Diagnostic::error("ptx::syntax", format!("`{text}`: only a register can stand after this sign"))
                    .at(self.span_from(start), ""),
            ));
        }
        if self.slice((name, end)) == "WARP_SZ" {
            self.cur.pos = name;
            let Int { bits, unsigned } = self.integer("an operand")?;
            return Ok(self.operand_at(OperandKind::Int { bits, unsigned }, start));
        }
        let base: Base = match bound {
            Some(Bound::Var(var)) => BaseKind::Var(var).into(),
            _ => {
                self.func.has_names = true;
                BaseKind::Name(symbol).into()
            }
        };
        match self.cur.peek() {
            b'+' => {
                let offset = self.offset()?;
                Ok(self.operand_at(OperandKind::Ref { base, offset }, start))
            }
            b'[' => self.element(base, start),
            _ => Ok(Operand { kind: OperandKind::Ref { base, offset: 0 }, span: Span::new(start as u32, end as u32) }),
        }
    }

    /// `.x` after a register whose name ends at `end`, and where it ends.
    fn suffix(&mut self, end: usize) -> Parse<(Symbol, usize)> {
        if self.cur.peek() != b'.' {
            return Ok((Symbol::EMPTY, end));
        }
        match self.cur.dotted() {
            Some(range) => Ok((self.intern(range), range.1)),
            None => {
                self.cur.pos += 1;
                self.expected("a component such as `x` after `.`")
            }
        }
    }

    /// `+ constant`
    fn offset(&mut self) -> Parse<i64> {
        self.cur.pos += 1;
        Ok(self.integer("an offset")?.bits as i64)
    }

    /// `a|b`, of which `a` has been read; it may be a vector.
    fn pair(&mut self, first: Operand, start: usize) -> Parse<Operand> {
        if !matches!(first.kind, OperandKind::Reg { .. } | OperandKind::Sink | OperandKind::Vector(_)) {
            return self.expected(format_args!("`,` or `;` after an operand of `{}`", self.func_opcode()));
        }
        self.cur.pos += 1;
        self.cur.skip();
        if !self.cur.at_name() {
            return self.expected("a register or `_` after `|`");
        }
        let (name, end) = self.cur.word();
        let second = self.named(name, end, Mark::None)?;
        if !matches!(second.kind, OperandKind::Reg { .. } | OperandKind::Sink) {
            let text = self.module.source(second.span);
            return Err(Box::new(
                Diagnostic::error("ptx::syntax", format!("expected a register or `_` after `|`, found `{text}`"))
                    .at(second.span, ""),
            ));
        }
        let at = self.func.operands.len() as u32;
        self.func.operands.extend([first, second]);
        Ok(Operand { kind: OperandKind::Pair(at), span: Span::new(start as u32, second.span.end) })
    }

    /// `array[n]` or `array[reg + n]`, of which the name has been read. The index counts scalar elements.
    fn element(&mut self, base: Base, start: usize) -> Parse<Operand> {
        let variable = match base.kind() {
            BaseKind::Var(var) => self.func.vars.get(var.index()),
            BaseKind::Name(name) => match self.module.find(name) {
                Some(Item::Variable(n)) => self.module.variables.get(n as usize),
                _ => None,
            },
            BaseKind::None | BaseKind::Reg(_) => None,
        };
        let scale = match variable {
            Some(v) if is_array(v) => i64::from(v.ty.bits().div_ceil(8)),
            _ => {
                let text = self.module.source(Span::new(start as u32, self.cur.pos as u32)).trim_end();
                return Err(Box::new(
                    Diagnostic::error("ptx::syntax", format!("`{text}` is not an array that is declared before"))
                        .at(self.span_from(start), ""),
                ));
            }
        };
        let memory = !self.name(self.func.opcode).starts_with("mov");
        self.cur.pos += 1;
        let index = self.simple()?;
        self.expect(b']', "after the index")?;
        let too_far = || Diagnostic::error("ptx::literal", "this index is too large").at(index.span, "");
        let no_index = || {
            let message = format!("`{}` is not an index", self.module.source(index.span));
            let error = Diagnostic::error("ptx::syntax", message).at(index.span, "");
            Box::new(error.note("an index is a constant, or a register with `+` and a constant"))
        };
        let scaled = |n: i64| n.checked_mul(scale).ok_or_else(|| Box::new(too_far()));
        let of_reg = |reg, n: i64| -> Parse<OperandKind> {
            let offset = i32::try_from(scaled(n)?).map_err(|_| Box::new(too_far()))?;
            Ok(OperandKind::Element { base, index: reg, offset, scale: scale as u8, memory })
        };
        let kind = match index.kind {
            OperandKind::Int { bits, .. } if memory => OperandKind::Mem { base, offset: scaled(bits as i64)? },
            OperandKind::Int { bits, .. } => OperandKind::Ref { base, offset: scaled(bits as i64)? },
            OperandKind::Reg { reg, suffix: Symbol::EMPTY, mark: Mark::None } => of_reg(reg, 0)?,
            OperandKind::Ref { base: inner, offset } => match inner.kind() {
                BaseKind::Reg(reg) => of_reg(reg, offset)?,
                BaseKind::None | BaseKind::Var(_) | BaseKind::Name(_) => return Err(no_index()),
            },
            _ => return Err(no_index()),
        };
        let operand = self.operand_at(kind, start);
        if self.cur.peek() == b'.' && self.cur.eat_dotted("unified") {
            self.func.unified = true;
        }
        Ok(operand)
    }
}

fn is_array(variable: &Variable) -> bool {
    variable.space != Space::Reg && !variable.dims().is_empty()
}
