//! The attributes of ops without effects, taken apart once.

use crate::attr::{
    AbsOperands, ApproxDiv, ApproxFn, Direction, FloatClass, FloatCmp, Ftz, Half, IntCmp, Narrow, Oob, Permute,
    PropagateNan, Relu, Round, Sat, SatFinite, Sign, SignB, Wrap, XorSign,
};
use crate::ir::InstData;

/// Every attribute that an op without effects may have; the first variant where it has it not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags {
    /// The first (or every) operand is signed.
    pub signed: bool,
    /// The second operand is signed.
    pub signed_b: bool,
    /// Amounts are taken modulo the width.
    pub wrap: bool,
    /// To the right.
    pub right: bool,
    /// The high half.
    pub high: bool,
    /// Saturated.
    pub sat: bool,
    /// Subnormals are flushed.
    pub ftz: bool,
    /// Negative results become +0.
    pub relu: bool,
    /// Overflow gives the largest finite value.
    pub satfinite: bool,
    /// An out-of-bounds NaN makes the result +0.
    pub oob: bool,
    /// A NaN operand makes the result NaN.
    pub nan: bool,
    /// The result's sign is the exclusive or of the operands'.
    pub xorsign: bool,
    /// Magnitudes are taken first.
    pub abs: bool,
    /// Rounding.
    pub round: Round,
    /// Integer comparison.
    pub int_cmp: IntCmp,
    /// Floating-point comparison.
    pub float_cmp: FloatCmp,
    /// Class tested.
    pub class: FloatClass,
    /// Approximate function.
    pub approx: ApproxFn,
    /// Approximate division.
    pub approx_div: ApproxDiv,
    /// Storage format.
    pub narrow: Narrow,
    /// Byte selection.
    pub permute: Permute,
}

impl Flags {
    /// The attributes of an instruction.
    pub fn of(inst: &InstData) -> Self {
        Self {
            signed: inst.attr::<Sign>() == Sign::S,
            signed_b: inst.attr::<SignB>() == SignB::S,
            wrap: inst.attr::<Wrap>() == Wrap::Wrap,
            right: inst.attr::<Direction>() == Direction::Right,
            high: inst.attr::<Half>() == Half::Hi,
            sat: inst.attr::<Sat>() == Sat::Yes,
            ftz: inst.attr::<Ftz>() == Ftz::Yes,
            relu: inst.attr::<Relu>() == Relu::Yes,
            satfinite: inst.attr::<SatFinite>() == SatFinite::Yes,
            oob: inst.attr::<Oob>() == Oob::Yes,
            nan: inst.attr::<PropagateNan>() == PropagateNan::Yes,
            xorsign: inst.attr::<XorSign>() == XorSign::Yes,
            abs: inst.attr::<AbsOperands>() == AbsOperands::Yes,
            round: inst.attr(),
            int_cmp: inst.attr(),
            float_cmp: inst.attr(),
            class: inst.attr(),
            approx: inst.attr(),
            approx_div: inst.attr(),
            narrow: inst.attr(),
            permute: inst.attr(),
        }
    }
}
