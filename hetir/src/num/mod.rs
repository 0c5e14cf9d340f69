//! What hetIR's floating-point operations mean, as pure functions on bit patterns.
//!
//! Every value is a `u64` that holds the pattern in its low bits; higher bits of an operand are ignored and those of a
//! result are zero. No function panics, whatever the pattern.
//!
//! Rules, in the order in which an operation applies them:
//! 1. `ftz`: a subnormal operand counts as a zero of the same sign. It has an effect on f16 and f32 only; in a
//!    conversion it concerns the f32 side alone.
//! 2. The exact result is formed (`fma` included) and rounded once, in one of the modes of [`Round`], subnormals
//!    supported in every format.
//! 3. `ftz`: the result becomes a zero of the same sign if, rounded with an unlimited exponent range, it is below the
//!    smallest normal number. So a result that rule 2 rounds up to that number may still be flushed.
//! 4. `sat`: the result is clamped to [0, 1]; NaN becomes +0, and so does -0.
//!
//! Overflow gives infinity or the largest finite value, as IEEE 754 says for the rounding mode. An exact zero sum of
//! opposite signs is +0, and -0 in mode `Rm`. Which NaN comes out is decided in one file, `nan.rs`.
//!
//! Approximate functions ([`approx()`]) have one definition, the sequences of [`portable`], so that a kernel gets the same
//! bits wherever it is executed; [`error_bound`] is how far another device may be from the exact value ([`reference()`]).
//!
//! Absent: exception flags, signalling NaNs as a class of their own, fixed-point and decimal formats, and the partial
//! sums of matrix operations, whose order and precision are the business of those operations.

mod approx;
mod arith;
mod convert;
mod nan;
mod narrow;
mod order;
pub mod portable;
mod soft;
#[cfg(test)]
mod tests;

pub use approx::{Approx, Bound, Error, approx, error_bound, reference};
pub use arith::{add, div, fma, fma_oob, mul, rcp, sqrt, sub};
pub use convert::{convert, from_int, round_to_integral, to_int};
pub use nan::canonical_nan;
pub use narrow::{Narrow, StochasticTo, convert_satfinite, convert_stochastic, from_narrow, to_narrow};
pub use order::{Cmp, MinMax, TestClass, abs, compare, copysign, max, min, neg, relu, test};

/// How a result that has no exact representation is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Round {
    /// To nearest, ties to even.
    Rn,
    /// Toward zero.
    Rz,
    /// Toward negative infinity.
    Rm,
    /// Toward positive infinity.
    Rp,
    /// To nearest, ties away from zero.
    Rna,
}

/// A format that arithmetic works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    Bf16,
    /// IEEE binary32.
    F32,
    /// IEEE binary64.
    F64,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::F16, Format::Bf16, Format::F32, Format::F64];

    /// Width of the pattern.
    pub const fn bits(self) -> u32 {
        1 + self.exponent_bits() + self.mantissa_bits()
    }

    /// Width of the exponent field.
    pub const fn exponent_bits(self) -> u32 {
        match self {
            Format::F16 => 5,
            Format::Bf16 | Format::F32 => 8,
            Format::F64 => 11,
        }
    }

    /// Width of the mantissa field, without the implicit bit.
    pub const fn mantissa_bits(self) -> u32 {
        match self {
            Format::F16 => 10,
            Format::Bf16 => 7,
            Format::F32 => 23,
            Format::F64 => 52,
        }
    }

    /// All bits of the pattern.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }

    /// The sign bit.
    pub const fn sign_bit(self) -> u64 {
        1 << (self.bits() - 1)
    }

    /// Positive infinity.
    pub const fn infinity(self) -> u64 {
        (self.sign_bit() - 1) & !self.mantissa_mask()
    }

    /// The largest finite value.
    pub const fn max_finite(self) -> u64 {
        self.infinity() - 1
    }

    /// The smallest positive normal value.
    pub const fn min_normal(self) -> u64 {
        1 << self.mantissa_bits()
    }

    /// One.
    pub const fn one(self) -> u64 {
        ((1 << (self.exponent_bits() - 1)) - 1) << self.mantissa_bits()
    }

    pub(crate) const fn mantissa_mask(self) -> u64 {
        (1 << self.mantissa_bits()) - 1
    }

    /// Whether the pattern is a NaN.
    pub const fn is_nan(self, a: u64) -> bool {
        a & (self.sign_bit() - 1) > self.infinity()
    }

    /// The pattern with a subnormal replaced by a zero of the same sign, where `ftz` has an effect on this format.
    #[inline]
    pub const fn flush(self, a: u64, ftz: bool) -> u64 {
        if ftz && self.has_ftz() && a & self.infinity() == 0 { a & self.sign_bit() } else { a & self.mask() }
    }

    pub(crate) const fn has_ftz(self) -> bool {
        matches!(self, Format::F16 | Format::F32)
    }
}

/// Rounding and range treatment of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mode {
    /// Rounding mode.
    pub round: Round,
    /// Flush subnormal operands and results to zero (f16 and f32).
    pub ftz: bool,
    /// Clamp the result to [0, 1], NaN to +0.
    pub sat: bool,
}

impl Mode {
    /// To nearest even, subnormals kept, no clamp.
    pub const RN: Mode = Mode::new(Round::Rn);

    /// The rounding mode given, subnormals kept, no clamp.
    pub const fn new(round: Round) -> Mode {
        Mode { round, ftz: false, sat: false }
    }

    /// The same in another rounding mode.
    pub const fn with_round(self, round: Round) -> Mode {
        Mode { round, ..self }
    }

    /// The same with `ftz`.
    pub const fn with_ftz(self, ftz: bool) -> Mode {
        Mode { ftz, ..self }
    }

    /// The same with `sat`.
    pub const fn with_sat(self, sat: bool) -> Mode {
        Mode { sat, ..self }
    }
}
