//! Which NaN an operation returns: the one place to correct when hardware says otherwise. As observed on an H200.
//!
//! | operation | f16, bf16 | f32 | f64 |
//! |---|---|---|---|
//! | arithmetic with a NaN operand | 0x7fff | 0x7fffffff | a NaN operand, made quiet; see [`binary`], [`division`], [`fused`] |
//! | invalid operation (inf - inf, 0 * inf, 0 / 0, sqrt(-1) ...) | 0x7fff | 0x7fffffff | 0xfff8000000000000 |
//! | min, max: both operands NaN | 0x7fff | 0x7fffffff | the second operand, made quiet |
//! | min, max with `nan`, relu | 0x7fff | 0x7fffffff | 0x7fffffffffffffff |
//! | neg, abs | 0x7fff | 0x7fffffff | the operand with its sign, made quiet |
//! | rounding to an integral value | 0x7fff | 0x7fffffff | the operand, made quiet |
//! | f64 forms that read upper halves only | | | 0x7fffffff00000000 |
//!
//! Conversions: see [`converted`], [`to_int`] and [`narrow`].

use super::{Format, Narrow};

/// The NaN that operations return where the operand's payload is not kept.
pub const fn canonical_nan(f: Format) -> u64 {
    f.sign_bit() - 1
}

/// NaN of the f64 approximations that read and write upper halves only (PTX manual, rcp.approx.ftz.f64).
pub(super) const UPPER_HALF: u64 = 0x7fff_ffff_0000_0000;

const fn quiet(f: Format, a: u64) -> u64 {
    a & f.mask() | 1 << (f.mantissa_bits() - 1)
}

/// The first NaN in `order`, made quiet, where the format keeps payloads.
#[cold]
fn propagate(f: Format, order: &[u64]) -> u64 {
    match f {
        Format::F16 | Format::Bf16 | Format::F32 => canonical_nan(f),
        Format::F64 => match order.iter().find(|&&a| f.is_nan(a)) {
            Some(&a) => quiet(f, a),
            None => invalid(f),
        },
    }
}

/// sqrt, rcp and functions of a NaN.
pub(super) fn unary(f: Format, a: u64) -> u64 {
    propagate(f, &[a])
}

/// add, sub and mul with a NaN operand: the second operand comes first.
pub(super) fn binary(f: Format, a: u64, b: u64) -> u64 {
    propagate(f, &[b, a])
}

/// div with a NaN operand: the dividend comes first.
pub(super) fn division(f: Format, a: u64, b: u64) -> u64 {
    propagate(f, &[a, b])
}

/// fma with a NaN operand: second factor, addend, first factor.
pub(super) fn fused(f: Format, a: u64, b: u64, c: u64) -> u64 {
    propagate(f, &[b, c, a])
}

/// Result of an operation that has none, on operands that are numbers.
pub(super) fn invalid(f: Format) -> u64 {
    match f {
        Format::F16 | Format::Bf16 | Format::F32 => canonical_nan(f),
        Format::F64 => 0xfff8_0000_0000_0000,
    }
}

/// min and max of two NaNs, without the modifier `nan`.
pub(super) fn min_max(f: Format, a: u64, b: u64) -> u64 {
    propagate(f, &[b, a])
}

/// neg and abs of a NaN: f64 keeps the sign, too.
pub(super) fn sign_changed(f: Format, a: u64) -> u64 {
    propagate(f, &[a])
}

/// Rounding of a NaN to an integral value.
pub(super) fn integral(f: Format, a: u64) -> u64 {
    propagate(f, &[a])
}

/// Conversion of a NaN. f32 and f64 to themselves are plain moves. Sign and the payload's upper bits are kept, and the result made quiet, where f64 is involved;
/// bf16 to f32 appends zeros. Other conversions give the canonical NaN, and with `ftz` an f32 operand counts as it.
pub(super) fn converted(from: Format, to: Format, a: u64, ftz: bool) -> u64 {
    match (from, to) {
        (Format::F32, Format::F32) if !ftz => a & from.mask(),
        (Format::F64, Format::F64) => a,
        (Format::F32, Format::F64) if ftz => resized(from, to, canonical_nan(from)),
        (Format::Bf16, Format::F32) if !ftz => (a & from.mask()) << 16,
        (Format::F64, _) | (_, Format::F64) => quiet(to, resized(from, to, a)),
        (Format::F16 | Format::Bf16 | Format::F32, Format::F16 | Format::Bf16 | Format::F32) => canonical_nan(to),
    }
}

/// Sign and payload, cut or extended at the low end.
fn resized(from: Format, to: Format, a: u64) -> u64 {
    let payload = (a & from.mantissa_mask()) << (52 - from.mantissa_bits()) >> (52 - to.mantissa_bits());
    let sign = if a & from.sign_bit() != 0 { to.sign_bit() } else { 0 };
    sign | to.infinity() | payload
}

/// Conversion of a NaN to an integer of `bits` bits (PTX manual, cvt, integer notes).
pub(super) fn to_int(f: Format, bits: u32) -> u64 {
    if f == Format::F64 || bits == 64 { 1 << (bits - 1) } else { 0 }
}

/// Pattern that a NaN becomes in a storage format.
pub(super) fn narrow(n: Narrow) -> u64 {
    match n {
        Narrow::E4m3 | Narrow::E5m2 => 0x7f,
        // No NaN in these: the largest value, as the manual says for satfinite.
        Narrow::E2m3 | Narrow::E3m2 => 0x1f,
        Narrow::E2m1 => 0x7,
        Narrow::Ue8m0 => 0xff,
        Narrow::Tf32 => 0x7fff_e000,
    }
}

/// A NaN of f32 rounded to tf32 in mode `Rna` has its low bits cut off, which makes a small payload infinity;
/// `satfinite` then takes the place below, as it does for infinity.
pub(super) fn tf32_ties_away(a: u64, satfinite: bool) -> u64 {
    (a & 0xffff_e000) - if satfinite { 0x2000 } else { 0 }
}
