//! Which NaN an operation returns: the one place to correct when hardware says otherwise.
//!
//! | operation | f16, bf16 | f32 | f64 |
//! |---|---|---|---|
//! | arithmetic with a NaN operand | 0x7fff | 0x7fffffff | the first NaN operand, made quiet |
//! | invalid operation (inf - inf, 0 * inf, 0 / 0, sqrt(-1) ...) | 0x7fff | 0x7fffffff | 0xfff8000000000000 |
//! | min, max: both operands NaN, or any with `nan` | 0x7fff | 0x7fffffff | 0x7fffffffffffffff |
//! | relu | 0x7fff | 0x7fffffff | 0x7fffffffffffffff |
//! | neg, abs | sign bit changed | sign bit changed | sign bit changed |
//! | conversion between formats | canonical NaN of the destination, except f32 to f64 | | |
//! | f32 to f64 | | | sign and payload kept, made quiet |
//! | rounding to an integral value | 0x7fff | 0x7fffffff | the operand, made quiet |

use super::{Format, Narrow};

/// The NaN that operations return where the operand's payload is not kept.
pub const fn canonical_nan(f: Format) -> u64 {
    f.sign_bit() - 1
}

const fn quiet(f: Format, a: u64) -> u64 {
    a & f.mask() | 1 << (f.mantissa_bits() - 1)
}

/// Result of arithmetic of which one of the operands is a NaN.
pub(super) fn propagate(f: Format, operands: &[u64]) -> u64 {
    match f {
        Format::F16 | Format::Bf16 | Format::F32 => canonical_nan(f),
        Format::F64 => match operands.iter().find(|&&a| f.is_nan(a)) {
            Some(&a) => quiet(f, a),
            None => invalid(f),
        },
    }
}

/// Result of an operation that has none, on operands that are numbers.
pub(super) fn invalid(f: Format) -> u64 {
    match f {
        Format::F16 | Format::Bf16 | Format::F32 => canonical_nan(f),
        Format::F64 => 0xfff8_0000_0000_0000,
    }
}

/// Result of a conversion of the NaN `a`.
pub(super) fn converted(from: Format, to: Format, a: u64) -> u64 {
    if from == Format::F32 && to == Format::F64 {
        let sign = (a & from.sign_bit()) << 32;
        let payload = (a & from.mantissa_mask()) << (to.mantissa_bits() - from.mantissa_bits());
        quiet(to, sign | to.infinity() | payload)
    } else {
        canonical_nan(to)
    }
}

/// Result of min and max where it is a NaN.
pub(super) fn min_max(f: Format) -> u64 {
    canonical_nan(f)
}

/// Result of rounding the NaN `a` to an integral value.
pub(super) fn integral(f: Format, a: u64) -> u64 {
    match f {
        Format::F16 | Format::Bf16 | Format::F32 => canonical_nan(f),
        Format::F64 => quiet(f, a),
    }
}

/// Result of a conversion of a NaN to an integer of `bits` bits (PTX manual, cvt, integer notes).
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
