//! Approximate functions of all formats, and how far the PTX manual lets them be from the exact value.

use super::portable::{self, Numbers};
use super::{Format, Mode, convert, nan};

/// An approximate function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Approx {
    /// 1 / a (f32; f64 as the form that reads and writes upper halves only).
    Rcp,
    /// 1 / sqrt(a) (f32, f64).
    Rsqrt,
    /// sqrt(a) (f32).
    Sqrt,
    /// sin(a) (f32).
    Sin,
    /// cos(a) (f32).
    Cos,
    /// log2(a) (f32).
    Lg2,
    /// 2^a (f32, f16, bf16).
    Ex2,
    /// tanh(a) (f32, f16, bf16).
    Tanh,
    /// a / b as a * (1 / b) (f32).
    Div,
    /// a / b over the full range (f32).
    DivFull,
}

/// How far a result may be from the exact value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Error {
    /// Units in the last place of the exact value.
    Ulp(f64),
    /// Relative to the exact value.
    Relative(f64),
    /// Absolute.
    Absolute(f64),
}

/// The accuracy of one function: pieces of the domain of |a| (of |b| for divisions), ends inclusive. Outside of all
/// pieces there is no bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// (low, high, error).
    pub pieces: &'static [(f64, f64, Error)],
}

impl Bound {
    /// Whether `got`, a number or infinity of format `f`, is near enough to `exact` (see [`reference()`]) where the
    /// argument that decides is `at`. A NaN never is. An operation with `ftz` is to be asked about its flushed operands,
    /// and about results whose exact value is in the normal range.
    pub fn allows(self, f: Format, at: f64, exact: f64, got: u64) -> bool {
        let got = to_f64(f, got);
        if got.is_nan() {
            return false;
        }
        self.pieces.iter().filter(|p| (p.0..=p.1).contains(&at.abs())).all(|p| {
            let limit = match p.2 {
                Error::Ulp(n) => n * ulp(f, exact),
                Error::Relative(e) => e * exact.abs() + rounding(f, exact),
                Error::Absolute(e) => e + rounding(f, exact),
            };
            got == exact || (got - exact).abs() <= limit
        })
    }
}

/// What rounding to the format may add to a relative or absolute error: half a unit, and a whole one below the normal
/// range, where devices cut off.
fn rounding(f: Format, x: f64) -> f64 {
    let min_normal = to_f64(f, f.min_normal());
    if x.abs() < min_normal { ulp(f, x) } else { ulp(f, x) / 2.0 }
}

/// One unit in the last place of the number of format `f` nearest to x.
fn ulp(f: Format, x: f64) -> f64 {
    let field = (convert(Format::F64, f, x.abs().to_bits(), Mode::RN) & f.infinity()).max(f.min_normal());
    let bias = (f.one() >> f.mantissa_bits()) as i32;
    let e = (field >> f.mantissa_bits()) as i32 - bias - f.mantissa_bits() as i32;
    2f64.powi(e)
}

/// The PTX manual's error bound of a function, widened where hardware exceeds it.
pub fn error_bound(f: Format, fun: Approx) -> Bound {
    const ALL: f64 = f64::INFINITY;
    const TWO_PI: f64 = 2.0 * std::f64::consts::PI;
    const HUNDRED_PI: f64 = 100.0 * std::f64::consts::PI;
    const P7: f64 = 1.0 / 128.0;
    const P8: f64 = 1.0 / 256.0;
    const P9_9: f64 = 0.001_046_653_772_008_098_5;
    const P10_987: f64 = 0.000_492_700_993_088_223_3;
    const P11: f64 = 1.0 / 2048.0;
    const P14_7: f64 = 3.757_154_581_741_079_6e-5;
    const P19: f64 = 1.0 / 524_288.0;
    const P20: f64 = 1.0 / 1_048_576.0;
    const P22: f64 = 1.0 / 4_194_304.0;
    const P22_9: f64 = 1.277_653_530_283_325e-7;
    const P23: f64 = 1.0 / 8_388_608.0;
    const P126: f64 = 8.507_059_173_023_462e37;
    let pieces: &'static [(f64, f64, Error)] = match (f, fun) {
        (Format::F32, Approx::Rcp) => &[(0.0, ALL, Error::Ulp(1.0))],
        (Format::F32, Approx::Sqrt) => &[(0.0, ALL, Error::Relative(P23))],
        (Format::F32, Approx::Rsqrt) => &[(0.0, ALL, Error::Relative(P22_9))],
        // The manual says 2^-20.5; an H200 exceeds that by 3 % at cos(4.78).
        (Format::F32, Approx::Sin | Approx::Cos) => {
            &[(0.0, TWO_PI, Error::Absolute(P20)), (TWO_PI, HUNDRED_PI, Error::Absolute(P14_7))]
        }
        (Format::F32, Approx::Lg2) => &[
            (0.0, 0.5, Error::Relative(P22)),
            (0.500_000_01, 1.999_999_9, Error::Absolute(P22)),
            (2.0, ALL, Error::Relative(P22)),
        ],
        (Format::F32, Approx::Ex2) => &[(0.0, ALL, Error::Ulp(2.0))],
        (Format::F32, Approx::Tanh) => &[(0.0, ALL, Error::Relative(P11))],
        (Format::F32, Approx::Div) => &[(1.0 / P126, P126, Error::Ulp(2.0))],
        (Format::F32, Approx::DivFull) => &[(0.0, ALL, Error::Ulp(2.0))],
        (Format::F16, Approx::Ex2) => &[(0.0, ALL, Error::Relative(P9_9))],
        (Format::Bf16, Approx::Ex2) => &[(0.0, ALL, Error::Relative(P7))],
        (Format::F16, Approx::Tanh) => &[(0.0, ALL, Error::Absolute(P10_987))],
        (Format::Bf16, Approx::Tanh) => &[(0.0, ALL, Error::Absolute(P8))],
        // The manual gives none: 20 mantissa bits, the last of them one off at most as observed on an H200.
        (Format::F64, Approx::Rcp | Approx::Rsqrt) => &[(0.0, ALL, Error::Relative(P19))],
        (Format::F16 | Format::Bf16 | Format::F64, _) => &[],
    };
    Bound { pieces }
}

/// The value of a pattern.
fn to_f64(f: Format, a: u64) -> f64 {
    f64::from_bits(convert(f, Format::F64, a, Mode::RN))
}

/// The function in f64, before it is rounded to a format; NaN where it has no value.
pub fn reference(fun: Approx, a: f64, b: f64) -> f64 {
    match fun {
        Approx::Rcp => 1.0 / a,
        Approx::Rsqrt if a == 0.0 => f64::INFINITY.copysign(a),
        Approx::Rsqrt => 1.0 / a.sqrt(),
        Approx::Sqrt => a.sqrt(),
        Approx::Sin => a.sin(),
        Approx::Cos => a.cos(),
        Approx::Lg2 => a.log2(),
        Approx::Ex2 => a.exp2(),
        Approx::Tanh => a.tanh(),
        Approx::Div | Approx::DivFull => a / b,
    }
}

/// An approximate function of a (and b for divisions). `ftz` flushes subnormal operands and results of f32 and bf16,
/// and makes the f64 forms read only the upper 32 bits of a and write zero into the lower 32 bits of the result. f16 and
/// bf16 go by way of f32.
pub fn approx(f: Format, fun: Approx, a: u64, b: u64, ftz: bool) -> u64 {
    if f == Format::F64 {
        return approx_f64(fun, a, b, ftz);
    }
    let single = |x: u64| f32::from_bits(convert(f, Format::F32, x, Mode::RN) as u32);
    let ftz = ftz && f != Format::F16;
    let r = portable::evaluate(&Numbers, fun, single(a), single(b), ftz);
    if r.is_nan() { nan::invalid(f) } else { convert(Format::F32, f, u64::from(r.to_bits()), Mode::RN) }
}

fn approx_f64(fun: Approx, a: u64, b: u64, ftz: bool) -> u64 {
    const UPPER: u64 = 0xffff_ffff_0000_0000;
    let f = Format::F64;
    let flush = |x: u64| if x & f.infinity() == 0 { x & f.sign_bit() } else { x };
    if ftz {
        // An operand whose NaN payload lies in the lower half counts as infinity.
        let a = flush(a & UPPER);
        let r = reference(fun, f64::from_bits(a), f64::from_bits(b));
        if r.is_nan() {
            return nan::UPPER_HALF;
        }
        // 20 mantissa bits remain, cut off, as observed on an H200.
        return flush(r.to_bits() & UPPER);
    }
    if f.is_nan(a) {
        return nan::unary(f, a);
    }
    let r = reference(fun, f64::from_bits(a), f64::from_bits(b));
    if r.is_nan() { nan::invalid(f) } else { r.to_bits() }
}
