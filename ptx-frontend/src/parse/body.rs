//! Bodies of functions: statements and scopes.

use super::scope::Bound;
use super::{MAX_ALL_ERRORS, MAX_ERRORS, MAX_SCOPES, Parse, Parser};
use crate::ast::{
    BaseKind, Body, Code, Guard, Inlined, Inst, Label, LabelId, LabelKind, Loc, Operand, OperandKind, Operands,
    Prototype, Reg, Statement, Symbol, VarId, Variable,
};
use hetir::diag::{Diagnostic, Span};

/// The function that is being read. The vectors are used again for the next one.
#[derive(Default)]
pub(super) struct State {
    pub(super) vars: Vec<Variable>,
    pub(super) statements: Vec<Statement>,
    pub(super) operands: Vec<Operand>,
    pub(super) regs: Vec<Reg>,
    pub(super) labels: Vec<Label>,
    pub(super) locs: Vec<Loc>,
    pub(super) prototypes: Vec<Prototype>,
    pub(super) errors: Vec<Diagnostic>,
    /// True once there has been an error, kept or not.
    pub(super) is_broken: bool,
    /// Operands that are not complete.
    pub(super) stack: Vec<Operand>,
    /// Indices of operands with names that may be labels of open scopes, and where each scope's begin.
    pending: Vec<u32>,
    pending_starts: Vec<usize>,
    /// The instruction at hand: its opcode,
    pub(super) opcode: Symbol,
    /// whether parentheses are lists of arguments,
    pub(super) is_call: bool,
    /// whether it has `.unified`,
    pub(super) unified: bool,
    /// whether it has names that are neither registers nor variables of the function,
    pub(super) has_names: bool,
    /// and how many of its braces are open.
    pub(super) open_braces: u32,
}

impl State {
    pub(super) fn clear(&mut self) {
        self.vars.clear();
        self.statements.clear();
        self.operands.clear();
        self.regs.clear();
        self.labels.clear();
        self.locs.clear();
        self.prototypes.clear();
        self.errors.clear();
        self.is_broken = false;
        self.stack.clear();
        self.pending.clear();
        self.pending_starts.clear();
    }
}

impl Parser<'_> {
    /// An error in the function at hand.
    pub(super) fn report_in_function(&mut self, error: Diagnostic) {
        self.func.is_broken = true;
        if self.func.errors.len() < MAX_ERRORS && self.kept < MAX_ALL_ERRORS {
            self.kept += 1;
            self.func.errors.push(error);
        }
    }

    fn has_all_errors(&self) -> bool {
        self.func.errors.len() >= MAX_ERRORS || self.kept >= MAX_ALL_ERRORS && self.func.is_broken
    }

    /// Opens a scope, which must be done for the parameters before the body.
    pub(super) fn open_scope(&mut self) {
        self.scopes.open();
        self.func.pending_starts.push(self.func.pending.len());
    }

    /// Closes the innermost scope: names that are its labels become references to them.
    fn close_scope(&mut self) {
        let start = self.func.pending_starts.pop().unwrap_or(0);
        let mut kept = start;
        for i in start..self.func.pending.len() {
            let at = self.func.pending[i];
            let operand = &mut self.func.operands[at as usize];
            if let OperandKind::Ref { base, offset: 0 } = operand.kind
                && let BaseKind::Name(name) = base.kind()
                && let Some(label) = self.scopes.label_here(name)
            {
                operand.kind = OperandKind::Label(label);
            } else {
                self.func.pending[kept] = at;
                kept += 1;
            }
        }
        self.func.pending.truncate(kept);
        self.scopes.close();
    }

    /// The body of the function `name`, from `{` to `}`, whose scope with the parameters is open.
    pub(super) fn body(&mut self, name: Symbol) -> Code {
        let start = self.cur.pos;
        self.cur.pos += 1;
        loop {
            match self.cur.peek() {
                b'}' => {
                    self.cur.pos += 1;
                    if self.scopes.depth() == 1 {
                        break;
                    }
                    self.close_scope();
                }
                b'{' => {
                    if self.scopes.depth() == MAX_SCOPES {
                        let at = self.cur.pos as u32;
                        let message = format!("scopes are nested more than {MAX_SCOPES} deep");
                        self.report_in_function(Diagnostic::error("ptx::limit", message).at(Span::new(at, at + 1), ""));
                        self.abandon();
                        break;
                    }
                    self.cur.pos += 1;
                    self.open_scope();
                }
                0 if self.cur.is_end() => {
                    let error = match self.open_comment() {
                        Some(error) => error,
                        None => self.open_body(name, start),
                    };
                    self.report_in_function(error);
                    break;
                }
                b'.' if self.at_module_word() => {
                    let error = self.open_body(name, start);
                    self.report_in_function(error);
                    break;
                }
                _ => {
                    self.func.open_braces = 0;
                    let at = self.cur.pos;
                    if let Err(error) = self.statement() {
                        self.report_in_function(*error);
                        self.func.stack.clear();
                        if self.has_all_errors() {
                            self.abandon();
                            break;
                        }
                        let open = self.func.open_braces;
                        self.recover(open);
                        if self.cur.pos == at {
                            // An error is never found before a brace at which a statement may begin.
                            self.cur.pos += 1;
                            self.skip_word();
                        }
                    }
                }
            }
        }
        while self.scopes.depth() > 0 {
            self.close_scope();
        }
        self.undeclared();
        self.finish(start)
    }

    /// The error for a body that is not closed where something else begins.
    fn open_body(&mut self, name: Symbol, start: usize) -> Diagnostic {
        let (found, span) = self.cur.found();
        let message = format!("expected `}}` to close the body of `{}`, found {found}", self.name(name));
        let open = Span::new(start as u32, start as u32 + 1);
        Diagnostic::error("ptx::syntax", message).at(span, "").at(open, "the body begins here")
    }

    /// Gives the rest of the body up.
    fn abandon(&mut self) {
        self.skip_braces(self.scopes.depth());
    }

    /// Reports names that nothing declares.
    fn undeclared(&mut self) {
        for i in 0..self.func.pending.len() {
            let operand = self.func.operands[self.func.pending[i] as usize];
            let (OperandKind::Ref { base, .. } | OperandKind::Mem { base, .. } | OperandKind::Element { base, .. }) =
                operand.kind
            else {
                continue;
            };
            if let BaseKind::Name(name) = base.kind()
                && self.module.find(name).is_none()
            {
                let message = format!("`{}` is not declared", self.name(name));
                self.report_in_function(Diagnostic::error("ptx::undeclared", message).at(operand.span, ""));
            }
        }
    }

    fn finish(&mut self, start: usize) -> Code {
        if self.func.is_broken {
            return Code::Broken(std::mem::take(&mut self.func.errors));
        }
        // Exact copies: the scratch vectors keep their size.
        Code::Body(Box::new(Body {
            span: self.span_from(start),
            statements: self.func.statements.as_slice().into(),
            operands: self.func.operands.as_slice().into(),
            regs: self.func.regs.as_slice().into(),
            labels: self.func.labels.as_slice().into(),
            locs: self.func.locs.as_slice().into(),
            prototypes: std::mem::take(&mut self.func.prototypes),
        }))
    }

    /// A label, an instruction, or a directive of a body.
    fn statement(&mut self) -> Parse<()> {
        let start = self.cur.pos;
        match self.cur.byte() {
            b'.' => self.directive(),
            b'@' if self.cur.at(start + 1) == b'@' => {
                self.skip_line();
                Ok(())
            }
            b'@' => {
                self.cur.pos += 1;
                let negated = self.cur.eat(b'!');
                let (name, span) = self.expect_name("a predicate register after `@`")?;
                let bound = self.scopes.lookup(name, &mut self.module.names, &mut self.func.regs);
                let Some(Bound::Reg(reg)) = bound else {
                    let text = self.name(name);
                    let (code, message) = match bound {
                        None => ("ptx::undeclared", format!("the predicate `{text}` is not declared")),
                        Some(_) => ("ptx::syntax", format!("`{text}` is not a register")),
                    };
                    return Err(Box::new(Diagnostic::error(code, message).at(span, "")));
                };
                self.cur.skip();
                if !self.cur.at_name() {
                    return self.expected("an instruction after the predicate");
                }
                let range = self.cur.word();
                self.instruction(start, range, Some(Guard { reg, negated }))
            }
            _ if self.cur.at_name() => {
                let range = self.cur.word();
                // An opcode mostly has a modifier at once; a label may have space before its colon.
                if self.cur.byte() != b'.' && self.cur.peek() == b':' && self.cur.at(self.cur.pos + 1) != b':' {
                    self.cur.pos += 1;
                    return self.label(range);
                }
                self.cur.pos = range.1;
                self.instruction(start, range, None)
            }
            _ => self.expected("an instruction, a label, a directive or `}`"),
        }
    }

    pub(super) fn skip_line(&mut self) {
        let rest = &self.cur.text.as_bytes()[self.cur.pos..];
        self.cur.pos += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
    }

    fn label(&mut self, range: (usize, usize)) -> Parse<()> {
        let name = self.intern(range);
        let span = Span::new(range.0 as u32, range.1 as u32);
        let id = LabelId(self.func.labels.len() as u32);
        self.func.labels.push(Label { name, span, kind: LabelKind::Code });
        let declared = self.scopes.declare(name, Bound::Label(id), &self.module.names);
        let kind = match self.cur.peek() {
            b'.' => self.label_directive()?,
            _ => None,
        };
        match kind {
            Some(kind) => self.func.labels[id.index()].kind = kind,
            None => self.func.statements.push(Statement::Label(id)),
        }
        declared.map_err(|old| self.redeclared(name, span, old))
    }

    /// `.branchtargets`, `.calltargets` or `.callprototype` after a label.
    fn label_directive(&mut self) -> Parse<Option<LabelKind>> {
        let start = self.cur.pos;
        let Some(range) = self.cur.dotted() else { return Ok(None) };
        let kind = match self.slice(range) {
            "branchtargets" => LabelKind::BranchTargets(self.targets("branchtargets")?),
            "calltargets" => LabelKind::CallTargets(self.targets("calltargets")?),
            "callprototype" => {
                let prototype = self.prototype()?;
                self.func.prototypes.push(prototype);
                LabelKind::Prototype(self.func.prototypes.len() as u32 - 1)
            }
            _ => {
                self.cur.pos = start;
                return Ok(None);
            }
        };
        Ok(Some(kind))
    }

    /// `a, b<3>, c;`
    fn targets(&mut self, directive: &str) -> Parse<Operands> {
        let start = self.func.operands.len() as u32;
        loop {
            let (name, span) = self.expect_name(format_args!("a name after `.{directive}`"))?;
            if self.cur.eat(b'<') {
                let count = self.name_count("the number of labels")?;
                let prefix = self.name(name).to_owned();
                for i in 0..count {
                    let name = self.module.names.intern(&format!("{prefix}{i}"));
                    self.target(name, span);
                }
            } else {
                self.target(name, span);
            }
            if !self.cur.eat(b',') {
                break;
            }
        }
        self.expect(b';', format_args!("after the names of `.{directive}`"))?;
        Ok(Operands { start, len: self.func.operands.len() as u32 - start })
    }

    fn target(&mut self, name: Symbol, span: Span) {
        self.func.pending.push(self.func.operands.len() as u32);
        self.func
            .operands
            .push(Operand { kind: OperandKind::Ref { base: BaseKind::Name(name).into(), offset: 0 }, span });
    }

    /// An instruction whose guard and first word have been read.
    fn instruction(&mut self, start: usize, word: (usize, usize), guard: Option<Guard>) -> Parse<()> {
        let opcode = self.opcode(word)?;
        let bytes = self.cur.text.as_bytes();
        self.func.opcode = opcode;
        self.func.is_call = bytes[word.0] == b'c' && &bytes[word.0..word.1] == b"call";
        self.func.unified = false;
        self.func.has_names = false;
        let arena = self.func.operands.len();
        if self.cur.peek() != b';' {
            loop {
                let operand = self.operand()?;
                self.func.stack.push(operand);
                if !self.cur.eat(b',') {
                    break;
                }
            }
        }
        if !self.cur.eat(b';') {
            let text = self.name(opcode).to_owned();
            return match self.func.stack.is_empty() {
                true => self.expected(format_args!("an operand of `{text}` or `;`")),
                false => self.expected(format_args!("`;` after the operands of `{text}`")),
            };
        }
        let span = self.span_from(start);
        let first = self.func.operands.len() as u32;
        let Ok(count) = u16::try_from(self.func.stack.len()) else {
            let text = self.name(opcode);
            let message = format!("`{text}` has {} operands, more than {}", self.func.stack.len(), u16::MAX);
            return Err(Box::new(Diagnostic::error("ptx::limit", message).at(span, "")));
        };
        self.func.operands.append(&mut self.func.stack);
        if self.func.has_names {
            for i in arena..self.func.operands.len() {
                let (OperandKind::Ref { base, .. } | OperandKind::Mem { base, .. } | OperandKind::Element { base, .. }) =
                    self.func.operands[i].kind
                else {
                    continue;
                };
                if matches!(base.kind(), BaseKind::Name(_)) {
                    self.func.pending.push(i as u32);
                }
            }
        }
        let unified = self.func.unified;
        self.func.statements.push(Statement::Inst(Inst { opcode, guard, first, count, unified, span }));
        Ok(())
    }

    /// The opcode whose first word has been read.
    fn opcode(&mut self, word: (usize, usize)) -> Parse<Symbol> {
        let mut end = self.modifiers(word.1)?;
        self.cur.pos = end;
        if self.cur.peek() != b'.' {
            return Ok(self.intern((word.0, end)));
        }
        // White space between the parts: the symbol is that of the text without it.
        let mut text = self.slice((word.0, end)).to_owned();
        while self.cur.peek() == b'.' {
            let start = self.cur.pos;
            end = self.modifiers(start)?;
            text.push_str(self.slice((start, end)));
            self.cur.pos = end;
        }
        Ok(self.module.names.intern(&text))
    }

    /// End of the `.modifier`s, with their `::`, that stand at a position without white space between them.
    fn modifiers(&mut self, mut at: usize) -> Parse<usize> {
        loop {
            let skip = match self.cur.at(at) {
                b'.' => 1,
                b':' if self.cur.at(at + 1) == b':' => 2,
                _ => return Ok(at),
            };
            let end = self.cur.word_end(at + skip);
            if end == at + skip {
                self.cur.pos = end;
                return self.expected(if skip == 1 { "a modifier after `.`" } else { "a modifier after `::`" });
            }
            at = end;
        }
    }

    /// A directive that stands alone in a body.
    fn directive(&mut self) -> Parse<()> {
        let start = self.cur.pos;
        let Some(range) = self.cur.dotted() else {
            return self.expected("an instruction, a label, a directive or `}`");
        };
        match self.slice(range) {
            "loc" => self.loc(),
            "pragma" => {
                loop {
                    let text = self.expect_string("a string after `.pragma`")?;
                    let text = self.intern(text);
                    self.func.statements.push(Statement::Pragma(text));
                    if !self.cur.eat(b',') {
                        break;
                    }
                }
                self.expect(b';', "after `.pragma`")
            }
            name @ ("branchtargets" | "calltargets" | "callprototype") => Err(Box::new(
                Diagnostic::error("ptx::syntax", format!("`.{name}` needs a label before it"))
                    .at(self.span_from(start), ""),
            )),
            "reg" | "local" | "shared" | "param" | "const" | "global" | "align" | "attribute" => {
                self.cur.pos = start;
                self.local_declaration()
            }
            name => Err(Box::new(
                Diagnostic::error("ptx::directive", format!("`.{name}` is not a directive of a function's body"))
                    .at(self.span_from(start), ""),
            )),
        }
    }

    /// `.loc file line column {, function_name label {+ n}, inlined_at file line column}`
    fn loc(&mut self) -> Parse<()> {
        let file = self.natural32("the file number of `.loc`")?;
        let line = self.natural32("the line of `.loc`")?;
        let column = self.natural32("the column of `.loc`")?;
        let mut inlined = None;
        if self.cur.eat(b',') {
            self.expect_word("function_name")?;
            let (function, _) = self.expect_name("a label after `function_name`")?;
            let offset = if self.cur.eat(b'+') { self.natural32("the offset of `function_name`")? } else { 0 };
            self.expect(b',', "before `inlined_at`")?;
            self.expect_word("inlined_at")?;
            inlined = Some(Inlined {
                function,
                offset,
                file: self.natural32("the file number of `inlined_at`")?,
                line: self.natural32("the line of `inlined_at`")?,
                column: self.natural32("the column of `inlined_at`")?,
            });
        }
        self.func.statements.push(Statement::Loc(self.func.locs.len() as u32));
        self.func.locs.push(Loc { file, line, column, inlined });
        Ok(())
    }

    fn expect_word(&mut self, word: &str) -> Parse<()> {
        self.cur.skip();
        let range = self.cur.word();
        if self.slice(range) != word {
            self.cur.pos = range.0;
            return self.expected(format_args!("`{word}`"));
        }
        Ok(())
    }

    /// "... is already declared in this scope"
    pub(super) fn redeclared(&self, name: Symbol, span: Span, old: Option<Bound>) -> Box<Diagnostic> {
        let at = match old {
            Some(Bound::Reg(reg)) => self.func.regs.get(reg.index()).map(|r| r.var),
            Some(Bound::Var(var)) => Some(var),
            Some(Bound::Label(_)) | None => None,
        };
        let first = match (old, at) {
            (Some(Bound::Label(label)), _) => self.func.labels.get(label.index()).map(|l| l.span),
            (_, at) => at.and_then(|v: VarId| self.func.vars.get(v.index())).map(|v| v.span),
        };
        let message = format!("`{}` is already declared in this scope", self.name(name));
        let error = Diagnostic::error("ptx::redeclared", message).at(span, "");
        Box::new(match first {
            Some(first) => error.at(first, "first declared here"),
            None => error,
        })
    }
}
