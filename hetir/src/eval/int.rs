//! Integer arithmetic on patterns of `bits` bits (8 to 64); operands have no higher bits, results neither.

use super::Flags;
use super::bits::sign_extend;
use crate::attr::IntCmp;
use crate::op::Op;
use crate::types::Type;

#[inline]
const fn mask(bits: u32) -> u64 {
    u64::MAX >> (64 - bits)
}

/// One lane of an elementwise op.
#[inline]
pub(super) fn lane(op: Op, bits: u32, f: &Flags, a: u64, b: u64) -> u64 {
    let value = match op {
        Op::IAdd if f.sat => saturate(bits, i128::from(sign_extend(a, bits)) + i128::from(sign_extend(b, bits))),
        Op::ISub if f.sat => saturate(bits, i128::from(sign_extend(a, bits)) - i128::from(sign_extend(b, bits))),
        Op::IAdd => a.wrapping_add(b),
        Op::ISub => a.wrapping_sub(b),
        Op::IMul => a.wrapping_mul(b),
        Op::INeg => a.wrapping_neg(),
        Op::IAbs => sign_extend(a, bits).unsigned_abs(),
        Op::IMin | Op::IMax => {
            let first = compare(IntCmp::Le, f.signed, bits, a, b) == (op == Op::IMin);
            let value = if first { a } else { b };
            if f.relu && sign_extend(value, bits) < 0 { 0 } else { value }
        }
        _ => 0,
    };
    value & mask(bits)
}

fn saturate(bits: u32, value: i128) -> u64 {
    let high = (1i128 << (bits - 1)) - 1;
    value.clamp(-high - 1, high) as u64
}

pub(super) fn mul_wide(bits: u32, signed: bool, a: u64, b: u64) -> u64 {
    let product =
        if signed { sign_extend(a, bits).wrapping_mul(sign_extend(b, bits)) as u64 } else { a.wrapping_mul(b) };
    product & mask((2 * bits).min(64))
}

pub(super) fn mul_high(bits: u32, signed: bool, a: u64, b: u64) -> u64 {
    let high = if signed {
        ((i128::from(sign_extend(a, bits)) * i128::from(sign_extend(b, bits))) >> bits) as u64
    } else {
        ((u128::from(a) * u128::from(b)) >> bits) as u64
    };
    high & mask(bits)
}

pub(super) fn div(bits: u32, signed: bool, a: u64, b: u64) -> u64 {
    let quotient = match (b, signed) {
        (0, _) => u64::MAX,
        (_, true) => sign_extend(a, bits).wrapping_div(sign_extend(b, bits)) as u64,
        (_, false) => a / b,
    };
    quotient & mask(bits)
}

pub(super) fn rem(bits: u32, signed: bool, a: u64, b: u64) -> u64 {
    let remainder = match (b, signed) {
        (0, _) => u64::MAX,
        (_, true) => sign_extend(a, bits).wrapping_rem(sign_extend(b, bits)) as u64,
        (_, false) => a % b,
    };
    remainder & mask(bits)
}

#[inline]
pub(super) fn shl(bits: u32, a: u64, amount: u64) -> u64 {
    if amount >= u64::from(bits) { 0 } else { a << amount & mask(bits) }
}

#[inline]
pub(super) fn shr(bits: u32, signed: bool, a: u64, amount: u64) -> u64 {
    let amount = amount.min(64) as u32;
    if signed {
        (sign_extend(a, bits) >> amount.min(63)) as u64 & mask(bits)
    } else {
        a.checked_shr(amount).unwrap_or(0)
    }
}

#[inline]
pub(super) fn compare(cmp: IntCmp, signed: bool, bits: u32, a: u64, b: u64) -> bool {
    if signed { ordered(cmp, sign_extend(a, bits), sign_extend(b, bits)) } else { ordered(cmp, a, b) }
}

pub(super) fn compare128(cmp: IntCmp, signed: bool, a: u128, b: u128) -> bool {
    if signed { ordered(cmp, a as i128, b as i128) } else { ordered(cmp, a, b) }
}

#[inline]
fn ordered<T: Ord>(cmp: IntCmp, a: T, b: T) -> bool {
    match cmp {
        IntCmp::Eq => a == b,
        IntCmp::Ne => a != b,
        IntCmp::Lt => a < b,
        IntCmp::Le => a <= b,
        IntCmp::Gt => a > b,
        IntCmp::Ge => a >= b,
    }
}

/// Sum with carry, or difference with borrow, and the carry or borrow out.
pub(super) fn with_carry(subtract: bool, ty: Type, a: u64, b: u64, carry: bool) -> (u64, bool) {
    let modulus = 1i128 << ty.bits();
    let (a, b, carry) = (i128::from(a), i128::from(b), i128::from(carry));
    let exact = if subtract { a - b - carry } else { a + b + carry };
    (exact as u64 & ty.mask(), exact < 0 || exact >= modulus)
}
