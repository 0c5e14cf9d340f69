//! Storage formats: fp8, fp6, fp4, the ue8m0 scale, tf32; range-clamped and stochastic conversions.

use super::nan::{self, canonical_nan};
use super::soft::{Finite, Layout, Specials, Value, overflow, pack, round_magnitude, truncate, unpack};
use super::{Format, Mode, Round};

/// A format that values are stored in but not computed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Narrow {
    /// Sign, 4 exponent, 3 mantissa bits; no infinity, NaN is 0x7f or 0xff, largest value 448.
    E4m3,
    /// Sign, 5 exponent, 2 mantissa bits; IEEE-like infinity and NaN.
    E5m2,
    /// Sign, 2 exponent, 3 mantissa bits; every pattern a number, largest value 7.5.
    E2m3,
    /// Sign, 3 exponent, 2 mantissa bits; every pattern a number, largest value 28.
    E3m2,
    /// Sign, 2 exponent, 1 mantissa bit; every pattern a number, largest value 6.
    E2m1,
    /// A power of two from 2^-127 to 2^127 without a sign; 0xff is NaN.
    Ue8m0,
    /// An f32 pattern whose low 13 bits are zero.
    Tf32,
}

impl Narrow {
    /// All formats.
    pub const ALL: [Narrow; 7] =
        [Narrow::E4m3, Narrow::E5m2, Narrow::E2m3, Narrow::E3m2, Narrow::E2m1, Narrow::Ue8m0, Narrow::Tf32];

    /// Width of the pattern.
    pub const fn bits(self) -> u32 {
        match self {
            Narrow::E4m3 | Narrow::E5m2 | Narrow::Ue8m0 => 8,
            Narrow::E2m3 | Narrow::E3m2 => 6,
            Narrow::E2m1 => 4,
            Narrow::Tf32 => 32,
        }
    }

    /// The layout of the pattern shifted right by the number of unused low bits; none for ue8m0.
    const fn layout(self) -> Option<(Layout, u32)> {
        let (exp_bits, man_bits, specials, unused) = match self {
            Narrow::E4m3 => (4, 3, Specials::NanOnly, 0),
            Narrow::E5m2 => (5, 2, Specials::Ieee, 0),
            Narrow::E2m3 => (2, 3, Specials::None, 0),
            Narrow::E3m2 => (3, 2, Specials::None, 0),
            Narrow::E2m1 => (2, 1, Specials::None, 0),
            Narrow::Tf32 => (8, 10, Specials::Ieee, 13),
            Narrow::Ue8m0 => return None,
        };
        Some((Layout { exp_bits, man_bits, specials }, unused))
    }
}

/// Destination of a stochastic conversion: several f32 become one packed register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StochasticTo {
    /// Two f16.
    F16x2,
    /// Two bf16.
    Bf16x2,
    /// Four e4m3.
    E4m3x4,
    /// Four e5m2.
    E5m2x4,
    /// Four e2m3.
    E2m3x4,
    /// Four e3m2.
    E3m2x4,
    /// Four e2m1.
    E2m1x4,
}

impl StochasticTo {
    fn layout(self) -> (Layout, u64) {
        let narrow = match self {
            StochasticTo::F16x2 => return (Layout::of(Format::F16), canonical_nan(Format::F16)),
            StochasticTo::Bf16x2 => return (Layout::of(Format::Bf16), canonical_nan(Format::Bf16)),
            StochasticTo::E4m3x4 => Narrow::E4m3,
            StochasticTo::E5m2x4 => Narrow::E5m2,
            StochasticTo::E2m3x4 => Narrow::E2m3,
            StochasticTo::E3m2x4 => Narrow::E3m2,
            StochasticTo::E2m1x4 => Narrow::E2m1,
        };
        match narrow.layout() {
            Some((l, _)) => (l, nan::narrow(narrow)),
            None => (Layout::of(Format::F16), canonical_nan(Format::F16)),
        }
    }

    /// The random bits of one element and how many they are. Element 0 is the lowest of the packed result.
    fn random(self, element: u32, rbits: u64) -> (u128, u32) {
        let (low, high) = (rbits & 0xffff, rbits >> 16 & 0xffff);
        let (r, n) = match self {
            StochasticTo::F16x2 => (if element == 0 { low } else { high } & 0x1fff, 13),
            StochasticTo::Bf16x2 => (if element == 0 { low } else { high }, 16),
            StochasticTo::E4m3x4 | StochasticTo::E5m2x4 | StochasticTo::E2m3x4 | StochasticTo::E3m2x4 => {
                (if element < 2 { low } else { high }, 16)
            }
            StochasticTo::E2m1x4 if element < 2 => ((high & 0xff) << 8 | low & 0xff, 16),
            StochasticTo::E2m1x4 => (high & 0xff00 | low >> 8, 16),
        };
        (r as u128, n)
    }
}

/// One element converted to a storage format.
///
/// With `satfinite` a value beyond the largest finite one, infinity included, becomes that one with its sign; without,
/// it overflows as IEEE 754 says, to NaN in e4m3 and ue8m0. NaN becomes the format's NaN, or the largest positive
/// value where there is none. With `relu` a negative value becomes +0.
///
/// ue8m0 ignores the sign, rounds the magnitude down to a power of two, or up in modes other than `Rz` and `Rm`;
/// magnitudes up to 2^-127 become 2^-127.
pub fn to_narrow(n: Narrow, from: Format, a: u64, r: Round, satfinite: bool, relu: bool) -> u64 {
    let value = unpack(Layout::of(from), a & from.mask());
    match n.layout() {
        Some((l, unused)) => match value {
            Value::Nan if n == Narrow::Tf32 && from == Format::F32 && r == Round::Rna => {
                nan::tf32_ties_away(a & from.mask(), satfinite)
            }
            Value::Nan => nan::narrow(n),
            _ => {
                clamped(l, value, relu, satfinite, nan::narrow(n) >> unused, |x| {
                    overflow_narrow(l, x.neg, round_magnitude(l, x.neg, x.sig as u128, x.exp, r), r)
                }) << unused
            }
        },
        None => to_ue8m0(value, r, satfinite, relu),
    }
}

fn overflow_narrow(l: Layout, neg: bool, mag: u64, r: Round) -> u64 {
    match l.specials {
        Specials::Ieee | Specials::NanOnly => overflow(l, neg, mag, r),
        Specials::None => mag.min(l.max_finite()),
    }
}

/// Applies relu and satfinite around the rounding of a finite magnitude.
fn clamped(l: Layout, value: Value, relu: bool, satfinite: bool, nan: u64, round: impl FnOnce(Finite) -> u64) -> u64 {
    let (neg, mag) = match value {
        Value::Nan => return nan,
        Value::Zero(neg) => (neg, 0),
        Value::Inf(neg) => (neg, l.max_finite() + (l.specials != Specials::None) as u64),
        Value::Finite(x) => (x.neg, round(x)),
    };
    if neg && relu {
        return 0;
    }
    let mag = if satfinite { mag.min(l.max_finite()) } else { mag };
    mag | if neg { l.sign_bit() } else { 0 }
}

fn to_ue8m0(value: Value, r: Round, satfinite: bool, relu: bool) -> u64 {
    const MAX: u64 = 0xfe;
    let (neg, code) = match value {
        Value::Nan => return nan::narrow(Narrow::Ue8m0),
        Value::Zero(neg) => (neg, 0),
        Value::Inf(neg) => (neg, MAX + 1),
        Value::Finite(x) => {
            let top = x.exp + 63 - x.sig.leading_zeros() as i32;
            let up = match r {
                Round::Rz | Round::Rm => false,
                Round::Rp | Round::Rn | Round::Rna => !x.sig.is_power_of_two(),
            };
            (x.neg, (top + up as i32 + 127).clamp(0, MAX as i32 + 1) as u64)
        }
    };
    match (neg && relu, satfinite) {
        (true, _) => 0,
        (false, true) => code.min(MAX),
        (false, false) => code,
    }
}

/// One element of a storage format as an arithmetic format; every value is exact in f32, f64 and, ue8m0 and tf32
/// excepted, f16. Where it is not, it is rounded to nearest even.
pub fn from_narrow(n: Narrow, to: Format, a: u64) -> u64 {
    let value = match n.layout() {
        Some((l, unused)) => unpack(l, (a >> unused) & (l.sign_bit() << 1).wrapping_sub(1)),
        None if a & 0xff == 0xff => Value::Nan,
        None => Value::Finite(Finite { neg: false, sig: 1, exp: (a & 0xff) as i32 - 127 }),
    };
    let sign = |neg| if neg { to.sign_bit() } else { 0 };
    match value {
        Value::Nan => canonical_nan(to),
        Value::Inf(neg) => sign(neg) | to.infinity(),
        Value::Zero(neg) => sign(neg),
        Value::Finite(x) => pack(to, x.neg, x.sig as u128, x.exp, Mode::RN),
    }
}

/// Conversion between arithmetic formats with the modifiers `satfinite` (a value beyond the largest finite one becomes
/// that one) and `relu` (a negative value becomes +0).
pub fn convert_satfinite(from: Format, to: Format, a: u64, r: Round, satfinite: bool, relu: bool) -> u64 {
    let l = Layout::of(to);
    let value = unpack(Layout::of(from), a & from.mask());
    clamped(l, value, relu, satfinite, canonical_nan(to), |x| {
        overflow(l, x.neg, round_magnitude(l, x.neg, x.sig as u128, x.exp, r), r)
    })
}

/// One f32 converted with stochastic rounding to `element` (0 is the lowest) of the packed result of `to`.
///
/// The random bits of the element are aligned with the highest bits cut off from the significand and added to those;
/// a carry out increments the result. f16 takes 13 bits of its half of `rbits`, bf16 all 16 of its half; of four
/// elements the lower two share the lower half and the upper two the upper half; for e2m1 the lower two take the low
/// bytes of both halves, the upper two the high bytes.
pub fn convert_stochastic(to: StochasticTo, element: u32, a: u64, rbits: u64, satfinite: bool, relu: bool) -> u64 {
    let (l, nan) = to.layout();
    let value = unpack(Layout::of(Format::F32), a & Format::F32.mask());
    clamped(l, value, relu, satfinite, nan, |x| {
        let (random, bits) = to.random(element, rbits);
        let (mag, rem, half) = truncate(l, x.sig as u128, x.exp);
        // Compares in units of 2^-bits of the last place; half is a power of two.
        let place = half.trailing_zeros() + 1;
        let cut = if place >= bits { rem >> (place - bits) } else { rem << (bits - place) };
        overflow_narrow(l, x.neg, mag + ((cut + random) >> bits) as u64, Round::Rn)
    })
}
