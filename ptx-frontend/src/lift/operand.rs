//! Operands read and written as values.

use super::function::{Lifter, Place};
use super::ssa::Var;
use super::{Kind, Named, Ty, data};
use crate::ast::{self, BaseKind, Mark, Operand, OperandKind};
use crate::isa::{Lifted, Pattern};
use hetir::attr::{Space, Sreg};
use hetir::build::Attrs;
use hetir::diag::Diagnostic;
use hetir::entity::Value;
use hetir::op::Op;
use hetir::types::Type;

type Read = Result<Value, Box<Diagnostic>>;

/// An address: a value and a constant added to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: Value,
    pub(crate) offset: i64,
    /// The space that a named variable lies in.
    pub(crate) space: Option<Space>,
}

impl Lifter<'_, '_> {
    /// An operand by its number.
    pub(crate) fn operand(&self, n: usize) -> Operand {
        // Rows only ask for operands that their pattern has; where it leaves one out, a sink stands for it.
        self.operands().get(n).copied().unwrap_or(Operand { kind: OperandKind::Sink, span: self.inst.span })
    }
    /// How many operands there are.
    pub(crate) fn operand_count(&self) -> usize {
        self.operands().len()
    }
    /// Reads an operand of exactly this type.
    pub(crate) fn src(&mut self, n: usize, ty: Ty) -> Read {
        let operand = self.operand(n);
        self.read(operand, ty, false)
    }
    /// Reads an operand whose register may be wider than the type.
    pub(crate) fn src_wider(&mut self, n: usize, ty: Ty) -> Read {
        let operand = self.operand(n);
        self.read(operand, ty, true)
    }
    /// Reads a 32-bit integer operand.
    pub(crate) fn src_u32(&mut self, n: usize) -> Read {
        self.src(n, Ty::known("u32"))
    }
    /// Reads a predicate, which may be negated.
    pub(crate) fn src_pred(&mut self, n: usize) -> Read {
        self.src(n, Ty::known("pred"))
    }
    /// Reads an operand that must be a constant.
    pub(crate) fn constant_operand(&self, n: usize) -> Result<u64, Box<Diagnostic>> {
        let operand = self.operand(n);
        match operand.kind {
            OperandKind::Int { bits, .. } => Ok(bits),
            _ => Err(self.error_at(operand.span, "this operand must be an integer constant")),
        }
    }
    /// Reads an operand.
    pub(crate) fn read(&mut self, operand: Operand, ty: Ty, wider: bool) -> Read {
        match operand.kind {
            OperandKind::Reg { reg, suffix, mark } => {
                let (var, declared) = self.reg_var(operand, reg, suffix)?;
                let value = self.read_reg(operand, var, declared, ty, wider)?;
                self.apply_mark(operand, value, mark, ty)
            }
            OperandKind::Special { name, component, mark } => {
                let value = self.special(operand, name, component, ty)?;
                self.apply_mark(operand, value, mark, ty)
            }
            OperandKind::Int { bits, .. } => match ty.kind {
                Kind::Float => {
                    Err(self.error_at(operand.span, format!("an integer constant where a .{} is needed", ty.name)))
                }
                Kind::Predicate => Ok(self.constant(Type::B1, u64::from(bits != 0))),
                Kind::Bits | Kind::Integer => Ok(self.constant(ty.ir, bits)),
            },
            OperandKind::F32(bits) => {
                match ty.ir {
                    Type::F32 => Ok(self.constant(Type::F32, u64::from(bits))),
                    // Not converted: the assembler takes the bits as they are.
                    Type::F64 => Ok(self.constant(Type::F64, u64::from(bits))),
                    _ if ty.kind == Kind::Bits && ty.ir == Type::I32 => Ok(self.constant(Type::I32, u64::from(bits))),
                    _ => Err(self
                        .error_at(operand.span, format!("a floating-point constant where a .{} is needed", ty.name))),
                }
            }
            OperandKind::F64(bits) => {
                match ty.ir {
                    Type::F64 => Ok(self.constant(Type::F64, bits)),
                    Type::F32 => Ok(self.constant(Type::F32, u64::from((f64::from_bits(bits) as f32).to_bits()))),
                    _ if ty.kind == Kind::Bits && ty.ir == Type::I64 => Ok(self.constant(Type::I64, bits)),
                    _ => Err(self
                        .error_at(operand.span, format!("a floating-point constant where a .{} is needed", ty.name))),
                }
            }
            OperandKind::Ref { .. } | OperandKind::Element { memory: false, .. } => {
                let address = self.address_of(operand)?;
                if address.space.is_some()
                    && matches!(operand.kind, OperandKind::Ref { offset: 0, .. })
                    && !self.form().is_none_or(Pattern::takes_names)
                {
                    return Err(self.error_at(operand.span, "the name of a variable where a register is needed"));
                }
                let value = self.add_offset(address);
                match ty.ir {
                    Type::I64 if ty.kind != Kind::Float => Ok(value),
                    Type::I32 if ty.kind != Kind::Float => Ok(self.op(Op::Trunc, Type::I32, &[value])),
                    _ => Err(self.error_at(operand.span, format!("an address where a .{} is needed", ty.name))),
                }
            }
            _ => Err(self.error_at(operand.span, format!("a .{} value is needed here", ty.name))),
        }
    }
    fn apply_mark(&mut self, operand: Operand, value: Value, mark: Mark, ty: Ty) -> Read {
        match mark {
            Mark::None => Ok(value),
            Mark::Not if ty.kind == Kind::Predicate => Ok(self.op(Op::Not, Type::B1, &[value])),
            Mark::Neg if ty.kind == Kind::Integer && self.form().is_some_and(Pattern::is_video) => {
                Ok(self.op(Op::INeg, ty.ir, &[value]))
            }
            Mark::Not | Mark::Neg => Err(self.error_at(operand.span, "this operand cannot be negated")),
        }
    }
    /// The SSA variable and declared type of a register operand.
    fn reg_var(
        &self,
        operand: Operand,
        reg: ast::RegId,
        suffix: ast::Symbol,
    ) -> Result<(Var, ast::Type), Box<Diagnostic>> {
        let declaration = self.function.var(self.code.regs[reg.index()].var);
        let lane = if suffix.is_empty() {
            if declaration.lanes > 1 {
                return Err(self.error_at(operand.span, "a vector register where one value is needed"));
            }
            0
        } else {
            match ast::lane(self.ast.name(suffix)) {
                _ if declaration.lanes == 1 && self.form().is_some_and(Pattern::is_video) => 0,
                _ if declaration.lanes == 1 => {
                    return Err(self.error_at(operand.span, "a part of a register where a whole one is needed"));
                }
                Some(lane) if lane < declaration.lanes => lane,
                _ => return Err(self.error_at(operand.span, "the vector register has no such component")),
            }
        };
        Ok((self.register(reg, lane), declaration.ty))
    }
    fn read_reg(&mut self, operand: Operand, var: Var, declared: ast::Type, ty: Ty, wider: bool) -> Read {
        if !ty.accepts(declared, wider) {
            return Err(self.mismatch(operand, declared, ty));
        }
        let value = self.read_var(var);
        let have = self.body.ty(value);
        if have.bits() > ty.ir.bits() {
            let narrow = self.cast(value, have.as_int());
            let narrow = self.op(Op::Trunc, ty.ir.as_int(), &[narrow]);
            return Ok(self.cast(narrow, ty.ir));
        }
        Ok(self.cast(value, ty.ir))
    }
    fn mismatch(&self, operand: Operand, declared: ast::Type, ty: Ty) -> Box<Diagnostic> {
        let name = self.ast.source(operand.span);
        self.error_at(
            operand.span,
            format!("`{name}` is a .{} register, and a .{} is needed", declared.name(), ty.name),
        )
    }
    /// The suffix of a register operand: a component or a selector.
    pub(crate) fn suffix(&self, n: usize) -> Option<&str> {
        match self.operand(n).kind {
            OperandKind::Reg { suffix, .. } if !suffix.is_empty() => Some(self.ast.name(suffix)),
            _ => None,
        }
    }

    /// Writes an operand of exactly this type.
    pub(crate) fn dst(&mut self, n: usize, ty: Ty, value: Value) -> Lifted {
        let operand = self.operand(n);
        self.write(operand, ty, value, false)
    }
    /// Writes an operand whose register may be wider: the value is extended by its sign or zeros.
    pub(crate) fn dst_wider(&mut self, n: usize, ty: Ty, value: Value) -> Lifted {
        let operand = self.operand(n);
        self.write(operand, ty, value, true)
    }
    /// Writes an operand.
    pub(crate) fn write(&mut self, operand: Operand, ty: Ty, value: Value, wider: bool) -> Lifted {
        let (reg, suffix) = match operand.kind {
            OperandKind::Sink if self.discards_results() => return Ok(()),
            OperandKind::Sink => return Err(self.error_at(operand.span, "this result cannot be discarded")),
            OperandKind::Reg { reg, suffix, mark: Mark::None } => (reg, suffix),
            _ => return Err(self.error_at(operand.span, "the result needs a register")),
        };
        let (var, declared) = self.reg_var(operand, reg, suffix)?;
        if !ty.accepts(declared, wider) {
            return Err(self.mismatch(operand, declared, ty));
        }
        let register = self.ssa.types[var.0 as usize];
        let value = if register.bits() > ty.ir.bits() {
            let narrow = self.cast(value, ty.ir.as_int());
            let extend = if ty.sign == hetir::attr::Sign::S { Op::Sext } else { Op::Zext };
            let wide = self.op(extend, register.as_int(), &[narrow]);
            self.cast(wide, register)
        } else {
            self.cast(value, register)
        };
        self.write_var(var, value);
        Ok(())
    }

    /// `_` may stand for a result that is not wanted: of some instructions, and for parts of a vector.
    fn discards_results(&self) -> bool {
        let splits = matches!(self.operand(0).kind, OperandKind::Vector(_));
        let form = |form: &Pattern| form.discards_results() || splits && matches!(form.base, "mov" | "ld" | "ldu");
        self.form().is_none_or(form)
    }

    /// The parts of a vector operand, of a vector register, or the operand itself.
    pub(crate) fn elements(&self, n: usize) -> Vec<Operand> {
        let operand = self.operand(n);
        self.elements_of(operand)
    }
    /// The parts of an operand that is a vector.
    pub(crate) fn elements_of(&self, operand: Operand) -> Vec<Operand> {
        match operand.kind {
            OperandKind::Vector(range) => self.code.operands(range).iter().flat_map(|o| self.elements_of(*o)).collect(),
            OperandKind::Reg { reg, suffix, mark } if suffix.is_empty() => {
                let lanes = self.function.var(self.code.regs[reg.index()].var).lanes;
                if lanes == 1 {
                    return vec![operand];
                }
                let components = ast::Symbol::COMPONENTS.into_iter().take(usize::from(lanes));
                components
                    .map(|suffix| Operand { kind: OperandKind::Reg { reg, suffix, mark }, span: operand.span })
                    .collect()
            }
            OperandKind::Special { name, component, mark } if component.is_empty() => {
                let has_components = special_register(&format!("{}.x", self.special_name(name))).is_some();
                let components: &[_] = if has_components { &ast::Symbol::COMPONENTS } else { &[component] };
                components
                    .iter()
                    .map(|&component| Operand {
                        kind: OperandKind::Special { name, component, mark },
                        span: operand.span,
                    })
                    .collect()
            }
            _ => vec![operand],
        }
    }
    /// The halves of `p|q`; without a second half, a sink.
    pub(crate) fn pair(&self, n: usize) -> (Operand, Operand) {
        let operand = self.operand(n);
        match operand.kind {
            OperandKind::Pair(first) => {
                let at = first as usize;
                (self.code.operands[at], self.code.operands[at + 1])
            }
            _ => (operand, Operand { kind: OperandKind::Sink, span: operand.span }),
        }
    }
    /// Writes the parts of a vector operand.
    pub(crate) fn dst_elements(&mut self, n: usize, ty: Ty, values: &[Value], wider: bool) -> Lifted {
        let elements = self.elements(n);
        if elements.len() != values.len() {
            let span = self.operand(n).span;
            return Err(
                self.error_at(span, format!("{} registers are needed here, found {}", values.len(), elements.len()))
            );
        }
        for (element, value) in elements.into_iter().zip(values) {
            self.write(element, ty, *value, wider)?;
        }
        Ok(())
    }
    /// Reads the parts of a vector operand; there must be so many.
    pub(crate) fn src_elements(
        &mut self,
        n: usize,
        ty: Ty,
        count: usize,
        wider: bool,
    ) -> Result<Vec<Value>, Box<Diagnostic>> {
        let elements = self.elements(n);
        if elements.len() != count {
            let span = self.operand(n).span;
            return Err(self.error_at(span, format!("{count} values are needed here, found {}", elements.len())));
        }
        elements.into_iter().map(|e| self.read(e, ty, wider)).collect()
    }

    /// The address in an operand such as `[r+8]`. The base is an i64.
    pub(crate) fn address(&mut self, n: usize) -> Result<Address, Box<Diagnostic>> {
        let operand = self.operand(n);
        self.address_of(operand)
    }
    /// The address in an operand.
    pub(crate) fn address_of(&mut self, operand: Operand) -> Result<Address, Box<Diagnostic>> {
        let (base, offset) = match operand.kind {
            OperandKind::Mem { base, offset } | OperandKind::Ref { base, offset } => (base.kind(), offset),
            OperandKind::Reg { reg, suffix: ast::Symbol::EMPTY, mark: Mark::None } => (BaseKind::Reg(reg), 0),
            OperandKind::Int { bits, .. } => (BaseKind::None, bits as i64),
            OperandKind::Element { base, index, offset, scale, .. } => {
                let array = self.base_address(operand, base.kind())?;
                let index = self.base_address(operand, BaseKind::Reg(index))?.base;
                let scale = self.constant(Type::I64, u64::from(scale));
                let bytes = self.op(Op::IMul, Type::I64, &[index, scale]);
                let base = self.op(Op::IAdd, Type::I64, &[array.base, bytes]);
                return Ok(Address { base, offset: i64::from(offset), space: array.space });
            }
            _ => return Err(self.error_at(operand.span, "an address is needed here")),
        };
        let address = self.base_address(operand, base)?;
        if matches!(operand.kind, OperandKind::Mem { .. }) && base == BaseKind::None && !self.has("local") {
            let is_local = ["ss", "space"].iter().any(|part| self.space(part) == Space::Local);
            if !is_local {
                return Err(self.error_at(operand.span, "only in local memory is a number an address"));
            }
        }
        if let BaseKind::Reg(reg) = base
            && offset != 0
            && self.function.var(self.code.regs[reg.index()].var).ty.bits() == 32
        {
            // A 32-bit address wraps at 32 bits, so the offset belongs to it.
            let narrow = self.op(Op::Trunc, Type::I32, &[address.base]);
            let offset = self.constant(Type::I32, offset as u64);
            let sum = self.op(Op::IAdd, Type::I32, &[narrow, offset]);
            let base = self.op(Op::Zext, Type::I64, &[sum]);
            return Ok(Address { base, offset: 0, space: None });
        }
        Ok(Address { offset, ..address })
    }
    fn base_address(&mut self, operand: Operand, base: BaseKind) -> Result<Address, Box<Diagnostic>> {
        let (base, space) = match base {
            BaseKind::None => (self.constant(Type::I64, 0), None),
            BaseKind::Reg(reg) => {
                let declared = self.function.var(self.code.regs[reg.index()].var).ty;
                let ty = Ty::known(if declared.bits() == 32 { "u32" } else { "u64" });
                if !ty.accepts(declared, false) {
                    return Err(self.error_at(operand.span, "an address register holds an integer of 32 or 64 bits"));
                }
                let value = self.read_var(self.register(reg, 0));
                let value = self.cast(value, ty.ir);
                (if ty.ir == Type::I32 { self.op(Op::Zext, Type::I64, &[value]) } else { value }, None)
            }
            BaseKind::Var(var) => self.variable_address(operand, var)?,
            BaseKind::Name(symbol) => match self.named(symbol) {
                Some(Named::Global(id)) => {
                    let space = self.cx.module.globals[id.index()].space;
                    (self.op_imm(Op::GlobalAddr, Type::I64, id.index() as u64, &[]), Some(space))
                }
                Some(Named::Function(id)) => (self.op_imm(Op::FuncAddr, Type::I64, id.index() as u64, &[]), None),
                None => {
                    let name = self.ast.name(symbol);
                    return Err(self.error_at(operand.span, format!("`{name}` is not declared")));
                }
            },
        };
        Ok(Address { base, offset: 0, space })
    }
    fn variable_address(
        &mut self,
        operand: Operand,
        var: ast::VarId,
    ) -> Result<(Value, Option<Space>), Box<Diagnostic>> {
        match self.place(var).clone() {
            Place::KernelParam(offset) => Ok((self.constant(Type::I64, u64::from(offset)), Some(Space::Param))),
            Place::Slot(slot) => {
                Ok((self.op_imm(Op::SlotAddr, Type::I64, slot.index() as u64, &[]), Some(Space::Local)))
            }
            Place::Global(id) => {
                let space = self.cx.module.globals[id.index()].space;
                Ok((self.op_imm(Op::GlobalAddr, Type::I64, id.index() as u64, &[]), Some(space)))
            }
            Place::Pieces(_) | Place::Registers => {
                Err(self.error_at(operand.span, "the address of this parameter cannot be taken here"))
            }
        }
    }
    /// An address as one value.
    pub(crate) fn add_offset(&mut self, address: Address) -> Value {
        if address.offset == 0 {
            return address.base;
        }
        let offset = self.constant(Type::I64, address.offset as u64);
        self.op(Op::IAdd, Type::I64, &[address.base, offset])
    }

    /// What a register says of the shared memory that is kept for the system. It is a variable here, which those kernels
    /// have that ask for it.
    fn reserved_shared(&mut self, name: &str) -> Option<Value> {
        let offset = match name.strip_prefix("reserved_smem_offset_")? {
            "begin" | "0" => 0,
            "1" => RESERVED_SHARED / 2,
            "end" => RESERVED_SHARED,
            "cap" => return Some(self.constant(Type::I32, RESERVED_SHARED)),
            _ => return None,
        };
        let id = data::reserved_shared(&mut self.cx.module, RESERVED_SHARED);
        let base = self.op_imm(Op::GlobalAddr, Type::I64, id.index() as u64, &[]);
        let base = self.op(Op::Trunc, Type::I32, &[base]);
        let offset = self.constant(Type::I32, offset);
        Some(self.op(Op::IAdd, Type::I32, &[base, offset]))
    }
    fn special_name(&self, name: ast::Symbol) -> &str {
        self.ast.name(name).trim_start_matches('%')
    }
    fn special(&mut self, operand: Operand, name: ast::Symbol, component: ast::Symbol, ty: Ty) -> Read {
        let text = self.special_name(name);
        let component = self.ast.name(component);
        let full = if component.is_empty() { text.to_string() } else { format!("{text}.{component}") };
        if full == "is_explicit_cluster" {
            let value = self.b().op(Attrs::of(Op::Sreg).with(Sreg::IsExplicitCluster), Type::I32, &[]);
            let zero = self.constant(Type::I32, 0);
            let set = self.op(Attrs::of(Op::ICmp).with(hetir::attr::IntCmp::Ne), Type::I32, &[value, zero]);
            return if ty.kind == Kind::Predicate && self.form().is_none_or(Pattern::takes_special_registers) {
                Ok(set)
            } else {
                Err(self.error_at(operand.span, "this is a predicate"))
            };
        }
        if component == "w" && special_register(&format!("{text}.x")).is_some() {
            return Ok(self.constant(ty.ir, 0));
        }
        if let Some(value) = self.reserved_shared(&full) {
            return if ty.ir == Type::I32 && self.form().is_none_or(Pattern::takes_special_registers) {
                Ok(value)
            } else {
                Err(self.error_at(operand.span, "this special register can only be moved as a .u32"))
            };
        }
        let Some((sreg, number, width)) = special_register(&full) else {
            return Err(self.error_at(operand.span, format!("`%{full}` is neither declared nor a special register")));
        };
        if !self.form().is_none_or(Pattern::takes_special_registers) {
            return Err(self.error_at(operand.span, "a special register can only be moved and converted"));
        }
        let value = self.op_imm(Attrs::of(Op::Sreg).with(sreg), width, number, &[]);
        if ty.kind == Kind::Float || ty.kind == Kind::Predicate {
            return Err(self.error_at(operand.span, format!("a special register where a .{} is needed", ty.name)));
        }
        match (width.bits(), ty.ir.bits()) {
            (have, want) if have == want => Ok(value),
            (64, 32) | (32, 16) | (64, 16) => Ok(self.op(Op::Trunc, ty.ir, &[value])),
            (32, 64) => Ok(self.op(Op::Zext, ty.ir, &[value])),
            _ => Err(self.error_at(operand.span, format!("a special register where a .{} is needed", ty.name))),
        }
    }
}

/// Bytes of shared memory that a card keeps for the system in each block, half of them for whoever asks for `offset_1`:
/// CUDA's cooperative groups, which want 288.
const RESERVED_SHARED: u64 = 1024;

/// The special register of a name, its number in its row, and its width.
fn special_register(name: &str) -> Option<(Sreg, u64, Type)> {
    let wide = |s| matches!(s, Sreg::Clock64 | Sreg::GlobalTimer | Sreg::GridId | Sreg::CurrentGraphExec | Sreg::Pm64);
    let numbered = |prefix: &str, suffix: &str, most: u64| -> Option<u64> {
        let digits = name.strip_prefix(prefix)?.strip_suffix(suffix)?;
        digits.parse().ok().filter(|n| *n < most && !digits.starts_with('+'))
    };
    if let Some(n) = numbered("envreg", "", 32) {
        return Some((Sreg::EnvReg, n, Type::I32));
    }
    if let Some(n) = numbered("pm", "_64", 8) {
        return Some((Sreg::Pm64, n, Type::I64));
    }
    if let Some(n) = numbered("pm", "", 8) {
        return Some((Sreg::Pm, n, Type::I32));
    }
    let sreg = Sreg::ALL
        .iter()
        .copied()
        .find(|s| s.name() == name && !matches!(s, Sreg::EnvReg | Sreg::Pm | Sreg::Pm64 | Sreg::IsExplicitCluster))?;
    Some((sreg, 0, if wide(sreg) { Type::I64 } else { Type::I32 }))
}
