//! The function that prepares a factor, see [`super::plan`]: numbers become f32, and exponents what is below.
//!
//! Let T be a number's exponent as an f32 has it, of subnormals the smallest one of their format. The sum of the words
//! of both factors, with saturation, is 255 - T of the product, and the largest number where one of them is zero: of f16
//! in bytes, and of the other formats in 16 bits and 126 more than that.

use super::plan::{ALIGN, QUARTER, Side, Slot, Word};
use super::words::Words;
use crate::sys::{Code, Int, Val};
use hetir::attr::Element;

/// A factor's element in the form that the sum works with.
struct Factor<'a, 'c> {
    w: &'a Words<'a, 'c>,
    element: Element,
    /// Whether words of exponents are bytes that belong to A.
    rows: bool,
    half_conversions: bool,
    /// Subnormals of e4m3 have their format's exponent.
    short: bool,
    registers: Vec<Val<'c>>,
}

impl<'c> Factor<'_, 'c> {
    /// The bits of an element; of e5m2 those of the same number as f16.
    fn raw(&self, n: usize) -> Val<'c> {
        let w = self.w;
        let per = self.element.per_register();
        let (register, bit) = (n / per, (n % per * self.element.bits()) as u32);
        let word = w.lshr(self.registers[register], bit);
        match self.element {
            Element::F16 | Element::Bf16 => w.and(word, 0xffff),
            // The unit does not see the low bits.
            Element::Tf32 => w.and(word, !0x1fff),
            Element::E5m2 => w.shl(w.and(word, 0xff), 8),
            _ => w.and(word, 0xff),
        }
    }

    /// As f32; infinity and NaN may be anything.
    fn value(&self, n: usize) -> Val<'c> {
        let w = self.w;
        let raw = self.raw(n);
        match self.element {
            Element::Tf32 => raw,
            Element::Bf16 => w.shl(raw, 16),
            Element::F16 | Element::E5m2 => w.half_to_single(raw, self.half_conversions),
            // Sign, and what is below it where an f32 has it: 2^120 times too small.
            _ => {
                let e = w.e;
                let size = w.shl(w.and(raw, 0x7f), 20);
                let size = e.bin(Code::LLVMFMul, w.as_float(size), w.single(0x7b80_0000));
                e.bin(Code::LLVMOr, w.as_int(size), w.shl(w.and(raw, 0x80), 24))
            }
        }
    }

    /// The exponent's field, and whether the number is zero.
    fn field(&self, n: usize) -> (Val<'c>, Val<'c>) {
        let w = self.w;
        let raw = self.raw(n);
        let (mantissa, exponent): (u32, u32) = match self.element {
            Element::F16 | Element::E5m2 => (10, 0x1f),
            Element::Bf16 => (7, 0xff),
            Element::Tf32 => (23, 0xff),
            _ => return self.field_of_e4m3(raw),
        };
        let sign = 1u32 << (mantissa + exponent.count_ones());
        let zero = w.e.icmp(Int::LLVMIntEQ, w.and(raw, sign - 1), w.int(0));
        (w.and(w.lshr(raw, mantissa), exponent), zero)
    }
    /// Numbers below its normal range are in that of f16, which is what counts.
    fn field_of_e4m3(&self, raw: Val<'c>) -> (Val<'c>, Val<'c>) {
        let w = self.w;
        let e = w.e;
        let zero = e.icmp(Int::LLVMIntEQ, w.and(raw, 0x7f), w.int(0));
        let size = w.shl(w.and(raw, 0x7f), 20);
        let size = e.bin(Code::LLVMFMul, w.as_float(size), w.single(0x7b80_0000));
        let field = e.bin(Code::LLVMSub, w.lshr(w.as_int(size), 23), w.int(127 - 15));
        let field = if self.short { e.intrinsic("llvm.umax", &[field.ty()], &[field, w.int(15 - 6)]) } else { field };
        (field, zero)
    }

    fn exponent(&self, n: usize) -> Val<'c> {
        let w = self.w;
        let e = w.e;
        let (field, zero) = self.field(n);
        let field = e.intrinsic("llvm.umax", &[field.ty()], &[field, w.int(1)]);
        let (most, none) = match self.element {
            Element::Bf16 | Element::Tf32 => (254, 0xffff),
            _ if self.rows => (128, 0xff),
            _ => (30, 0xff),
        };
        e.select(zero, w.int(none), e.bin(Code::LLVMSub, w.int(most), field))
    }

    /// Lanes that hold an infinity or a NaN.
    fn special(&self, n: usize) -> Val<'c> {
        let w = self.w;
        let raw = self.raw(n);
        let (field, of) = match self.element {
            Element::F16 | Element::E5m2 => (0x7c00, 0x7c00),
            Element::Bf16 => (0x7f80, 0x7f80),
            Element::Tf32 => (0x7f80_0000, 0x7f80_0000),
            _ => (0x7f, 0x7f),
        };
        w.e.icmp(Int::LLVMIntEQ, w.and(raw, of), w.int(field))
    }

    fn word(&self, word: &Word) -> Val<'c> {
        match word {
            Word::Value(n) => self.value(*n),
            Word::Exponents(parts) => {
                let all = parts.iter().map(|&(n, bit)| self.w.shl(self.exponent(n), bit));
                all.reduce(|a, b| self.w.e.bin(Code::LLVMOr, a, b)).unwrap_or_else(|| self.w.int(0))
            }
        }
    }
}

/// The body: from registers to memory.
pub(super) fn prepare<'c>(
    w: &Words<'_, 'c>,
    side: &Side,
    (element, rows): (Element, bool),
    (half_conversions, short): (bool, bool),
    elements: usize,
    registers: Vec<Val<'c>>,
    to: Val<'c>,
) {
    let e = w.e;
    let factor = Factor { w, element, rows, half_conversions, short, registers };
    let special = (0..elements).map(|n| factor.special(n)).reduce(|a, b| e.bin(Code::LLVMOr, a, b));
    if let Some(special) = special {
        let bits = e.cast(Code::LLVMBitCast, special, e.int_ty(32));
        e.store(bits, to, ALIGN);
    }
    for batch in &side.batches {
        let first: &Slot = &side.slots[batch.slots[0]];
        let repeats = first.repeats();
        let mut all: Option<Val<'c>> = None;
        for (piece, (word, lanes)) in first.pieces.iter().enumerate() {
            let lanes: Vec<u8> = if repeats {
                batch.slots.iter().flat_map(|slot| side.slots[*slot].pieces[piece].1[..4].to_vec()).collect()
            } else {
                lanes.to_vec()
            };
            let v = factor.word(word);
            let v = e.shuffle(v, v, &lanes.iter().map(|l| u32::from(*l)).collect::<Vec<_>>());
            all = Some(all.map_or(v, |sum| e.bin(Code::LLVMOr, sum, v)));
        }
        if let Some(all) = all {
            let align = if repeats { QUARTER } else { ALIGN };
            e.store(all, e.offset(to, e.int_ty(64).int(batch.offset.into())), align);
        }
    }
}
