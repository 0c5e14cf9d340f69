//! Unpacking, rounding and packing: the exact core under every operation.

use super::{Format, Mode, Round};

/// Which patterns of a layout are not numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Specials {
    /// Largest exponent: infinity and NaN.
    Ieee,
    /// All ones is NaN, no infinity (e4m3).
    NanOnly,
    /// Every pattern is a number.
    None,
}

/// Field widths of a binary format with a sign; the bias is 2^(exp_bits-1) - 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) exp_bits: u32,
    pub(super) man_bits: u32,
    pub(super) specials: Specials,
}

impl Layout {
    #[inline]
    pub(super) const fn of(f: Format) -> Layout {
        Layout { exp_bits: f.exponent_bits(), man_bits: f.mantissa_bits(), specials: Specials::Ieee }
    }

    const fn bias(self) -> i32 {
        (1 << (self.exp_bits - 1)) - 1
    }

    /// Exponent of the last place of subnormals.
    const fn min_ulp(self) -> i32 {
        1 - self.bias() - self.man_bits as i32
    }

    pub(super) const fn sign_bit(self) -> u64 {
        1 << (self.exp_bits + self.man_bits)
    }

    /// Magnitude pattern of the largest finite value.
    pub(super) const fn max_finite(self) -> u64 {
        match self.specials {
            Specials::Ieee => (((1 << self.exp_bits) - 1) << self.man_bits) - 1,
            Specials::NanOnly => self.sign_bit() - 2,
            Specials::None => self.sign_bit() - 1,
        }
    }
}

/// A pattern taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Nan,
    Inf(bool),
    Zero(bool),
    Finite(Finite),
}

/// The number `(-1)^neg * sig * 2^exp`, `sig` not zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Finite {
    pub(super) neg: bool,
    pub(super) sig: u64,
    pub(super) exp: i32,
}

#[inline]
pub(super) fn unpack(l: Layout, a: u64) -> Value {
    let neg = a & l.sign_bit() != 0;
    let mag = a & (l.sign_bit() - 1);
    if mag > l.max_finite() {
        return match l.specials {
            Specials::Ieee if mag == l.max_finite() + 1 => Value::Inf(neg),
            Specials::Ieee | Specials::NanOnly | Specials::None => Value::Nan,
        };
    }
    let field = (mag >> l.man_bits) as i32;
    let man = mag & ((1 << l.man_bits) - 1);
    if field == 0 {
        if man == 0 { Value::Zero(neg) } else { Value::Finite(Finite { neg, sig: man, exp: l.min_ulp() }) }
    } else {
        Value::Finite(Finite { neg, sig: man | 1 << l.man_bits, exp: l.min_ulp() + field - 1 })
    }
}

/// `sig >> shift`, the lowest bit of the result set if a set bit was lost.
#[inline]
pub(super) fn shift_right_jam(sig: u128, shift: u32) -> u128 {
    match shift {
        0 => sig,
        1..=127 => sig >> shift | (sig & ((1 << shift) - 1) != 0) as u128,
        _ => (sig != 0) as u128,
    }
}

/// Whether a truncated magnitude is to be incremented, given what was cut off and half a unit in the same scale.
#[inline]
pub(super) fn round_up(round: Round, neg: bool, odd: bool, rem: u128, half: u128) -> bool {
    match round {
        Round::Rn => rem > half || (rem == half && odd),
        Round::Rna => rem >= half,
        Round::Rz => false,
        Round::Rm => neg && rem != 0,
        Round::Rp => !neg && rem != 0,
    }
}

/// The magnitude pattern nearest to `sig * 2^exp` in the direction of `round`, and what was cut off; the pattern is
/// beyond `max_finite` on overflow. An inexact `sig` has its lowest bit set and at least three bits more than the
/// layout's precision.
#[inline]
pub(super) fn round_magnitude(l: Layout, neg: bool, sig: u128, exp: i32, round: Round) -> u64 {
    let (mag, rem, half) = truncate(l, sig, exp);
    mag + round_up(round, neg, mag & 1 == 1, rem, half) as u64
}

/// The magnitude pattern below `sig * 2^exp`, the part cut off, and half a unit in the last place in the same scale.
/// Nothing cut off gives 0 and 1.
#[inline]
pub(super) fn truncate(l: Layout, sig: u128, exp: i32) -> (u64, u128, u128) {
    let len = 128 - sig.leading_zeros() as i32;
    if len == 0 {
        return (0, 0, 1);
    }
    let top = exp.saturating_add(len - 1);
    let ulp = l.min_ulp().max(top.saturating_sub(l.man_bits as i32));
    let shift = ulp.saturating_sub(exp);
    let (man, rem, half) = match shift {
        ..=0 => ((sig as u64) << (-shift).min(63), 0, 1),
        1..=127 => ((sig >> shift) as u64, sig & ((1 << shift) - 1), 1 << (shift - 1)),
        128 => (0, sig, 1 << 127),
        // Below half of the smallest subnormal.
        _ => (0, 1, 2),
    };
    // The implicit bit of a normal mantissa adds one to the exponent field.
    let field = (ulp - l.min_ulp()).min(1 << l.exp_bits) as u64;
    ((field << l.man_bits).saturating_add(man), rem, half)
}

/// What a magnitude beyond the largest finite one becomes.
#[inline]
pub(super) fn overflow(l: Layout, neg: bool, mag: u64, round: Round) -> u64 {
    let max = l.max_finite();
    if mag <= max {
        return mag;
    }
    let to_infinity = match round {
        Round::Rn | Round::Rna => true,
        Round::Rz => false,
        Round::Rm => neg,
        Round::Rp => !neg,
    };
    max + to_infinity as u64
}

/// Rounds `(-1)^neg * sig * 2^exp` into `f` and applies ftz and sat.
#[inline]
pub(super) fn pack(f: Format, neg: bool, sig: u128, exp: i32, m: Mode) -> u64 {
    let l = Layout::of(f);
    if m.ftz && f.has_ftz() && tiny(l, neg, sig, exp, m.round) {
        return finish(f, if neg { f.sign_bit() } else { 0 }, m);
    }
    let mag = overflow(l, neg, round_magnitude(l, neg, sig, exp, m.round), m.round);
    finish(f, mag | if neg { f.sign_bit() } else { 0 }, m)
}

/// Whether the number, rounded to the layout's precision as if exponents had no lower limit, is below the smallest
/// normal one.
#[inline]
fn tiny(l: Layout, neg: bool, sig: u128, exp: i32, round: Round) -> bool {
    let wide = Layout { exp_bits: 15, ..l };
    let min_normal = ((1 + wide.bias() - l.bias()) as u64) << l.man_bits;
    round_magnitude(wide, neg, sig, exp, round) < min_normal
}

/// Applies ftz and sat to a rounded result.
#[inline]
pub(super) fn finish(f: Format, a: u64, m: Mode) -> u64 {
    let a = f.flush(a, m.ftz);
    if m.sat { saturate(f, a) } else { a }
}

fn saturate(f: Format, a: u64) -> u64 {
    if f.is_nan(a) || a & f.sign_bit() != 0 { 0 } else { a.min(f.one()) }
}

/// The value of an f16 or bf16, exact in f64.
#[inline]
pub(super) fn widen(f: Format, a: u64) -> f64 {
    let mag = a & (f.sign_bit() - 1);
    let sign = if a & f.sign_bit() != 0 { -1.0 } else { 1.0f64 };
    if mag > f.infinity() {
        return f64::NAN;
    }
    if mag == f.infinity() {
        return f64::INFINITY.copysign(sign);
    }
    // The fields in the places of f64's; a power of two makes up for the bias, subnormals included.
    let scale = f64::from_bits((2046 - (f.one() >> f.mantissa_bits())) << 52);
    (f64::from_bits(mag << (52 - f.mantissa_bits())) * scale).copysign(sign)
}

/// A number or infinity rounded to nearest even into f16 or bf16.
#[inline]
pub(super) fn narrow_nearest(f: Format, x: f64) -> u64 {
    let sign = if x.is_sign_negative() { f.sign_bit() } else { 0 };
    let mag = x.abs().to_bits();
    if mag == 0 {
        return sign;
    }
    let bias = (1023 - (f.one() >> f.mantissa_bits())) << 52;
    if mag <= bias | ((1 << 52) - 1) {
        return match unpack(Layout::of(Format::F64), mag) {
            Value::Finite(v) => sign | round_magnitude(Layout::of(f), false, v.sig as u128, v.exp, Round::Rn),
            Value::Nan | Value::Inf(_) | Value::Zero(_) => sign,
        };
    }
    let mag = mag - bias;
    let shift = 52 - f.mantissa_bits();
    let rounded = (mag + (1 << (shift - 1)) - 1 + (mag >> shift & 1)) >> shift;
    sign | rounded.min(f.infinity())
}
