//! Floating-point ops by way of [`crate::num`].

use super::Flags;
use crate::attr::{self, ApproxDiv, ApproxFn, FloatClass, FloatCmp};
use crate::num::{self, Approx, Cmp, Format, MinMax, Mode, Narrow, Round, StochasticTo, TestClass};
use crate::op::Op;
use crate::types::{Scalar, Type};

#[inline]
pub(super) const fn format(scalar: Scalar) -> Option<Format> {
    match scalar {
        Scalar::F16 => Some(Format::F16),
        Scalar::Bf16 => Some(Format::Bf16),
        Scalar::F32 => Some(Format::F32),
        Scalar::F64 => Some(Format::F64),
        Scalar::B1 | Scalar::I8 | Scalar::I16 | Scalar::I32 | Scalar::I64 | Scalar::I128 => None,
    }
}

const fn round(r: attr::Round) -> Round {
    match r {
        attr::Round::Rn => Round::Rn,
        attr::Round::Rz => Round::Rz,
        attr::Round::Rm => Round::Rm,
        attr::Round::Rp => Round::Rp,
        attr::Round::Rna => Round::Rna,
    }
}

const fn mode(f: &Flags) -> Mode {
    Mode { round: round(f.round), ftz: f.ftz, sat: f.sat }
}

/// One lane of an elementwise op.
#[inline]
pub(super) fn lane(op: Op, t: Format, f: &Flags, a: u64, b: u64, c: u64) -> u64 {
    match op {
        Op::FAdd => num::add(t, a, b, mode(f)),
        Op::FSub => num::sub(t, a, b, mode(f)),
        Op::FMul => num::mul(t, a, b, mode(f)),
        Op::FFma => {
            let fma = if f.oob { num::fma_oob } else { num::fma };
            let value = fma(t, a, b, c, mode(f));
            if f.relu { num::relu(t, value) } else { value }
        }
        Op::FDiv => num::div(t, a, b, mode(f)),
        Op::FRcp => num::rcp(t, a, mode(f)),
        Op::FSqrt => num::sqrt(t, a, mode(f)),
        Op::FNeg => num::neg(t, a, f.ftz),
        Op::FAbs => num::abs(t, a, f.ftz),
        Op::FMin | Op::FMax => min_max(op == Op::FMax, t, f, a, b),
        Op::FCopysign => num::copysign(t, a, b),
        Op::FApprox => num::approx(t, approximate(f.approx), a, 0, f.ftz),
        Op::FDivApprox => {
            let fun = match f.approx_div {
                ApproxDiv::Approx => Approx::Div,
                ApproxDiv::Full => Approx::DivFull,
            };
            num::approx(t, fun, a, b, f.ftz)
        }
        Op::FRound => num::round_to_integral(t, a, round(f.round), f.ftz, f.sat),
        _ => 0,
    }
}

fn min_max(max: bool, t: Format, f: &Flags, a: u64, b: u64) -> u64 {
    let how = MinMax { ftz: f.ftz, nan: f.nan, xorsign_abs: f.xorsign };
    let magnitude = |v| if f.abs && !f.xorsign { num::abs(t, v, false) } else { v };
    let (a, b) = (magnitude(a), magnitude(b));
    if max { num::max(t, a, b, how) } else { num::min(t, a, b, how) }
}

const fn approximate(fun: ApproxFn) -> Approx {
    match fun {
        ApproxFn::Rcp => Approx::Rcp,
        ApproxFn::Rsqrt => Approx::Rsqrt,
        ApproxFn::Sqrt => Approx::Sqrt,
        ApproxFn::Sin => Approx::Sin,
        ApproxFn::Cos => Approx::Cos,
        ApproxFn::Lg2 => Approx::Lg2,
        ApproxFn::Ex2 => Approx::Ex2,
        ApproxFn::Tanh => Approx::Tanh,
    }
}

/// `ftest` and `fcmp`.
#[inline]
pub(super) fn test(op: Op, t: Format, f: &Flags, a: u64, b: u64) -> u64 {
    let holds = if op == Op::FCmp {
        let cmp = match f.float_cmp {
            FloatCmp::Eq => Cmp::Eq,
            FloatCmp::Ne => Cmp::Ne,
            FloatCmp::Lt => Cmp::Lt,
            FloatCmp::Le => Cmp::Le,
            FloatCmp::Gt => Cmp::Gt,
            FloatCmp::Ge => Cmp::Ge,
            FloatCmp::Equ => Cmp::Equ,
            FloatCmp::Neu => Cmp::Neu,
            FloatCmp::Ltu => Cmp::Ltu,
            FloatCmp::Leu => Cmp::Leu,
            FloatCmp::Gtu => Cmp::Gtu,
            FloatCmp::Geu => Cmp::Geu,
            FloatCmp::Num => Cmp::Num,
            FloatCmp::Nan => Cmp::Nan,
        };
        num::compare(t, cmp, a, b, f.ftz)
    } else {
        let class = match f.class {
            FloatClass::Finite => TestClass::Finite,
            FloatClass::Infinite => TestClass::Infinite,
            FloatClass::Number => TestClass::Number,
            FloatClass::NotANumber => TestClass::NotANumber,
            FloatClass::Normal => TestClass::Normal,
            FloatClass::Subnormal => TestClass::Subnormal,
        };
        num::test(t, class, a)
    };
    u64::from(holds)
}

const fn narrow(n: attr::Narrow) -> Narrow {
    match n {
        attr::Narrow::E4m3 => Narrow::E4m3,
        attr::Narrow::E5m2 => Narrow::E5m2,
        attr::Narrow::E2m3 => Narrow::E2m3,
        attr::Narrow::E3m2 => Narrow::E3m2,
        attr::Narrow::E2m1 => Narrow::E2m1,
        attr::Narrow::Ue8m0 => Narrow::Ue8m0,
        attr::Narrow::Tf32 => Narrow::Tf32,
    }
}

/// Conversions with a float on one side at least. The lowest element of a stochastic conversion takes its random bits
/// where the lowest element of the packed PTX form does.
pub(super) fn convert(op: Op, src: Type, ty: Type, f: &Flags, a: u64, random: u64) -> u64 {
    let (from, to) = (format(src.scalar), format(ty.scalar));
    let value = match (op, from, to) {
        (Op::FCvt, Some(from), Some(to)) if f.relu || f.satfinite => {
            let a = if from == Format::F32 { from.flush(a, f.ftz) } else { a };
            let value = num::convert_satfinite(from, to, a, round(f.round), f.satfinite, f.relu);
            if to == Format::F32 { to.flush(value, f.ftz) } else { value }
        }
        (Op::FCvt, Some(from), Some(to)) => num::convert(from, to, a, mode(f)),
        (Op::FToI, Some(from), _) => num::to_int(from, a, ty.bits(), f.signed, round(f.round), f.ftz),
        (Op::IToF, _, Some(to)) => num::from_int(to, a, src.bits(), f.signed, mode(f)),
        (Op::ToNarrow, Some(from), _) => {
            let a = if f.sat { num::convert(from, from, a, Mode::RN.with_sat(true)) } else { a };
            num::to_narrow(narrow(f.narrow), from, a, round(f.round), f.satfinite, f.relu)
        }
        (Op::FromNarrow, _, Some(to)) => num::from_narrow(narrow(f.narrow), to, a),
        (Op::FCvtRs, _, Some(Format::F16)) => stochastic(StochasticTo::F16x2, a, random, f),
        (Op::FCvtRs, _, Some(Format::Bf16)) => stochastic(StochasticTo::Bf16x2, a, random, f),
        (Op::ToNarrowRs, _, _) => {
            let to = match f.narrow {
                attr::Narrow::E4m3 => StochasticTo::E4m3x4,
                attr::Narrow::E5m2 => StochasticTo::E5m2x4,
                attr::Narrow::E2m3 => StochasticTo::E2m3x4,
                attr::Narrow::E3m2 => StochasticTo::E3m2x4,
                attr::Narrow::E2m1 => StochasticTo::E2m1x4,
                attr::Narrow::Ue8m0 | attr::Narrow::Tf32 => return 0,
            };
            return num::convert_stochastic(to, 0, a, random, true, f.relu) & 0xff;
        }
        _ => 0,
    };
    value & ty.mask()
}

fn stochastic(to: StochasticTo, a: u64, random: u64, f: &Flags) -> u64 {
    num::convert_stochastic(to, 0, a, random, f.satfinite, f.relu)
}
