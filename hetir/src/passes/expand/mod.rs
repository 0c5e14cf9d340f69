//! Rewrites ops that a device lacks into simpler ones, in straight lines.
//!
//! What every device has, and expansions are made of: `const`, `iadd`, `isub`, `imul`, `and`, `or`, `xor`, `not`, `shl`,
//! `shr`, `icmp`, `select`, `trunc`, `zext`, `sext`, `bitcast`, `pack` and `unpack` of one-lane types of up to 64 bits.
//! An expansion may use other ops, which are expanded in turn where the device lacks them too: `bfind` is made of `clz`,
//! `imulhi` of `imulwide`.

mod bits;
mod int;
mod lanes;

use super::Renames;
use crate::attr::{IntCmp, Sign};
use crate::build::Attrs;
use crate::diag::Span;
use crate::entity::{Inst, Value};
use crate::ir::{Body, InstData, MAX_ATTRS, Module};
use crate::op::{Effects, Op, Pattern};
use crate::types::Type;

/// Which instructions a device has.
pub trait Capabilities {
    /// Whether the device has this instruction, whose first operand has the type `first` (its controlling type where it
    /// has no operand).
    fn has(&self, inst: &InstData, first: Type) -> bool;
}

impl<F: Fn(&InstData, Type) -> bool> Capabilities for F {
    fn has(&self, inst: &InstData, first: Type) -> bool {
        self(inst, first)
    }
}

/// True for an op that is computed lane by lane: pure, with operands of its result's type only.
pub fn is_elementwise(op: Op) -> bool {
    let info = op.info();
    info.effects == Effects::PURE
        && info.results == [Pattern::T]
        && !info.args.is_empty()
        && info.args.iter().all(|p| *p == Pattern::T)
}

/// Whether an instruction can be rewritten: its op has an expansion, or it is a pure one of several lanes.
pub fn has_expansion(op: Op, ty: Type) -> bool {
    if ty.lanes > 1 {
        return is_elementwise(op) || matches!(op, Op::Const | Op::Select);
    }
    matches!(
        op,
        Op::Bfe
            | Op::Bfi
            | Op::Bmsk
            | Op::Szext
            | Op::Fns
            | Op::Lop3
            | Op::Prmt
            | Op::Dp2a
            | Op::Dp4a
            | Op::Shf
            | Op::IMulWide
            | Op::IMulHi
            | Op::IAddC
            | Op::ISubB
            | Op::Popc
            | Op::Clz
            | Op::Brev
            | Op::Bfind
            | Op::FCopysign
            | Op::FTest
    )
}

/// Expands what the device lacks. What has no expansion stays: the backend reports it.
pub fn run(module: &mut Module, device: &dyn Capabilities) -> bool {
    let mut changed = false;
    for body in module.functions.iter_mut().filter_map(|f| f.body.as_mut()) {
        changed |= run_body(body, device);
    }
    changed
}

/// [`run`] on one body.
pub fn run_body(body: &mut Body, device: &dyn Capabilities) -> bool {
    let mut renames = Renames::new(body);
    let mut changed = false;
    for block in body.block_ids() {
        let insts = std::mem::take(&mut body.blocks[block.index()].insts);
        let mut rewriter = Rewriter { body, device, out: Vec::with_capacity(insts.len()), span: Span::default() };
        for inst in insts {
            rewriter.span = rewriter.body.spans[inst.index()];
            if let Some(results) = rewriter.expand(inst) {
                changed = true;
                renames.to.extend((renames.to.len()..rewriter.body.values.len()).map(Value::new));
                let old = rewriter.body.results(inst).to_vec();
                for (old, new) in old.into_iter().zip(results) {
                    renames.set(old, new);
                }
            } else {
                rewriter.out.push(inst);
            }
        }
        body.blocks[block.index()].insts = rewriter.out;
    }
    if changed {
        renames.apply(body);
    }
    changed
}

/// Appends instructions, expanding what the device lacks.
struct Rewriter<'a> {
    body: &'a mut Body,
    device: &'a dyn Capabilities,
    out: Vec<Inst>,
    span: Span,
}

impl Rewriter<'_> {
    /// The values that stand in for an instruction's results; `None` where it stays.
    fn expand(&mut self, inst: Inst) -> Option<Vec<Value>> {
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let first = args.first().map_or(data.ty, |v| self.body.ty(*v));
        if !has_expansion(data.op, data.ty) || self.device.has(&data, first) {
            return None;
        }
        let a = |n: usize| args[n];
        let t = data.ty;
        if t.lanes > 1 {
            return Some(vec![self.lanes(&data, &args)]);
        }
        Some(match data.op {
            Op::Bfe => vec![self.bfe(t, data.attr(), a(0), a(1), a(2))],
            Op::Bfi => vec![self.bfi(t, a(0), a(1), a(2), a(3))],
            Op::Bmsk => vec![self.bmsk(data.attr(), a(0), a(1))],
            Op::Szext => vec![self.szext(data.attr(), data.attr(), a(0), a(1))],
            Op::Fns => vec![self.fns(a(0), a(1), a(2))],
            Op::Lop3 => vec![self.lop3(data.imm, a(0), a(1), a(2))],
            Op::Prmt => vec![self.prmt(data.attr(), a(0), a(1), a(2))],
            Op::Shf => vec![self.shf(data.attr(), data.attr(), a(0), a(1), a(2))],
            Op::Popc => vec![self.popc(t, a(0))],
            Op::Clz => vec![self.clz(t, a(0))],
            Op::Brev => vec![self.brev(t, a(0))],
            Op::Bfind => vec![self.bfind(t, data.attr(), a(0))],
            Op::Dp4a => vec![self.dp4a(data.attr(), data.attr(), a(0), a(1), a(2))],
            Op::Dp2a => vec![self.dp2a(data.attr(), data.attr(), data.attr(), a(0), a(1), a(2))],
            Op::IMulWide => vec![self.mul_wide(t, data.attr(), a(0), a(1))],
            Op::IMulHi => vec![self.mul_high(t, data.attr(), a(0), a(1))],
            Op::IAddC => self.add_with_carry(t, a(0), a(1), a(2)).to_vec(),
            Op::ISubB => self.sub_with_borrow(t, a(0), a(1), a(2)).to_vec(),
            Op::FCopysign => vec![self.copysign(t, a(0), a(1))],
            Op::FTest => vec![self.ftest(t, data.attr(), a(0))],
            _ => return None,
        })
    }

    fn many(&mut self, attrs: Attrs, ty: Type, imm: u64, args: &[Value], results: &[Type]) -> Vec<Value> {
        self.emit(attrs.op(), ty, attrs.bytes(), imm, args, results)
    }
    /// Appends an instruction, or what it expands to.
    fn emit(
        &mut self,
        op: Op,
        ty: Type,
        attrs: [u8; MAX_ATTRS],
        imm: u64,
        args: &[Value],
        results: &[Type],
    ) -> Vec<Value> {
        let inst = self.body.make(op, ty, attrs, imm, args, results, self.span);
        match self.expand(inst) {
            Some(values) => values,
            None => {
                self.out.push(inst);
                self.body.results(inst).to_vec()
            }
        }
    }
    fn one(&mut self, attrs: impl Into<Attrs>, ty: Type, args: &[Value], result: Type) -> Value {
        self.many(attrs.into(), ty, 0, args, &[result])[0]
    }
    /// An op whose result is of its controlling type.
    fn op(&mut self, attrs: impl Into<Attrs>, ty: Type, args: &[Value]) -> Value {
        self.one(attrs, ty, args, ty)
    }
    fn constant(&mut self, ty: Type, bits: u64) -> Value {
        self.many(Attrs::of(Op::Const), ty, bits & ty.mask(), &[], &[ty])[0]
    }
    fn word(&mut self, bits: u64) -> Value {
        self.constant(Type::I32, bits)
    }
    fn add(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::IAdd, ty, &[a, b])
    }
    fn sub(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::ISub, ty, &[a, b])
    }
    fn mul(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::IMul, ty, &[a, b])
    }
    fn and(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::And, ty, &[a, b])
    }
    fn or(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::Or, ty, &[a, b])
    }
    fn xor(&mut self, ty: Type, a: Value, b: Value) -> Value {
        self.op(Op::Xor, ty, &[a, b])
    }
    fn not(&mut self, ty: Type, a: Value) -> Value {
        self.op(Op::Not, ty, &[a])
    }
    fn and_bits(&mut self, ty: Type, a: Value, bits: u64) -> Value {
        let mask = self.constant(ty, bits);
        self.and(ty, a, mask)
    }
    fn shl(&mut self, ty: Type, a: Value, amount: Value) -> Value {
        self.op(Op::Shl, ty, &[a, amount])
    }
    fn shr(&mut self, ty: Type, sign: Sign, a: Value, amount: Value) -> Value {
        self.op(Attrs::of(Op::Shr).with(sign), ty, &[a, amount])
    }
    fn shl_by(&mut self, ty: Type, a: Value, amount: u64) -> Value {
        let amount = self.word(amount);
        self.shl(ty, a, amount)
    }
    fn shr_by(&mut self, ty: Type, sign: Sign, a: Value, amount: u64) -> Value {
        let amount = self.word(amount);
        self.shr(ty, sign, a, amount)
    }
    fn compare(&mut self, ty: Type, how: IntCmp, sign: Sign, a: Value, b: Value) -> Value {
        self.one(Attrs::of(Op::ICmp).with(how).with(sign), ty, &[a, b], Type::B1)
    }
    /// An unsigned comparison with a constant.
    fn compare_to(&mut self, ty: Type, how: IntCmp, a: Value, bits: u64) -> Value {
        let b = self.constant(ty, bits);
        self.compare(ty, how, Sign::U, a, b)
    }
    fn select(&mut self, ty: Type, condition: Value, yes: Value, no: Value) -> Value {
        self.op(Op::Select, ty, &[condition, yes, no])
    }
    /// The smaller of two unsigned numbers.
    fn min(&mut self, ty: Type, a: Value, bits: u64) -> Value {
        let b = self.constant(ty, bits);
        let below = self.compare(ty, IntCmp::Lt, Sign::U, a, b);
        self.select(ty, below, a, b)
    }
    fn extend(&mut self, sign: Sign, to: Type, a: Value) -> Value {
        self.op(if sign == Sign::S { Op::Sext } else { Op::Zext }, to, &[a])
    }
    fn trunc(&mut self, to: Type, a: Value) -> Value {
        if self.body.ty(a) == to { a } else { self.op(Op::Trunc, to, &[a]) }
    }
    fn bitcast(&mut self, to: Type, a: Value) -> Value {
        if self.body.ty(a) == to { a } else { self.op(Op::Bitcast, to, &[a]) }
    }
    fn pack(&mut self, to: Type, parts: &[Value]) -> Value {
        self.op(Op::Pack, to, parts)
    }
    fn unpack(&mut self, part: Type, whole: Value) -> Vec<Value> {
        let count = self.body.ty(whole).bits() / part.bits();
        self.many(Attrs::of(Op::Unpack), part, 0, &[whole], &vec![part; count as usize])
    }
}
