//! Vectors of so many 32-bit words, and what is done with them.

use crate::sys::{Code, Emit, Ty, Val};

pub(super) struct Words<'e, 'c> {
    pub(super) e: &'e Emit<'c>,
    pub(super) count: u32,
}

impl<'c> Words<'_, 'c> {
    pub(super) fn ints(&self) -> Ty<'c> {
        self.e.int_ty(32).vector(self.count)
    }
    pub(super) fn floats(&self) -> Ty<'c> {
        self.e.float().vector(self.count)
    }
    /// A number in each word.
    pub(super) fn int(&self, n: u32) -> Val<'c> {
        Val::const_vector(&vec![self.e.int_ty(32).int(n.into()); self.count as usize])
    }
    /// An f32 of these bits in each word.
    pub(super) fn single(&self, bits: u32) -> Val<'c> {
        self.as_float(self.int(bits))
    }
    pub(super) fn as_float(&self, v: Val<'c>) -> Val<'c> {
        self.e.cast(Code::LLVMBitCast, v, self.floats())
    }
    pub(super) fn as_int(&self, v: Val<'c>) -> Val<'c> {
        self.e.cast(Code::LLVMBitCast, v, self.ints())
    }
    pub(super) fn and(&self, v: Val<'c>, mask: u32) -> Val<'c> {
        self.e.bin(Code::LLVMAnd, v, self.int(mask))
    }
    pub(super) fn shl(&self, v: Val<'c>, bits: u32) -> Val<'c> {
        if bits == 0 { v } else { self.e.bin(Code::LLVMShl, v, self.int(bits)) }
    }
    pub(super) fn lshr(&self, v: Val<'c>, bits: u32) -> Val<'c> {
        if bits == 0 { v } else { self.e.bin(Code::LLVMLShr, v, self.int(bits)) }
    }
    pub(super) fn ashr(&self, v: Val<'c>, bits: u32) -> Val<'c> {
        if bits == 0 { v } else { self.e.bin(Code::LLVMAShr, v, self.int(bits)) }
    }
    pub(super) fn min(&self, a: Val<'c>, b: Val<'c>) -> Val<'c> {
        self.e.intrinsic("llvm.umin", &[a.ty()], &[a, b])
    }

    /// The bits of an f16 in each word as those of an f32. Infinity and NaN are anything without an instruction for it.
    pub(super) fn half_to_single(&self, bits: Val<'c>, instruction: bool) -> Val<'c> {
        let e = self.e;
        if instruction {
            let short = e.cast(Code::LLVMTrunc, bits, e.int_ty(16).vector(self.count));
            let half = e.cast(Code::LLVMBitCast, short, e.half().vector(self.count));
            return self.as_int(e.cast(Code::LLVMFPExt, half, self.floats()));
        }
        // 2^112 times too small.
        let size = self.shl(self.and(bits, 0x7fff), 13);
        let size = e.bin(Code::LLVMFMul, self.as_float(size), self.single(0x7780_0000));
        e.bin(Code::LLVMOr, self.as_int(size), self.shl(self.and(bits, 0x8000), 16))
    }
    /// Rounded to nearest.
    pub(super) fn single_to_half(&self, bits: Val<'c>) -> Val<'c> {
        let e = self.e;
        let half = e.cast(Code::LLVMFPTrunc, self.as_float(bits), e.half().vector(self.count));
        let short = e.cast(Code::LLVMBitCast, half, e.int_ty(16).vector(self.count));
        e.cast(Code::LLVMZExt, short, self.ints())
    }
}
