//! Where coordinates lie and how texels are mixed: in fixed point, as the hardware does.
//!
//! A place is a number of steps of 1/256 of a texel, a weight one of 256 parts. Found by reading textures on an H200: the
//! mixtures are the same bits but for those of three-dimensional images of floats of very different sizes, where the last
//! bit may differ.

use super::access::{Pair, Texel};
use super::{AddressMode, Channel};
use crate::num::{self, Format, Mode};

/// The sum of all weights, and the steps of a texel.
pub(super) const WHOLE: i64 = 256;

/// Bits below those of the largest addend's significand that are kept of the others.
const GUARD: u32 = 4;

/// Bits behind the point of a normalized coordinate; one more where the image is wide.
const FRACTION: i32 = 21;

/// Beyond this an image is wide.
const WIDE: u32 = 8192;

/// Four texels of a slice.
#[derive(Clone, Copy, Default)]
pub(super) struct Quad {
    pub(super) texels: [Texel; 4],
    pub(super) weights: [i64; 4],
}

/// A weight of so many parts of another one.
pub(super) const fn part(weight: i64, of: i64) -> i64 {
    (weight * of + WHOLE / 2) >> 8
}

/// Weights of left and right in the upper and in the lower row, which make up the slice's. Halves go to the upper left
/// and to the lower right.
pub(super) const fn weights(slice: i64, x: i64, y: i64) -> [i64; 4] {
    let right = part(slice, x);
    let left = slice - right;
    let (lower_right, upper_left) = (part(right, y), part(left, WHOLE - y));
    [upper_left, right - lower_right, left - upper_left, lower_right]
}

/// Steps from the centre of the first texel.
pub(super) fn steps(at: f64) -> i64 {
    ((at - 0.5) * WHOLE as f64 + 0.5).floor() as i64
}

/// A coordinate in texels.
pub(super) fn scale(at: f64, extent: u32, normalized: bool, mode: AddressMode) -> f64 {
    // Subnormal numbers and NaNs count as 0.
    let at = if at.abs() >= f64::from(f32::MIN_POSITIVE) { at } else { 0.0 };
    if !normalized {
        return at;
    }
    let unit = f64::from(2f32.powi(FRACTION + i32::from(extent > WIDE)));
    let at = (at * unit).floor() / unit;
    let at = match mode {
        AddressMode::Wrap | AddressMode::Mirror if at.is_infinite() => 0.0,
        AddressMode::Wrap => at - at.floor(),
        AddressMode::Mirror => at - 2.0 * (at / 2.0).floor(),
        AddressMode::Clamp | AddressMode::Border => at,
    };
    at * f64::from(extent)
}

/// The texels at a place.
pub(super) fn pair(at: f64, extent: i64, mode: AddressMode, offset: i64, linear: bool) -> Pair {
    let steps = if linear { steps(at) } else { (at.floor() as i64).saturating_mul(WHOLE) };
    let steps = steps.saturating_add(offset * WHOLE);
    let first = steps >> 8;
    // Beyond the edge nothing is mixed; a gather still reads the last texel twice.
    let inside = if mode == AddressMode::Clamp { steps.clamp(0, (extent - 1) * WHOLE) } else { steps };
    let wrapped = |at: i64| match mode {
        AddressMode::Clamp => Some(at.clamp(0, extent - 1)),
        AddressMode::Border => Some(at).filter(|at| (0..extent).contains(at)),
        AddressMode::Wrap => Some(at.rem_euclid(extent)),
        AddressMode::Mirror => {
            let at = at.rem_euclid(2 * extent);
            Some(if at < extent { at } else { 2 * extent - 1 - at })
        }
    };
    Pair { texels: [wrapped(first), wrapped(first.saturating_add(1))], weight: inside & 0xff }
}

/// A channel's bits as those of an f32 or of a 32-bit integer.
pub(super) fn widen(channel: Channel, normalized: bool, bits: u32) -> u32 {
    let signed = match channel {
        Channel::S8 => i32::from(bits as i8),
        Channel::S16 => i32::from(bits as i16),
        _ => bits as i32,
    };
    let unit = |most: i32| (signed.max(-most) as f32 / most as f32).to_bits();
    match channel {
        Channel::F16 if bits & 0x7c00 == 0x7c00 => (bits & 0x8000) << 16 | 0x7f80_0000 | (bits & 0x3ff) << 13,
        Channel::F16 => num::convert(Format::F16, Format::F32, bits.into(), Mode::RN) as u32,
        Channel::U8 if normalized => unit(0xff),
        Channel::U16 if normalized => unit(0xffff),
        Channel::S8 if normalized => unit(0x7f),
        Channel::S16 if normalized => unit(0x7fff),
        Channel::U8 | Channel::U16 | Channel::U32 | Channel::S8 | Channel::S16 | Channel::S32 | Channel::F32 => {
            signed as u32
        }
    }
}

/// The mixture of all quads, whose weights make up a whole: bits of f32.
pub(super) fn mix(channel: Channel, quads: &[Quad]) -> Texel {
    let mut out = [0; 4];
    for (n, value) in out.iter_mut().enumerate() {
        let all = || quads.iter().flat_map(|quad| quad.texels.iter().map(move |t| t[n]).zip(quad.weights));
        let sum = |scale: fn(u32) -> i64| all().map(|(bits, weight)| scale(bits) * weight).sum::<i64>();
        let fraction = |whole: i64, most: i32| ((whole as i32).max(-most) as f32 / most as f32).to_bits();
        *value = match channel {
            // A byte is the upper and the lower half of 16 bits.
            Channel::U8 => fraction((sum(|bits| i64::from(bits) * 0x101) + 0x80) >> 8, 0xffff),
            Channel::U16 => fraction((sum(i64::from) + 0x80) >> 8, 0xffff),
            Channel::S16 => fraction((sum(|bits| i64::from(bits as i16)) + 0x80) >> 8, 0x7fff),
            // The sum is widened, by about 32767 / 32512, after the mixing.
            Channel::S8 => {
                let sum = sum(|bits| i64::from(bits as i8));
                fraction(((sum << 3) + (sum >> 4) + (sum >> 12) + 4) >> 3, 0x7fff)
            }
            Channel::U32 | Channel::S32 => 0,
            Channel::F16 => widen(Channel::F16, false, floats(Format::F16, quads, n)),
            Channel::F32 => floats(Format::F32, quads, n),
        };
    }
    out
}

/// A sum in fixed point: so many units of two to this power.
#[derive(Clone, Copy)]
struct Sum {
    units: i128,
    exponent: i32,
}

/// Bits of the mixture of floats: those of a quad are shifted to the exponent of the largest with [`GUARD`] bits below
/// it, the sums of quads are added, and the result is rounded, halves away from zero.
fn floats(format: Format, quads: &[Quad], channel: usize) -> u32 {
    let mantissa = format.mantissa_bits();
    let mut sums = Vec::with_capacity(quads.len());
    let mut special = None;
    for quad in quads {
        let parts = quad.texels.iter().zip(quad.weights).map(|(texel, weight)| {
            let bits = u64::from(texel[channel]) & format.mask();
            let field = (bits >> mantissa) & (format.infinity() >> mantissa);
            let fraction = bits & ((1 << mantissa) - 1);
            let significand = match field {
                // Subnormal numbers of 32 bits count as 0.
                0 if format == Format::F32 => 0,
                0 => fraction,
                _ => fraction | 1 << mantissa,
            };
            (bits & format.sign_bit() != 0, field.max(1) as u32, significand, weight)
        });
        let parts: Vec<_> = parts.collect();
        for (negative, field, fraction, _) in &parts {
            if u64::from(*field) << mantissa == format.infinity() {
                let is_nan = *fraction != 1 << mantissa;
                special = match special {
                    _ if is_nan => Some(None),
                    None => Some(Some(*negative)),
                    Some(Some(other)) if other == *negative => special,
                    Some(_) => Some(None),
                };
            }
        }
        let largest = parts.iter().filter(|p| p.2 != 0 && p.3 != 0).map(|p| p.1).max().unwrap_or(1);
        let mut units = 0;
        for (negative, field, significand, weight) in parts {
            let shifted = (i128::from(significand) << GUARD).checked_shr(largest.saturating_sub(field)).unwrap_or(0);
            units += if negative { -shifted } else { shifted } * i128::from(weight);
        }
        let bias = (format.infinity() >> mantissa >> 1) as i32;
        sums.push(Sum { units, exponent: largest as i32 - bias - mantissa as i32 - GUARD as i32 - 8 });
    }
    match special {
        Some(Some(negative)) => {
            return (format.infinity() | if negative { format.sign_bit() } else { 0 }) as u32;
        }
        Some(None) => return num::canonical_nan(format) as u32,
        None => {}
    }
    let used = || sums.iter().filter(|sum| sum.units != 0);
    let weighty = || quads.iter().flat_map(|quad| quad.texels.iter().zip(quad.weights)).filter(|(_, w)| *w != 0);
    let negative_zero = || weighty().all(|(texel, _)| u64::from(texel[channel]) & format.sign_bit() != 0);
    let zero = || if negative_zero() { format.sign_bit() as u32 } else { 0 };
    let Some(lowest) = used().map(|sum| sum.exponent).min() else { return zero() };
    let high = used().map(|sum| sum.exponent).max().unwrap_or(lowest);
    // Sums further apart than this cannot show in the result.
    let lowest = lowest.max(high - 64);
    let total: i128 = used()
        .map(|sum| match sum.exponent - lowest {
            up @ 0.. => sum.units << up.min(64),
            down => sum.units >> down.unsigned_abs().min(127),
        })
        .sum();
    round(format, total, lowest)
}

/// The float nearest to so many units of two to this power; of two the larger one.
fn round(format: Format, units: i128, exponent: i32) -> u32 {
    let mantissa = format.mantissa_bits() as i32;
    let bias = (format.infinity() >> mantissa >> 1) as i32;
    let magnitude = units.unsigned_abs();
    if magnitude == 0 {
        return 0;
    }
    let top = 127 - magnitude.leading_zeros() as i32;
    let lowest = 1 - bias - mantissa;
    let drop = (top - mantissa).max(lowest - exponent);
    let kept = if drop > 0 {
        if drop > 126 { 0 } else { (magnitude + (1 << (drop - 1))) >> drop }
    } else {
        magnitude << -drop
    };
    // A significand with its highest bit adds one to the exponent field below it; so does a carry out of it.
    let field = u128::from((exponent + drop - lowest) as u32);
    let bits = (field << mantissa) + kept;
    let bits = bits.min(format.infinity().into()) as u64;
    let bits = if format == Format::F32 && bits < format.min_normal() { 0 } else { bits };
    (bits | if units < 0 { format.sign_bit() } else { 0 }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_make_up_their_slice() {
        for x in 0..WHOLE {
            for y in 0..WHOLE {
                let all = weights(WHOLE, x, y);
                assert_eq!(all.iter().sum::<i64>(), WHOLE, "{x} {y}");
                assert!(all.iter().all(|weight| (0..=WHOLE).contains(weight)), "{x} {y}: {all:?}");
            }
        }
        // 16 * 8 parts of 256 are half of one, for the upper right and the lower left a half too much.
        assert_eq!(weights(WHOLE, 16, 8), [233, 15, 7, 1]);
    }

    #[test]
    fn coordinates_are_cut_and_places_rounded() {
        assert_eq!(steps(0.5), 0);
        assert_eq!(steps(1.0 + 1.0 / 512.0), 129);
        // A third has ones in every other place: three of what is left are less than the whole.
        let third = scale(f64::from(1f32 / 3.0), 3, true, AddressMode::Clamp);
        assert!(third < 1.0 && third > 1.0 - 1e-5);
        assert_eq!(scale(f64::NAN, 4, true, AddressMode::Wrap), 0.0);
        assert_eq!(scale(f64::INFINITY, 4, true, AddressMode::Wrap), 0.0);
        let beyond = pair(9.0, 4, AddressMode::Clamp, 0, true);
        assert_eq!((beyond.texels, beyond.weight), ([Some(3); 2], 0));
    }

    fn mixed(channel: Channel, texels: [u32; 2], right: i64) -> u32 {
        let texels = [[texels[0]; 4], [texels[1]; 4], [0; 4], [0; 4]];
        mix(channel, &[Quad { texels, weights: [WHOLE - right, right, 0, 0] }])[0]
    }

    #[test]
    fn floats_are_cut_below_the_largest() {
        let one = 1f32.to_bits();
        // 2^-27 is the last bit kept beside 1; half of the smaller one cannot show, half of a bit goes up.
        assert_eq!(mixed(Channel::F32, [one, 2f32.powi(-28).to_bits()], 128), 0.5f32.to_bits());
        assert_eq!(mixed(Channel::F32, [one, 2f32.powi(-24).to_bits()], 128), 0.5f32.to_bits() + 1);
        assert_eq!(mixed(Channel::F32, [one, f32::INFINITY.to_bits()], 1), f32::INFINITY.to_bits());
        assert_eq!(mixed(Channel::F32, [1, 1], 7), 0);
        assert_eq!(mixed(Channel::F32, [0x8000_0000; 2], 7), 0x8000_0000);
    }

    #[test]
    fn integers_are_mixed_as_sixteen_bits() {
        let fraction = |n: u32, most: u32| (n as f32 / most as f32).to_bits();
        assert_eq!(mixed(Channel::U8, [0, 0xff], 128), fraction(0x8000, 0xffff));
        assert_eq!(mixed(Channel::U16, [0, 3], 128), fraction(2, 0xffff));
        assert_eq!(mixed(Channel::S16, [0x8000; 2], 5), (-1f32).to_bits());
        assert_eq!(mixed(Channel::S8, [0x7f; 2], 5), 1f32.to_bits());
    }
}
