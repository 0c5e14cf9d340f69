//! Bit fields, bytes and dot products. 32-bit operands come zero-extended.

use crate::attr::Permute;

/// The low `bits` (1 to 64) of a value as a signed number.
#[inline]
pub(super) const fn sign_extend(v: u64, bits: u32) -> i64 {
    let shift = 64 - bits;
    ((v << shift) as i64) >> shift
}

pub(super) fn sign_extend128(v: u128, bits: u32) -> u128 {
    let shift = 128 - bits;
    (((v << shift) as i128) >> shift) as u128
}

pub(super) fn mask128(bits: u32) -> u128 {
    u128::MAX >> (128 - bits)
}

/// `width` bits from a position on; what is beyond bit 127 is zero.
pub(super) fn field(v: u128, at: u32, width: u32) -> u128 {
    v.checked_shr(at).unwrap_or(0) & mask128(width)
}

pub(super) fn funnel(right: bool, wrap: bool, lo: u64, hi: u64, amount: u64) -> u64 {
    let amount = if wrap { amount & 31 } else { amount.min(32) };
    let both = hi << 32 | lo;
    let value = if right { both >> amount } else { ((both as u128) << amount >> 32) as u64 };
    value & 0xffff_ffff
}

pub(super) fn find(bits: u32, signed: bool, a: u64) -> u64 {
    let a = if signed && sign_extend(a, bits) < 0 { !a & (u64::MAX >> (64 - bits)) } else { a };
    if a == 0 { 0xffff_ffff } else { u64::from(a.ilog2()) }
}

/// Position and length of a field: 32-bit fields take them modulo 256, 64-bit fields whole, as an H200 does.
fn place(bits: u32, position: u64, length: u64) -> (u32, u32) {
    let one = |n: u64| if bits == 32 { n as u32 & 0xff } else { (n as u32).min(0xff) };
    (one(position), one(length))
}

pub(super) fn extract(bits: u32, signed: bool, a: u64, position: u64, length: u64) -> u64 {
    let (position, length) = place(bits, position, length);
    if length == 0 {
        return 0;
    }
    let mask = u64::MAX >> (64 - bits);
    let above = |n: u32| u64::MAX.checked_shl(n).unwrap_or(0);
    let sign = signed && a >> (position + length - 1).min(bits - 1) & 1 != 0;
    let present = length.min(bits.saturating_sub(position));
    let value = a.checked_shr(position).unwrap_or(0) & !above(present);
    (if sign { value | above(present) } else { value }) & mask
}

pub(super) fn insert(bits: u32, field: u64, into: u64, position: u64, length: u64) -> u64 {
    let (position, length) = place(bits, position, length);
    let ones = !u64::MAX.checked_shl(length).unwrap_or(0);
    let place = ones.checked_shl(position).unwrap_or(0) & (u64::MAX >> (64 - bits));
    into & !place | field.checked_shl(position).unwrap_or(0) & place
}

pub(super) fn make_mask(wrap: bool, position: u64, length: u64) -> u64 {
    let limit = |n: u64| if wrap { n & 31 } else { n.min(32) };
    (((1u128 << limit(length)) - 1) << limit(position)) as u64 & 0xffff_ffff
}

pub(super) fn nth_set(mask: u64, base: u64, offset: u64) -> u64 {
    const NONE: u64 = 0xffff_ffff;
    let offset = offset as u32 as i32;
    let set = |p: u64| mask >> p & 1 != 0;
    // As an H200 does: there is no number of steps for the smallest offset.
    if offset == i32::MIN {
        return 0;
    }
    if base > 31 {
        return NONE;
    }
    let skip = offset.unsigned_abs().saturating_sub(1) as usize;
    match offset {
        0 => Some(base).filter(|&p| set(p)),
        1.. => (base..32).filter(|&p| set(p)).nth(skip),
        _ => (0..=base).rev().filter(|&p| set(p)).nth(skip),
    }
    .unwrap_or(NONE)
}

pub(super) fn extend(signed: bool, wrap: bool, a: u64, n: u64) -> u64 {
    let n = if wrap { n & 31 } else { n.min(32) } as u32;
    match (n, signed) {
        (0, _) => 0,
        (_, true) => sign_extend(a, n) as u64 & 0xffff_ffff,
        (_, false) => a & (u64::MAX >> (64 - n)),
    }
}

pub(super) fn lop3(table: u64, a: u64, b: u64, c: u64) -> u64 {
    let mut value = 0;
    for row in 0..8 {
        if table >> row & 1 != 0 {
            let pick = |v: u64, bit: u32| if row >> bit & 1 != 0 { v } else { !v };
            value |= pick(a, 2) & pick(b, 1) & pick(c, 0);
        }
    }
    value & 0xffff_ffff
}

pub(super) fn permute(mode: Permute, a: u64, b: u64, selector: u64) -> u64 {
    let both = b << 32 | a;
    let n = selector & 3;
    let mut value = 0;
    for i in 0..4 {
        let (byte, sign) = match mode {
            Permute::Index => {
                let nibble = selector >> (4 * i) & 15;
                (nibble & 7, nibble & 8 != 0)
            }
            Permute::F4e => (n + i, false),
            Permute::B4e => (n.wrapping_sub(i) & 7, false),
            Permute::Rc8 => (n, false),
            Permute::Ecl => (n.max(i), false),
            Permute::Ecr => (n.min(i), false),
            Permute::Rc16 => ((n & 1) * 2 + (i & 1), false),
        };
        let picked = both >> (8 * byte) & 0xff;
        let picked = if sign { 0xff * (picked >> 7) } else { picked };
        value |= picked << (8 * i);
    }
    value
}

fn part(v: u64, index: u32, width: u32, signed: bool) -> i64 {
    let part = v >> (index * width) & (u64::MAX >> (64 - width));
    if signed { sign_extend(part, width) } else { part as i64 }
}

pub(super) fn dot4(signed_a: bool, signed_b: bool, a: u64, b: u64, c: u64) -> u64 {
    let dot: i64 = (0..4).map(|i| part(a, i, 8, signed_a) * part(b, i, 8, signed_b)).sum();
    c.wrapping_add_signed(dot) & 0xffff_ffff
}

pub(super) fn dot2(signed_a: bool, signed_b: bool, high: bool, a: u64, b: u64, c: u64) -> u64 {
    let first = if high { 2 } else { 0 };
    let dot: i64 = (0..2).map(|i| part(a, i, 16, signed_a) * part(b, first + i, 8, signed_b)).sum();
    c.wrapping_add_signed(dot) & 0xffff_ffff
}
