//! Floating-point arithmetic. Round to nearest is what the processor does; other modes, and what would be rounded twice,
//! are left to the op's definition.

use super::Lowering;
use crate::sys::{Code, Int, Real, Ty, Val};
use hetir::attr::{AbsOperands, FloatClass, FloatCmp, Ftz, Oob, PropagateNan, Relu, Round, Sat, XorSign};
use hetir::entity::Inst;
use hetir::op::Op;
use hetir::types::{Scalar, Type};

/// The elements that an op works on: how many, and of which format.
#[derive(Clone, Copy)]
pub(super) struct Floats<'c> {
    pub(super) scalar: Scalar,
    /// The type of an operand: what a lane's value is held as, or a vector of such.
    pub(super) ty: Ty<'c>,
    /// The integer type of the same bits.
    pub(super) bits: Ty<'c>,
    /// Elements; 1 for a number.
    pub(super) count: u32,
}

impl<'c> Lowering<'_, '_, 'c> {
    /// The elements of a type, all lanes together.
    pub(super) fn floats(&self, ty: Type, once: bool) -> Floats<'c> {
        let lanes = if once { 1 } else { self.lanes };
        let count = lanes * u32::from(ty.lanes);
        let element = self.element(ty.lane());
        let bits = self.i(ty.scalar.bits());
        let wide = |t: Ty<'c>| if count == 1 { t } else { t.vector(count) };
        Floats { scalar: ty.scalar, ty: wide(element), bits: wide(bits), count }
    }
    pub(super) fn each(&self, f: Floats<'c>, element: Val<'c>) -> Val<'c> {
        if f.count == 1 {
            return element;
        }
        let undef = element.ty().vector(f.count).undef();
        let first = self.e.insert(undef, element, self.c32(0));
        self.e.shuffle(first, undef, &vec![0; f.count as usize])
    }
    pub(super) fn pattern(&self, f: Floats<'c>, bits: u64) -> Val<'c> {
        self.each(f, self.i(f.scalar.bits()).int(bits))
    }
    pub(super) fn float_of(&self, f: Floats<'c>, bits: u64) -> Val<'c> {
        self.e.cast(Code::LLVMBitCast, self.pattern(f, bits), f.ty)
    }

    /// An operand as floats.
    pub(super) fn float_arg(&mut self, value: hetir::entity::Value, once: bool, f: Floats<'c>) -> Val<'c> {
        let v = self.arg(value, once);
        self.e.cast(Code::LLVMBitCast, v, f.ty)
    }
    pub(super) fn set_float(&mut self, inst: Inst, v: Val<'c>, once: bool) {
        let ty = self.body.ty(self.body.results(inst)[0]);
        let element = self.element(ty);
        let held = if once || self.lanes == 1 { element } else { element.vector(self.lanes) };
        let v = self.e.cast(Code::LLVMBitCast, v, held);
        self.set_vector(inst, 0, v, once);
    }

    /// Denormals become zeros of the same sign.
    pub(super) fn flushed(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let (exponent, sign) = match f.scalar {
            Scalar::F16 => (0x7c00, 0x8000),
            Scalar::Bf16 => (0x7f80, 0x8000),
            Scalar::F32 => (0x7f80_0000, 0x8000_0000),
            _ => (0x7ff0_0000_0000_0000, 1 << 63),
        };
        let bits = e.cast(Code::LLVMBitCast, v, f.bits);
        let low = e.bin(Code::LLVMAnd, bits, self.pattern(f, exponent));
        let small = e.icmp(Int::LLVMIntEQ, low, f.bits.zero());
        let zero = e.bin(Code::LLVMAnd, bits, self.pattern(f, sign));
        e.cast(Code::LLVMBitCast, e.select(small, zero, bits), f.ty)
    }
    /// With `ftz` a result becomes zero if it was below the normal range before it was rounded: where it came out as
    /// the smallest normal number, the op's definition decides.
    fn unless_tiny(&mut self, inst: Inst, f: Floats<'c>, v: Val<'c>, once: bool) -> Val<'c> {
        let e = self.e;
        let bits = e.cast(Code::LLVMBitCast, v, f.bits);
        let magnitude = e.bin(Code::LLVMAnd, bits, self.pattern(f, 0x7fff_ffff));
        let smallest = e.icmp(Int::LLVMIntEQ, magnitude, self.pattern(f, 0x0080_0000));
        let all = self.i(f.count);
        let none = if f.count == 1 {
            e.icmp(Int::LLVMIntEQ, smallest, self.i(1).int(0))
        } else {
            e.icmp(Int::LLVMIntEQ, e.cast(Code::LLVMBitCast, smallest, all), all.int(0))
        };
        let values = self.either(
            none,
            &[f.ty],
            |_| vec![(v, false)],
            |this| {
                let bits = if once { this.c32(1) } else { this.mask_bits() };
                let values = this.through_columns(inst, once, bits, &crate::abi::EVAL);
                values.into_iter().map(|(v, _)| (e.cast(Code::LLVMBitCast, v, f.ty), false)).collect()
            },
        );
        values.first().map_or(v, |(v, _)| *v)
    }
    /// The canonical NaN for any; of f16 and bf16.
    pub(super) fn short_canonical(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        match f.scalar {
            Scalar::F16 | Scalar::Bf16 => {
                let infinity = if f.scalar == Scalar::F16 { 0x7c00 } else { 0x7f80 };
                let bits = e.cast(Code::LLVMBitCast, v, f.bits);
                let magnitude = e.bin(Code::LLVMAnd, bits, self.pattern(f, 0x7fff));
                let is_nan = e.icmp(Int::LLVMIntUGT, magnitude, self.pattern(f, infinity));
                e.cast(Code::LLVMBitCast, e.select(is_nan, self.pattern(f, 0x7fff), bits), f.ty)
            }
            Scalar::F32 if f.count != 1 && f.count != self.lanes => {
                let nan = self.float_of(f, 0x7fff_ffff);
                e.select(e.fcmp(Real::LLVMRealUNO, v, v), nan, v)
            }
            _ => v,
        }
    }
    /// The result of f64 arithmetic: the first NaN among the operands in this order, made quiet.
    fn payload(&self, f: Floats<'c>, result: Val<'c>, order: &[Val<'c>]) -> Val<'c> {
        if f.scalar != Scalar::F64 {
            return result;
        }
        let e = self.e;
        let quiet = self.pattern(f, 1 << 51);
        let mut value = result;
        for &operand in order.iter().rev() {
            let is_nan = e.fcmp(Real::LLVMRealUNO, operand, operand);
            let bits = e.bin(Code::LLVMOr, e.cast(Code::LLVMBitCast, operand, f.bits), quiet);
            value = e.select(is_nan, e.cast(Code::LLVMBitCast, bits, f.ty), value);
        }
        // Where no operand is NaN the processor's own NaN is the right one.
        value
    }
    /// To [0, 1], NaN to +0.
    pub(super) fn saturated(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let (zero, one) = (f.ty.zero(), self.each(f, self.element_of(f).real(1.0)));
        let above = e.fcmp(Real::LLVMRealOGT, v, zero);
        let v = e.select(above, v, zero);
        let over = e.fcmp(Real::LLVMRealOGT, v, one);
        e.select(over, one, v)
    }
    fn element_of(&self, f: Floats<'c>) -> Ty<'c> {
        self.element(Type { scalar: f.scalar, lanes: 1 })
    }

    /// Lowers a floating-point op; false where it is left to its definition.
    pub(super) fn float_op(&mut self, inst: Inst) -> bool {
        let data = *self.body.inst(inst);
        let ty = data.ty;
        if !ty.scalar.is_float() {
            return false;
        }
        let args = self.body.args(inst).to_vec();
        let once = self.once(inst);
        let e = self.e;
        let f = self.floats(ty, once);
        let short = matches!(ty.scalar, Scalar::F16 | Scalar::Bf16);
        let ftz = data.attr::<Ftz>() == Ftz::Yes && ty.scalar != Scalar::F64;
        let round = data.attr::<Round>();
        let nearest = round == Round::Rn;
        match data.op {
            Op::FAdd | Op::FSub | Op::FMul => {
                let clamped_short = ty.scalar == Scalar::Bf16 && data.attr::<Sat>() == Sat::Yes;
                if !(nearest || self.directs(f)) || (ftz && short) || clamped_short {
                    return false;
                }
                let (mut a, mut b) = (self.float_arg(args[0], once, f), self.float_arg(args[1], once, f));
                if ftz {
                    (a, b) = (self.flushed(f, a), self.flushed(f, b));
                }
                let (code, name) = match data.op {
                    Op::FAdd => (Code::LLVMFAdd, "add"),
                    Op::FSub => (Code::LLVMFSub, "sub"),
                    _ => (Code::LLVMFMul, "mul"),
                };
                let mut v =
                    if nearest { self.short_binary(f, code, a, b) } else { self.directed(f, name, round, &[a, b]) };
                v = self.payload(f, v, &[b, a]);
                if ftz {
                    v = self.flushed(f, v);
                }
                if data.attr::<Sat>() == Sat::Yes {
                    v = self.saturated(f, v);
                }
                // Sums this small are exact.
                if ftz && data.op == Op::FMul {
                    v = self.unless_tiny(inst, f, v, once);
                }
                let v = self.short_canonical(f, v);
                self.set_float(inst, v, once);
                true
            }
            Op::FFma => {
                if !(nearest || self.directs(f))
                    || (ftz && short)
                    || data.attr::<Oob>() == Oob::Yes
                    || data.attr::<Relu>() == Relu::Yes
                {
                    return false;
                }
                if short && !(self.unit.half && ty.scalar == Scalar::F16) {
                    return false;
                }
                let mut ops = [0, 1, 2].map(|n| self.float_arg(args[n], once, f));
                if ftz {
                    ops = ops.map(|v| self.flushed(f, v));
                }
                let [a, b, c] = ops;
                let mut v = if nearest {
                    e.intrinsic("llvm.fma", &[f.ty], &[a, b, c])
                } else {
                    self.directed(f, "vfmadd", round, &[a, b, c])
                };
                v = self.payload(f, v, &[b, c, a]);
                if ftz {
                    v = self.flushed(f, v);
                }
                if data.attr::<Sat>() == Sat::Yes {
                    v = self.saturated(f, v);
                }
                if ftz {
                    v = self.unless_tiny(inst, f, v, once);
                }
                let v = self.short_canonical(f, v);
                self.set_float(inst, v, once);
                true
            }
            Op::FDiv | Op::FRcp | Op::FSqrt => {
                if short || !(nearest || self.directs(f)) {
                    return false;
                }
                let flush = |this: &Self, v: Val<'c>| if ftz { this.flushed(f, v) } else { v };
                let a = self.float_arg(args[0], once, f);
                let a = flush(self, a);
                let one = self.each(f, self.element_of(f).real(1.0));
                let quotient = |this: &Self, a: Val<'c>, b: Val<'c>| {
                    if nearest { e.bin(Code::LLVMFDiv, a, b) } else { this.directed(f, "div", round, &[a, b]) }
                };
                let v = match data.op {
                    Op::FSqrt => {
                        let v = if nearest {
                            e.intrinsic("llvm.sqrt", &[f.ty], &[a])
                        } else {
                            self.directed(f, "sqrt", round, &[a])
                        };
                        self.payload(f, v, &[a])
                    }
                    Op::FRcp => self.payload(f, quotient(self, one, a), &[a]),
                    _ => {
                        let b = self.float_arg(args[1], once, f);
                        let b = flush(self, b);
                        self.payload(f, quotient(self, a, b), &[a, b])
                    }
                };
                let mut v = flush(self, v);
                // To nearest, no reciprocal below the normal range comes out as the smallest normal number.
                if ftz && (data.op == Op::FDiv || data.op == Op::FRcp && !nearest) {
                    v = self.unless_tiny(inst, f, v, once);
                }
                self.set_float(inst, v, once);
                true
            }
            Op::FNeg | Op::FAbs => {
                if ftz && short {
                    return false;
                }
                let mut v = self.float_arg(args[0], once, f);
                if ftz {
                    v = self.flushed(f, v);
                }
                let operand = v;
                // On the bits: of short formats the processor would make f32 first.
                let sign = self.pattern(f, 1 << (f.scalar.bits() - 1));
                let bits = e.cast(Code::LLVMBitCast, v, f.bits);
                let bits = if data.op == Op::FNeg {
                    e.bin(Code::LLVMXor, bits, sign)
                } else {
                    e.bin(Code::LLVMAnd, bits, e.bin(Code::LLVMXor, sign, f.bits.ones()))
                };
                v = e.cast(Code::LLVMBitCast, bits, f.ty);
                v = self.payload(f, v, &[operand]);
                let v = self.short_canonical(f, v);
                self.set_float(inst, v, once);
                true
            }
            Op::FMin | Op::FMax => {
                let plain = data.attr::<PropagateNan>() == PropagateNan::No
                    && data.attr::<XorSign>() == XorSign::No
                    && data.attr::<AbsOperands>() == AbsOperands::No;
                if !plain || short || ty.lanes > 1 {
                    return false;
                }
                let (mut a, mut b) = (self.float_arg(args[0], once, f), self.float_arg(args[1], once, f));
                if ftz {
                    (a, b) = (self.flushed(f, a), self.flushed(f, b));
                }
                let min = data.op == Op::FMin;
                let before = e.fcmp(if min { Real::LLVMRealOLT } else { Real::LLVMRealOGT }, a, b);
                let a_bits = e.cast(Code::LLVMBitCast, a, f.bits);
                let b_bits = e.cast(Code::LLVMBitCast, b, f.bits);
                // Equal numbers differ in the sign of zero at most.
                let both = e.bin(if min { Code::LLVMOr } else { Code::LLVMAnd }, a_bits, b_bits);
                let both = e.cast(Code::LLVMBitCast, both, f.ty);
                let equal = e.fcmp(Real::LLVMRealOEQ, a, b);
                let b_is_nan = e.fcmp(Real::LLVMRealUNO, b, b);
                let mut v = e.select(e.bin(Code::LLVMOr, before, b_is_nan), a, b);
                v = e.select(equal, both, v);
                if ty.scalar == Scalar::F64 {
                    // Both NaN: the second one.
                    let a_is_nan = e.fcmp(Real::LLVMRealUNO, a, a);
                    let neither = e.bin(Code::LLVMAnd, a_is_nan, b_is_nan);
                    let quiet = e.bin(Code::LLVMOr, b_bits, self.pattern(f, 1 << 51));
                    v = e.select(neither, e.cast(Code::LLVMBitCast, quiet, f.ty), v);
                }
                self.set_float(inst, v, once);
                true
            }
            Op::FCopysign if ty.lanes == 1 && !short => {
                // The second operand with the first one's sign; a NaN is seen.
                let (sign, of) = (self.visible(args[0], once), self.visible(args[1], once));
                let v = e.intrinsic("llvm.copysign", &[f.ty], &[of, sign]);
                self.set_float(inst, v, once);
                true
            }
            Op::FCmp if !short => {
                let (mut a, mut b) = (self.float_arg(args[0], once, f), self.float_arg(args[1], once, f));
                if ftz {
                    (a, b) = (self.flushed(f, a), self.flushed(f, b));
                }
                let how = match data.attr() {
                    FloatCmp::Eq => Real::LLVMRealOEQ,
                    FloatCmp::Ne => Real::LLVMRealONE,
                    FloatCmp::Lt => Real::LLVMRealOLT,
                    FloatCmp::Le => Real::LLVMRealOLE,
                    FloatCmp::Gt => Real::LLVMRealOGT,
                    FloatCmp::Ge => Real::LLVMRealOGE,
                    FloatCmp::Equ => Real::LLVMRealUEQ,
                    FloatCmp::Neu => Real::LLVMRealUNE,
                    FloatCmp::Ltu => Real::LLVMRealULT,
                    FloatCmp::Leu => Real::LLVMRealULE,
                    FloatCmp::Gtu => Real::LLVMRealUGT,
                    FloatCmp::Geu => Real::LLVMRealUGE,
                    FloatCmp::Num => Real::LLVMRealORD,
                    FloatCmp::Nan => Real::LLVMRealUNO,
                };
                let v = e.fcmp(how, a, b);
                self.set_vector(inst, 0, v, once);
                true
            }
            Op::FTest if !short => {
                let a = self.float_arg(args[0], once, f);
                let absolute = e.intrinsic("llvm.fabs", &[f.ty], &[a]);
                let (infinity, normal) = match ty.scalar {
                    Scalar::F32 => (0x7f80_0000, 0x0080_0000),
                    _ => (0x7ff0_0000_0000_0000, 0x0010_0000_0000_0000),
                };
                let (infinity, normal) = (self.float_of(f, infinity), self.float_of(f, normal));
                let v = match data.attr() {
                    FloatClass::Finite => e.fcmp(Real::LLVMRealOLT, absolute, infinity),
                    FloatClass::Infinite => e.fcmp(Real::LLVMRealOEQ, absolute, infinity),
                    FloatClass::Number => e.fcmp(Real::LLVMRealORD, a, a),
                    FloatClass::NotANumber => e.fcmp(Real::LLVMRealUNO, a, a),
                    // Zeros count as normal.
                    FloatClass::Normal | FloatClass::Subnormal => {
                        let small = e.fcmp(Real::LLVMRealOLT, absolute, normal);
                        let subnormal = e.bin(Code::LLVMAnd, small, e.fcmp(Real::LLVMRealOGT, absolute, f.ty.zero()));
                        if data.attr::<FloatClass>() == FloatClass::Subnormal {
                            subnormal
                        } else {
                            let finite = e.fcmp(Real::LLVMRealOLT, absolute, infinity);
                            e.bin(Code::LLVMAnd, finite, e.bin(Code::LLVMXor, subnormal, subnormal.ty().ones()))
                        }
                    }
                };
                self.set_vector(inst, 0, v, once);
                true
            }
            Op::FApprox | Op::FDivApprox => self.approx_op(inst),
            _ => false,
        }
    }

    /// Whether the processor can round in other directions than to nearest.
    fn directs(&self, f: Floats<'c>) -> bool {
        self.unit.avx512 && matches!(f.scalar, Scalar::F32 | Scalar::F64)
    }
    /// Arithmetic rounded in a direction, by instructions that work on 64 bytes.
    fn directed(&self, f: Floats<'c>, name: &str, round: Round, operands: &[Val<'c>]) -> Val<'c> {
        let e = self.e;
        let (suffix, width) = if f.scalar == Scalar::F64 { ("pd", 8) } else { ("ps", 16) };
        let name = format!("llvm.x86.avx512.{name}.{suffix}.512");
        // Bit 3: no exceptions.
        let mode = self.c32(match round {
            Round::Rm => 9,
            Round::Rp => 10,
            Round::Rn | Round::Rna => 8,
            Round::Rz => 11,
        });
        let groups = f.count.div_ceil(width);
        let group = |v: Val<'c>, at: u32| {
            if f.count == 1 {
                self.each(Floats { count: width, ..f }, v)
            } else {
                let lanes: Vec<_> = (at * width..(at + 1) * width).map(|n| n % f.count).collect();
                e.shuffle(v, v.ty().undef(), &lanes)
            }
        };
        let results = (0..groups).map(|at| {
            let mut args: Vec<_> = operands.iter().map(|v| group(*v, at)).collect();
            args.push(mode);
            e.intrinsic(&name, &[], &args)
        });
        let all = e.joined(&results.collect::<Vec<_>>(), width);
        match f.count {
            1 => e.extract(all, self.c32(0)),
            count if count < width => e.part_of(all, 0, count),
            _ => all,
        }
    }

    /// Arithmetic on f16 and bf16 goes by way of f32, which has more than twice their digits, so that rounding twice is
    /// rounding once; other formats directly.
    fn short_binary(&self, f: Floats<'c>, code: Code, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        let e = self.e;
        let native = self.unit.half && f.scalar == Scalar::F16;
        if native || !matches!(f.scalar, Scalar::F16 | Scalar::Bf16) {
            return e.bin(code, a, b);
        }
        let v = e.bin(code, self.to_single(f, a), self.to_single(f, b));
        if f.scalar == Scalar::Bf16 { self.to_bfloat(f, v) } else { e.cast(Code::LLVMFPTrunc, v, f.ty) }
    }
    /// f32 to bf16, to nearest. Processors' own instruction makes zeros of denormals.
    pub(super) fn to_bfloat(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let word = if f.count == 1 { self.i(32) } else { self.i(32).vector(f.count) };
        let k = |n: u64| self.each(f, self.i(32).int(n));
        let bits = e.cast(Code::LLVMBitCast, v, word);
        let odd = e.bin(Code::LLVMAnd, e.bin(Code::LLVMLShr, bits, k(16)), k(1));
        let up = e.bin(Code::LLVMAdd, e.bin(Code::LLVMAdd, bits, k(0x7fff)), odd);
        let nan = e.fcmp(Real::LLVMRealUNO, v, v);
        let up = e.select(nan, k(0x7fff_0000), up);
        let short = e.cast(Code::LLVMTrunc, e.bin(Code::LLVMLShr, up, k(16)), f.bits);
        e.cast(Code::LLVMBitCast, short, f.ty)
    }
}
