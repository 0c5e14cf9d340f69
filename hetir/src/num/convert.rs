//! Conversions among the arithmetic formats and integers.

use super::soft::{Finite, Layout, Value, finish, narrow_nearest, pack, round_up, unpack, widen};
use super::{Format, Mode, Round, nan};

/// a in another format, rounded once. `ftz` concerns the f32 side alone, and a conversion to f16 does not flush its
/// operand (as observed on an H200, where it shows in modes `Rm` and `Rp`).
#[inline]
pub fn convert(from: Format, to: Format, a: u64, m: Mode) -> u64 {
    let a = flush_f32(from, a, m.ftz && to != Format::F16);
    let ftz = m.ftz;
    let m = Mode { ftz: m.ftz && to == Format::F32, ..m };
    if let Some(r) = convert_native(from, to, a, m) {
        return finish(to, r, m);
    }
    match unpack(Layout::of(from), a) {
        Value::Nan => finish(to, nan::converted(from, to, a, ftz), m),
        Value::Inf(neg) => finish(to, with_sign(to, neg, to.infinity()), m),
        Value::Zero(neg) => finish(to, with_sign(to, neg, 0), m),
        Value::Finite(x) => pack(to, x.neg, x.sig as u128, x.exp, m),
    }
}

/// The conversions that need no rounding, or rounding to nearest even, of what is not a NaN.
#[inline]
fn convert_native(from: Format, to: Format, a: u64, m: Mode) -> Option<u64> {
    let x = match from {
        Format::F16 | Format::Bf16 => widen(from, a),
        Format::F32 => f32::from_bits(a as u32) as f64,
        Format::F64 => f64::from_bits(a),
    };
    let nearest = m.round == Round::Rn && !m.ftz;
    match to {
        _ if x.is_nan() => None,
        Format::F64 => Some(x.to_bits()),
        Format::F32 if nearest => Some((x as f32).to_bits() as u64),
        Format::F16 | Format::Bf16 if nearest => Some(narrow_nearest(to, x)),
        Format::F16 | Format::Bf16 | Format::F32 => None,
    }
}

/// a rounded to an integral value of the same format; the sign of a zero result is that of a.
#[inline]
pub fn round_to_integral(f: Format, a: u64, r: Round, ftz: bool, sat: bool) -> u64 {
    let a = flush_f32(f, a, ftz);
    let m = Mode { round: r, ftz: false, sat };
    match unpack(Layout::of(f), a) {
        Value::Nan => finish(f, nan::integral(f, a), m),
        Value::Inf(_) | Value::Zero(_) => finish(f, a, m),
        Value::Finite(x) => match integral(x, r) {
            0 => finish(f, with_sign(f, x.neg, 0), m),
            n if x.exp < 0 => pack(f, x.neg, n, 0, m),
            _ => finish(f, a, m),
        },
    }
}

/// a as an integer of `bits` bits (1 to 64), clamped to its range, zero-extended into the result.
#[inline]
pub fn to_int(f: Format, a: u64, bits: u32, signed: bool, r: Round, ftz: bool) -> u64 {
    let bits = bits.clamp(1, 64);
    let mask = u64::MAX >> (64 - bits);
    let (low, high) = if signed { (1u64 << (bits - 1), mask >> 1) } else { (0, mask) };
    match unpack(Layout::of(f), flush_f32(f, a, ftz)) {
        Value::Nan => nan::to_int(f, bits),
        Value::Inf(neg) => {
            if neg {
                low
            } else {
                high
            }
        }
        Value::Zero(_) => 0,
        Value::Finite(x) => {
            let n = integral(x, r);
            if x.neg {
                if n > low as u128 { low } else { (n as u64).wrapping_neg() & mask }
            } else {
                n.min(high as u128) as u64
            }
        }
    }
}

/// The integer in the low `bits` bits (1 to 64) of v, rounded into f.
#[inline]
pub fn from_int(f: Format, v: u64, bits: u32, signed: bool, m: Mode) -> u64 {
    let shift = 64 - bits.clamp(1, 64);
    let v = v << shift;
    let (neg, mag) = if signed {
        let v = v as i64 >> shift;
        (v < 0, v.unsigned_abs())
    } else {
        (false, v >> shift)
    };
    pack(f, neg, mag as u128, 0, m)
}

fn with_sign(f: Format, neg: bool, mag: u64) -> u64 {
    mag | if neg { f.sign_bit() } else { 0 }
}

#[inline]
pub(super) fn flush_f32(f: Format, a: u64, ftz: bool) -> u64 {
    f.flush(a, ftz && f == Format::F32)
}

/// |x| rounded to an integer in the direction of `r` for x; clamped to 2^127, more than any integer type holds.
#[inline]
fn integral(x: Finite, r: Round) -> u128 {
    if x.exp >= 0 {
        return if x.exp > 74 { 1 << 127 } else { (x.sig as u128) << x.exp };
    }
    let shift = x.exp.unsigned_abs();
    let sig = x.sig as u128;
    let (n, rem, half) = match shift {
        0..=64 => (sig >> shift, sig & ((1 << shift) - 1), 1 << (shift - 1)),
        // Below one half.
        _ => (0, 1, 2),
    };
    n + round_up(r, x.neg, n & 1 == 1, rem, half) as u128
}
