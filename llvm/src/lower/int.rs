//! Integer ops.

use super::Lowering;
use crate::sys::{Code, Int, Val};
use hetir::attr::{Direction, IntCmp, Permute, Relu, Sat, Sign, SignB, Wrap};
use hetir::entity::Inst;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

impl<'c> Lowering<'_, '_, 'c> {
    /// Lowers an integer op; false where it is left to another way.
    pub(super) fn int_op(&mut self, inst: Inst) -> bool {
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let ty = match data.op {
            // Their types are fixed, so that the instruction has none of its own.
            Op::Shf | Op::Bmsk | Op::Fns | Op::Szext | Op::Lop3 | Op::Prmt | Op::Dp4a | Op::Dp2a => Type::I32,
            _ => data.ty,
        };
        if self.body.results(inst).len() == 1 && self.affine_op(inst) {
            return true;
        }
        let once = self.once(inst);
        let e = self.e;
        let bits = ty.bits();
        let int = ty.lanes == 1 && (ty.scalar.is_int() || ty == Type::B1);
        let signed = data.attr::<Sign>() == Sign::S;
        match data.op {
            Op::Const => {
                // Constants are made where they are used.
                return true;
            }
            Op::And | Op::Or | Op::Xor | Op::Not | Op::Select | Op::Bitcast => {}
            Op::Trunc | Op::Zext | Op::Sext if int => {}
            Op::ICmp if ty.lanes == 1 => {}
            Op::Pack | Op::Unpack => return self.pack_op(inst, once),
            _ if !int || ty.scalar == Scalar::I128 || ty == Type::B1 => return false,
            _ => {}
        }
        let mut arg = |n: usize| match data.op {
            // What is chosen, or cast to other bits, is seen as it is.
            Op::Bitcast => self.visible(args[n], once),
            Op::Select if n > 0 && !self.shapes.is_loose(self.body.results(inst)[0]) => self.visible(args[n], once),
            _ => self.arg(args[n], once),
        };
        let a = arg(0);
        let b = if args.len() > 1 { Some(arg(1)) } else { None };
        let c = if args.len() > 2 { Some(arg(2)) } else { None };
        let wide = |t: crate::sys::Ty<'c>| if once || self.lanes == 1 { t } else { t.vector(self.lanes) };
        let it = wide(e.int_ty(bits));
        let k = |n: u64| {
            let v = e.int_ty(bits).int(n);
            if once || self.lanes == 1 { v } else { self.splat(v) }
        };
        let bin = |code, x, y| e.bin(code, x, y);
        // An amount that is taken as an unsigned number, of the op's type.
        let amount = |v: Val<'c>| -> Val<'c> {
            if bits >= 32 { e.cast(Code::LLVMZExt, v, it) } else { e.cast(Code::LLVMTrunc, v, it) }
        };
        let wide32 = wide(e.int_ty(32));
        let k32 = |n: u32| {
            let v = e.int_ty(32).int(n.into());
            if once || self.lanes == 1 { v } else { self.splat(v) }
        };
        let (b0, c0) = (b.unwrap_or(a), c.unwrap_or(a));
        let no_poison = e.int_ty(1).int(0);
        let result = match data.op {
            Op::IAdd if data.attr::<Sat>() == Sat::Yes => e.intrinsic("llvm.sadd.sat", &[it], &[a, b0]),
            Op::ISub if data.attr::<Sat>() == Sat::Yes => e.intrinsic("llvm.ssub.sat", &[it], &[a, b0]),
            Op::IAdd => bin(Code::LLVMAdd, a, b0),
            Op::ISub => bin(Code::LLVMSub, a, b0),
            Op::IMul => bin(Code::LLVMMul, a, b0),
            Op::IMulHi | Op::IMulWide => {
                let code = if signed { Code::LLVMSExt } else { Code::LLVMZExt };
                let twice = wide(e.int_ty(2 * bits));
                let product = bin(Code::LLVMMul, e.cast(code, a, twice), e.cast(code, b0, twice));
                if data.op == Op::IMulWide {
                    product
                } else {
                    let shift = e.int_ty(2 * bits).int(bits.into());
                    let shift = if once || self.lanes == 1 { shift } else { self.splat(shift) };
                    e.cast(Code::LLVMTrunc, bin(Code::LLVMLShr, product, shift), it)
                }
            }
            Op::IDiv | Op::IRem => {
                let zero = e.icmp(Int::LLVMIntEQ, b0, k(0));
                // Lanes without a quotient of their own divide by 1.
                let mut safe = e.select(zero, k(1), b0);
                if signed {
                    let smallest = e.icmp(Int::LLVMIntEQ, a, k(1 << (bits - 1)));
                    let minus = e.icmp(Int::LLVMIntEQ, b0, it.ones());
                    let both = bin(Code::LLVMAnd, smallest, minus);
                    safe = e.select(both, k(1), safe);
                }
                let code = match (data.op == Op::IDiv, signed) {
                    (true, true) => Code::LLVMSDiv,
                    (true, false) => Code::LLVMUDiv,
                    (false, true) => Code::LLVMSRem,
                    (false, false) => Code::LLVMURem,
                };
                let value = bin(code, a, safe);
                // The smallest number divided by 1 is itself, with nothing left: as by -1.
                e.select(zero, it.ones(), value)
            }
            Op::INeg => bin(Code::LLVMSub, k(0), a),
            Op::IAbs => e.intrinsic("llvm.abs", &[it], &[a, no_poison]),
            Op::IMin | Op::IMax => {
                let name = match (data.op == Op::IMin, signed) {
                    (true, true) => "llvm.smin",
                    (true, false) => "llvm.umin",
                    (false, true) => "llvm.smax",
                    (false, false) => "llvm.umax",
                };
                let value = e.intrinsic(name, &[it], &[a, b0]);
                if data.attr::<Relu>() == Relu::Yes { e.intrinsic("llvm.smax", &[it], &[value, k(0)]) } else { value }
            }
            Op::And => bin(Code::LLVMAnd, a, b0),
            Op::Or => bin(Code::LLVMOr, a, b0),
            Op::Xor => bin(Code::LLVMXor, a, b0),
            Op::Not => bin(Code::LLVMXor, a, a.ty().ones()),
            Op::Shl | Op::Shr => {
                let limit = k32(bits);
                let inside = e.icmp(Int::LLVMIntULT, b0, limit);
                let code = match (data.op == Op::Shl, signed) {
                    (true, _) => Code::LLVMShl,
                    (false, true) => Code::LLVMAShr,
                    (false, false) => Code::LLVMLShr,
                };
                if code == Code::LLVMAShr {
                    let most = e.intrinsic("llvm.umin", &[wide32], &[b0, k32(bits - 1)]);
                    bin(code, a, amount(most))
                } else {
                    let safe = e.select(inside, b0, k32(0));
                    e.select(inside, bin(code, a, amount(safe)), k(0))
                }
            }
            Op::Shf => {
                let left = data.attr::<Direction>() == Direction::Left;
                let n = c0;
                let name = if left { "llvm.fshl" } else { "llvm.fshr" };
                let shifted = e.intrinsic(name, &[it], &[b0, a, n]);
                if data.attr::<Wrap>() == Wrap::Wrap {
                    shifted
                } else {
                    let over = e.icmp(Int::LLVMIntUGE, n, k(32));
                    e.select(over, if left { a } else { b0 }, shifted)
                }
            }
            Op::Popc => e.cast_bits(e.intrinsic("llvm.ctpop", &[it], &[a]), wide32),
            Op::Clz => e.cast_bits(e.intrinsic("llvm.ctlz", &[it], &[a, no_poison]), wide32),
            Op::Brev => e.intrinsic("llvm.bitreverse", &[it], &[a]),
            Op::Bfind => {
                let value = if signed {
                    let sign = bin(Code::LLVMAShr, a, k(u64::from(bits) - 1));
                    bin(Code::LLVMXor, a, sign)
                } else {
                    a
                };
                let zeros = e.cast_bits(e.intrinsic("llvm.ctlz", &[it], &[value, no_poison]), wide32);
                bin(Code::LLVMSub, k32(bits - 1), zeros)
            }
            Op::Lop3 => self.lop3(data.imm as u8, a, b0, c0),
            Op::Prmt if data.attr::<Permute>() == Permute::Index => match self.body.constant(args[2]) {
                Some(selector) => {
                    let both = {
                        let i64t = wide(e.int_ty(64));
                        let k64 = e.int_ty(64).int(32);
                        let shift = if once || self.lanes == 1 { k64 } else { self.splat(k64) };
                        let high = bin(Code::LLVMShl, e.cast(Code::LLVMZExt, b0, i64t), shift);
                        bin(Code::LLVMOr, high, e.cast(Code::LLVMZExt, a, i64t))
                    };
                    let mut out = k(0);
                    for n in 0..4u32 {
                        let pick = (selector >> (4 * n)) as u32 & 0xf;
                        let down = e.int_ty(64).int(u64::from(pick & 7) * 8);
                        let down = if once || self.lanes == 1 { down } else { self.splat(down) };
                        let byte = e.cast(Code::LLVMTrunc, bin(Code::LLVMLShr, both, down), wide(e.int_ty(8)));
                        let byte = if pick & 8 != 0 {
                            let seven = e.int_ty(8).int(7);
                            let seven = if once || self.lanes == 1 { seven } else { self.splat(seven) };
                            bin(Code::LLVMAShr, byte, seven)
                        } else {
                            byte
                        };
                        let placed = bin(Code::LLVMShl, e.cast(Code::LLVMZExt, byte, it), k(u64::from(8 * n)));
                        out = bin(Code::LLVMOr, out, placed);
                    }
                    out
                }
                None => return false,
            },
            Op::Dp4a => {
                let mut sum = c0;
                for n in 0..4u64 {
                    let byte = |v: Val<'c>, s: bool| {
                        let up = bin(Code::LLVMShl, v, k(24 - 8 * n));
                        bin(if s { Code::LLVMAShr } else { Code::LLVMLShr }, up, k(24))
                    };
                    let product = bin(Code::LLVMMul, byte(a, signed), byte(b0, data.attr::<SignB>() == SignB::S));
                    sum = bin(Code::LLVMAdd, sum, product);
                }
                sum
            }
            Op::IAddC | Op::ISubB => {
                let carry = e.cast(Code::LLVMZExt, c0, it);
                let (first, second) = if data.op == Op::IAddC {
                    ("llvm.uadd.with.overflow", Code::LLVMAdd)
                } else {
                    ("llvm.usub.with.overflow", Code::LLVMSub)
                };
                let pair = e.intrinsic(first, &[it], &[a, b0]);
                let (sum, over) = (e.part(pair, 0), e.part(pair, 1));
                let value = bin(second, sum, carry);
                let again = if data.op == Op::IAddC {
                    e.icmp(Int::LLVMIntULT, value, carry)
                } else {
                    e.icmp(Int::LLVMIntUGT, value, sum)
                };
                let out = bin(Code::LLVMOr, over, again);
                self.set_vector(inst, 0, value, once);
                self.set_vector(inst, 1, out, once);
                return true;
            }
            Op::ICmp => {
                let how = match (data.attr::<IntCmp>(), signed) {
                    (IntCmp::Eq, _) => Int::LLVMIntEQ,
                    (IntCmp::Ne, _) => Int::LLVMIntNE,
                    (IntCmp::Lt, true) => Int::LLVMIntSLT,
                    (IntCmp::Le, true) => Int::LLVMIntSLE,
                    (IntCmp::Gt, true) => Int::LLVMIntSGT,
                    (IntCmp::Ge, true) => Int::LLVMIntSGE,
                    (IntCmp::Lt, false) => Int::LLVMIntULT,
                    (IntCmp::Le, false) => Int::LLVMIntULE,
                    (IntCmp::Gt, false) => Int::LLVMIntUGT,
                    (IntCmp::Ge, false) => Int::LLVMIntUGE,
                };
                e.icmp(how, a, b0)
            }
            Op::Select => e.select(a, b0, c0),
            Op::Trunc => e.cast(Code::LLVMTrunc, a, it),
            Op::Zext => e.cast(Code::LLVMZExt, a, it),
            Op::Sext => e.cast(Code::LLVMSExt, a, it),
            Op::Bitcast => {
                let to = wide(self.element(ty));
                e.cast(Code::LLVMBitCast, a, to)
            }
            Op::Bmsk | Op::Szext | Op::Bfe | Op::Bfi | Op::Fns | Op::Dp2a | Op::Prmt => {
                return false;
            }
            _ => return false,
        };
        self.set_vector(inst, 0, result, once);
        true
    }

    /// An op whose result is affine: computed on the base alone.
    fn affine_op(&mut self, inst: Inst) -> bool {
        use super::shape::Shape;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let result = self.body.results(inst)[0];
        if !matches!(self.shapes.get(result), Shape::Affine(_)) {
            return false;
        }
        let e = self.e;
        let ty = self.i(data.ty.bits());
        let value = match data.op {
            Op::IAdd => e.bin(Code::LLVMAdd, self.held(args[0]), self.held(args[1])),
            Op::ISub => e.bin(Code::LLVMSub, self.held(args[0]), self.held(args[1])),
            Op::IMul => e.bin(Code::LLVMMul, self.held(args[0]), self.held(args[1])),
            Op::IMulWide => {
                let code = if data.attr::<Sign>() == Sign::S { Code::LLVMSExt } else { Code::LLVMZExt };
                let wide = self.i(2 * data.ty.bits());
                let (a, b) = (self.held(args[0]), self.held(args[1]));
                e.bin(Code::LLVMMul, e.cast(code, a, wide), e.cast(code, b, wide))
            }
            Op::Shl => {
                let by = self.body.constant(args[1]).unwrap_or(0);
                e.bin(Code::LLVMShl, self.held(args[0]), ty.int(by))
            }
            Op::Sext => e.cast(Code::LLVMSExt, self.held(args[0]), ty),
            Op::Zext => e.cast(Code::LLVMZExt, self.held(args[0]), ty),
            Op::Trunc => e.cast(Code::LLVMTrunc, self.held(args[0]), ty),
            Op::And => e.bin(Code::LLVMAnd, self.held(args[0]), self.held(args[1])),
            // Taken to be the operand whose lanes differ.
            Op::IMin | Op::IMax => {
                let differs = matches!(self.shape(args[0]), Shape::Affine(_));
                self.held(args[usize::from(!differs)])
            }
            Op::Select => {
                let condition = self.one(args[0]);
                e.select(condition, self.held(args[1]), self.held(args[2]))
            }
            _ => return false,
        };
        self.set(inst, 0, value);
        true
    }

    fn lop3(&self, table: u8, a: Val<'c>, b: Val<'c>, c: Val<'c>) -> Val<'c> {
        let e = self.e;
        let not = |v: Val<'c>| e.bin(Code::LLVMXor, v, v.ty().ones());
        let mut out = None;
        for row in 0..8u8 {
            if table & 1 << row == 0 {
                continue;
            }
            let pick = |v: Val<'c>, bit: u8| if row & bit != 0 { v } else { not(v) };
            let both = e.bin(Code::LLVMAnd, pick(a, 4), pick(b, 2));
            let term = e.bin(Code::LLVMAnd, both, pick(c, 1));
            out = Some(match out {
                Some(sum) => e.bin(Code::LLVMOr, sum, term),
                None => term,
            });
        }
        out.unwrap_or_else(|| a.ty().zero())
    }

    fn pack_op(&mut self, inst: Inst, once: bool) -> bool {
        let e = self.e;
        let data = *self.body.inst(inst);
        let args = self.body.args(inst).to_vec();
        let results = self.body.results(inst).to_vec();
        let single = once || self.lanes == 1;
        let lanes = self.lanes;
        let wide = |t: crate::sys::Ty<'c>| if single { t } else { t.vector(lanes) };
        let spread = |this: &Self, v: Val<'c>| if single { v } else { this.splat(v) };
        if data.op == Op::Pack {
            let total = e.int_ty(data.ty.bits());
            let mut sum = None;
            for (n, &arg) in args.iter().enumerate() {
                let part = self.body.ty(arg);
                let v = self.visible(arg, once);
                let v = e.cast(Code::LLVMBitCast, v, wide(e.int_ty(part.bits())));
                let v = e.cast(Code::LLVMZExt, v, wide(total));
                let shift = spread(self, total.int(u64::from(part.bits()) * n as u64));
                let v = if n == 0 { v } else { e.bin(Code::LLVMShl, v, shift) };
                sum = Some(match sum {
                    Some(s) => e.bin(Code::LLVMOr, s, v),
                    None => v,
                });
            }
            let Some(sum) = sum else { return false };
            let to = wide(self.element(data.ty));
            let v = e.cast(Code::LLVMBitCast, sum, to);
            self.set_vector(inst, 0, v, once);
            return true;
        }
        let from = self.body.ty(args[0]);
        let whole = e.int_ty(from.bits());
        let v = self.visible(args[0], once);
        let v = e.cast(Code::LLVMBitCast, v, wide(whole));
        for n in 0..results.len() {
            let shift = spread(self, whole.int(u64::from(data.ty.bits()) * n as u64));
            let down = if n == 0 { v } else { e.bin(Code::LLVMLShr, v, shift) };
            let part = e.cast(Code::LLVMTrunc, down, wide(e.int_ty(data.ty.bits())));
            let to = wide(self.element(data.ty));
            let part = e.cast(Code::LLVMBitCast, part, to);
            self.set_vector(inst, n, part, once);
        }
        true
    }
}
