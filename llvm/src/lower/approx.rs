//! Approximate functions: the sequences that define them, on all lanes together.

use super::Lowering;
use super::float::Floats;
use crate::sys::{Code, Emit, Int, Real, Ty, Val};
use hetir::attr::{ApproxDiv, ApproxFn, Ftz};
use hetir::entity::Inst;
use hetir::num::{Approx, portable};
use hetir::op::Op;
use hetir::types::Scalar;

impl<'c> Lowering<'_, '_, 'c> {
    /// Lowers an approximate function; false where it is left to its definition.
    pub(super) fn approx_op(&mut self, inst: Inst) -> bool {
        let data = *self.body.inst(inst);
        if data.ty.scalar == Scalar::F64 {
            return false;
        }
        let fun = match (data.op, data.attr::<ApproxFn>(), data.attr::<ApproxDiv>()) {
            (Op::FDivApprox, _, ApproxDiv::Approx) => Approx::Div,
            (Op::FDivApprox, _, ApproxDiv::Full) => Approx::DivFull,
            (_, ApproxFn::Rcp, _) => Approx::Rcp,
            (_, ApproxFn::Rsqrt, _) => Approx::Rsqrt,
            (_, ApproxFn::Sqrt, _) => Approx::Sqrt,
            (_, ApproxFn::Sin, _) => Approx::Sin,
            (_, ApproxFn::Cos, _) => Approx::Cos,
            (_, ApproxFn::Lg2, _) => Approx::Lg2,
            (_, ApproxFn::Ex2, _) => Approx::Ex2,
            (_, ApproxFn::Tanh, _) => Approx::Tanh,
        };
        let args = self.body.args(inst).to_vec();
        let once = self.once(inst);
        let f = self.floats(data.ty, once);
        let single = self.singles(f.count);
        let ftz = data.attr::<Ftz>() == Ftz::Yes && data.ty.scalar != Scalar::F16;
        let operands: Vec<_> = args.iter().map(|a| self.float_arg(*a, once, f)).collect();
        let operands: Vec<_> = operands.into_iter().map(|v| self.to_single(f, v)).collect();
        let (Some(&a), Some(&b)) = (operands.first(), operands.last()) else { return false };
        let sequence = Sequence { e: self.e, f: single, scales: self.unit.avx512 };
        let v = portable::evaluate(&sequence, fun, a, b, ftz);
        let v = self.rounded_single(f, v);
        let v = self.short_canonical(f, v);
        self.set_float(inst, v, once);
        true
    }

    /// f32 elements.
    pub(super) fn singles(&self, count: u32) -> Floats<'c> {
        let wide = |t: Ty<'c>| if count == 1 { t } else { t.vector(count) };
        Floats { scalar: Scalar::F32, ty: wide(self.e.float()), bits: wide(self.i(32)), count }
    }
    /// f16, bf16 or f32 to f32, which is exact.
    pub(super) fn to_single(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        let e = self.e;
        let single = self.singles(f.count);
        match f.scalar {
            Scalar::F16 => e.cast(Code::LLVMFPExt, v, single.ty),
            Scalar::Bf16 => {
                let bits = e.cast(Code::LLVMZExt, e.cast(Code::LLVMBitCast, v, f.bits), single.bits);
                let bits = e.bin(Code::LLVMShl, bits, self.pattern(single, 16));
                e.cast(Code::LLVMBitCast, bits, single.ty)
            }
            _ => v,
        }
    }
    /// f32 to f16, bf16 or f32, to nearest.
    fn rounded_single(&self, f: Floats<'c>, v: Val<'c>) -> Val<'c> {
        match f.scalar {
            Scalar::F16 => self.e.cast(Code::LLVMFPTrunc, v, f.ty),
            Scalar::Bf16 => self.to_bfloat(f, v),
            _ => v,
        }
    }
}

/// Appends the operations of a sequence.
struct Sequence<'u, 'c> {
    e: &'u Emit<'c>,
    f: Floats<'c>,
    /// AVX-512 F is there.
    scales: bool,
}

impl<'c> Sequence<'_, 'c> {
    fn all(&self, element: Val<'c>) -> Val<'c> {
        let e = self.e;
        if self.f.count == 1 {
            return element;
        }
        let undef = element.ty().vector(self.f.count).undef();
        let first = e.insert(undef, element, e.int_ty(32).int(0));
        e.shuffle(first, undef, &vec![0; self.f.count as usize])
    }
}

impl<'c> portable::Arithmetic for Sequence<'_, 'c> {
    type Float = Val<'c>;
    type Word = Val<'c>;
    type Test = Val<'c>;

    fn float(&self, value: f32) -> Val<'c> {
        self.float_of_bits(self.word(value.to_bits()))
    }
    fn word(&self, value: u32) -> Val<'c> {
        self.all(self.e.int_ty(32).int(value.into()))
    }
    fn bits(&self, a: Val<'c>) -> Val<'c> {
        self.e.cast(Code::LLVMBitCast, a, self.f.bits)
    }
    fn float_of_bits(&self, a: Val<'c>) -> Val<'c> {
        self.e.cast(Code::LLVMBitCast, a, self.f.ty)
    }
    fn float_of_signed(&self, a: Val<'c>) -> Val<'c> {
        self.e.cast(Code::LLVMSIToFP, a, self.f.ty)
    }
    fn add(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMFAdd, a, b)
    }
    fn sub(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMFSub, a, b)
    }
    fn mul(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMFMul, a, b)
    }
    fn div(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMFDiv, a, b)
    }
    fn sqrt(&self, a: Val<'c>) -> Val<'c> {
        self.e.intrinsic("llvm.sqrt", &[self.f.ty], &[a])
    }
    fn fma(&self, a: Val<'c>, b: Val<'c>, c: Val<'c>) -> Val<'c> {
        self.e.intrinsic("llvm.fma", &[self.f.ty], &[a, b, c])
    }
    fn plus(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMAdd, a, b)
    }
    fn minus(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMSub, a, b)
    }
    fn and(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMAnd, a, b)
    }
    fn xor(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.bin(Code::LLVMXor, a, b)
    }
    fn shift_left(&self, a: Val<'c>, n: u32) -> Val<'c> {
        self.e.bin(Code::LLVMShl, a, self.word(n))
    }
    fn shift_right(&self, a: Val<'c>, n: u32) -> Val<'c> {
        self.e.bin(Code::LLVMAShr, a, self.word(n))
    }
    fn less(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.fcmp(Real::LLVMRealOLT, a, b)
    }
    fn below(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.icmp(Int::LLVMIntULT, a, b)
    }
    fn is_zero(&self, a: Val<'c>) -> Val<'c> {
        self.e.icmp(Int::LLVMIntEQ, a, self.f.bits.zero())
    }
    fn pick(&self, test: Val<'c>, yes: Val<'c>, no: Val<'c>) -> Val<'c> {
        self.e.select(test, yes, no)
    }

    fn scale(&self, a: Val<'c>, n: Val<'c>, word: Val<'c>) -> Val<'c> {
        let e = self.e;
        if !self.scales || !self.f.count.is_multiple_of(16) {
            return portable::scale_by_products(self, a, word);
        }
        let part = e.float().vector(16);
        let parts = (0..self.f.count / 16).map(|at| {
            let (every, current_mode) = (e.int_ty(16).ones(), e.int_ty(32).int(4));
            let (a, n) = (e.part_of(a, at, 16), e.part_of(n, at, 16));
            e.intrinsic("llvm.x86.avx512.mask.scalef.ps.512", &[], &[a, n, part.undef(), every, current_mode])
        });
        e.joined(&parts.collect::<Vec<_>>(), 16)
    }
}

impl<'c> Emit<'c> {
    /// Elements of a vector: the `at`th group of `count`.
    pub(super) fn part_of(&self, v: Val<'c>, at: u32, count: u32) -> Val<'c> {
        let lanes: Vec<_> = (at * count..(at + 1) * count).collect();
        self.shuffle(v, v.ty().undef(), &lanes)
    }
    /// Vectors of `count` elements, one behind the other: one, two or four of them.
    pub(super) fn joined(&self, parts: &[Val<'c>], count: u32) -> Val<'c> {
        match parts {
            [one] => *one,
            parts => {
                let (low, high) = parts.split_at(parts.len() / 2);
                let half = count * low.len() as u32;
                let lanes: Vec<_> = (0..2 * half).collect();
                self.shuffle(self.joined(low, count), self.joined(high, count), &lanes)
            }
        }
    }
}
