//! The approximate functions of f32 as sequences of exactly rounded operations, so that whoever executes them, on
//! numbers or on vectors, gets the same bits.
//!
//! Which NaN comes out is open; operands and results may be any numbers. Coefficients are minimax fits, rounded to f32.

use super::Approx;
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI, LN_2, LOG2_E};

/// What executes the operations: on f32 and 32-bit words, rounded to nearest, subnormals supported.
pub trait Arithmetic {
    /// An f32.
    type Float: Copy;
    /// Its bits, or an integer.
    type Word: Copy;
    /// The outcome of a comparison.
    type Test: Copy;

    /// A constant.
    fn float(&self, value: f32) -> Self::Float;
    /// A constant.
    fn word(&self, value: u32) -> Self::Word;
    /// The bits of a float.
    fn bits(&self, a: Self::Float) -> Self::Word;
    /// The float of these bits.
    fn float_of_bits(&self, a: Self::Word) -> Self::Float;
    /// The float nearest to a signed integer.
    fn float_of_signed(&self, a: Self::Word) -> Self::Float;
    /// a + b.
    fn add(&self, a: Self::Float, b: Self::Float) -> Self::Float;
    /// a - b.
    fn sub(&self, a: Self::Float, b: Self::Float) -> Self::Float;
    /// a * b.
    fn mul(&self, a: Self::Float, b: Self::Float) -> Self::Float;
    /// a / b.
    fn div(&self, a: Self::Float, b: Self::Float) -> Self::Float;
    /// The square root.
    fn sqrt(&self, a: Self::Float) -> Self::Float;
    /// a * b + c, rounded once.
    fn fma(&self, a: Self::Float, b: Self::Float, c: Self::Float) -> Self::Float;
    /// a + b, modulo 2^32.
    fn plus(&self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// a - b, modulo 2^32.
    fn minus(&self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// The bits that both have.
    fn and(&self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// The bits that one of both has.
    fn xor(&self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// Shifted left by n < 32.
    fn shift_left(&self, a: Self::Word, n: u32) -> Self::Word;
    /// Shifted right by n < 32, with copies of the sign.
    fn shift_right(&self, a: Self::Word, n: u32) -> Self::Word;
    /// Whether a < b; not of NaNs.
    fn less(&self, a: Self::Float, b: Self::Float) -> Self::Test;
    /// Whether a < b, as unsigned integers.
    fn below(&self, a: Self::Word, b: Self::Word) -> Self::Test;
    /// Whether no bit is set.
    fn is_zero(&self, a: Self::Word) -> Self::Test;
    /// One of two floats.
    fn pick(&self, test: Self::Test, yes: Self::Float, no: Self::Float) -> Self::Float;

    /// a * 2^n, rounded once, where 1/2 < |a| < 2 or a is a NaN, and n is an integer from -160 to 160. `word` is the
    /// same n; of a NaN, anything.
    fn scale(&self, a: Self::Float, n: Self::Float, word: Self::Word) -> Self::Float;
}

/// [`Arithmetic::scale`] by two products, the first of which is exact.
pub fn scale_by_products<A: Arithmetic>(m: &A, a: A::Float, n: A::Word) -> A::Float {
    let half = m.shift_right(n, 1);
    let rest = m.minus(n, half);
    let power = |n| m.float_of_bits(m.shift_left(m.plus(n, m.word(127)), 23));
    m.mul(m.mul(a, power(half)), power(rest))
}

/// 2^23 + 2^22: a sum with it ends at the units, and its low bits count them.
const UNITS: f32 = 12_582_912.0;

/// pi / 2 in two parts. The first is below it, so that both are positive.
const HALF_PI: f32 = f32::from_bits(0x3fc9_0fda);
const HALF_PI_REST: f32 = f32::from_bits(0x33a2_2169);

const MAGNITUDE: u32 = 0x7fff_ffff;
const SIGN: u32 = 0x8000_0000;

/// 2^f for |f| <= 1/2, by powers of f from the highest; within 1.3e-8.
const EXP2: [f32; 7] = [0.000_133_345_18, 0.001_338_792_7, 0.009_625_441, 0.055_503_663, 0.240_225_94, LN_2, 1.0];
/// log2(1 + f) / f for sqrt(1/2) - 1 <= f <= sqrt(2) - 1, by powers of f; within 3.3e-8.
const LOG2: [f32; 9] = [
    0.122_642_25,
    -0.205_212_43,
    0.215_933_3,
    -0.239_264_3,
    0.287_934_27,
    -0.360_689_34,
    0.480_909_23,
    -0.721_347_5,
    LOG2_E,
];
/// (sin(r) / r - 1) / r^2 by powers of r^2, for |r| <= pi / 4.
const SIN: [f32; 3] = [-0.000_195_183_92, 0.008_332_19, -0.166_666_55];
/// (cos(r) - 1) / r^2 by powers of r^2, for |r| <= pi / 4.
const COS: [f32; 3] = [-0.001_359_592_9, 0.041_656_16, -0.499_998_93];
/// (tanh(x) / x - 1) / x^2 by powers of x^2, for |x| <= 0.6.
const TANH: [f32; 4] = [0.015_640_88, -0.052_231_4, 0.133_135_27, -0.333_326_22];

/// A polynomial with coefficients from the highest.
fn polynomial<A: Arithmetic>(m: &A, x: A::Float, coefficients: &[f32]) -> A::Float {
    let mut rest = coefficients.iter().map(|c| m.float(*c));
    let first = rest.next().unwrap_or_else(|| m.float(0.0));
    rest.fold(first, |sum, c| m.fma(sum, x, c))
}

/// Subnormals become zeros of the same sign.
pub fn flush<A: Arithmetic>(m: &A, a: A::Float) -> A::Float {
    let bits = m.bits(a);
    let subnormal = m.is_zero(m.and(bits, m.word(0x7f80_0000)));
    m.pick(subnormal, m.float_of_bits(m.and(bits, m.word(SIGN))), a)
}

/// An approximate function of a (and b for divisions); `ftz` flushes subnormal operands and results.
pub fn evaluate<A: Arithmetic>(m: &A, fun: Approx, a: A::Float, b: A::Float, ftz: bool) -> A::Float {
    // Of subnormals and zeros these are 1.
    let flat = matches!(fun, Approx::Cos | Approx::Ex2);
    let a = if ftz && !flat { flush(m, a) } else { a };
    // Results of the others are subnormal where the operand is, or never.
    let flushed = |r| if ftz { flush(m, r) } else { r };
    match fun {
        Approx::Rcp => flushed(m.div(m.float(1.0), a)),
        Approx::Rsqrt => m.div(m.float(1.0), m.sqrt(a)),
        Approx::Sqrt => m.sqrt(a),
        Approx::Sin => sin(m, a, 0),
        Approx::Cos => sin(m, a, 1),
        Approx::Lg2 => lg2(m, a, ftz),
        Approx::Ex2 => flushed(ex2(m, a)),
        Approx::Tanh => tanh(m, a),
        Approx::Div => flushed(divide(m, a, if ftz { flush(m, b) } else { b })),
        Approx::DivFull => flushed(m.div(a, if ftz { flush(m, b) } else { b })),
    }
}

/// 1 / b is below the normal range, and counts as zero, where 2^126 < |b| < infinity (PTX manual, div.approx).
fn divide<A: Arithmetic>(m: &A, a: A::Float, b: A::Float) -> A::Float {
    let bits = m.bits(b);
    let first = 0x7e80_0001;
    let above = m.minus(m.and(bits, m.word(MAGNITUDE)), m.word(first));
    let tiny = m.below(above, m.word(0x7f80_0000 - first));
    let zero = m.float_of_bits(m.and(bits, m.word(SIGN)));
    m.pick(tiny, m.mul(a, zero), m.div(a, b))
}

fn ex2<A: Arithmetic>(m: &A, x: A::Float) -> A::Float {
    // Beyond these, results are infinite and zero.
    let (low, high) = (m.float(-152.0), m.float(130.0));
    let x = m.pick(m.less(high, x), high, x);
    let x = m.pick(m.less(x, low), low, x);
    let shifted = m.add(x, m.float(UNITS));
    let n = m.sub(shifted, m.float(UNITS));
    let power = polynomial(m, m.sub(x, n), &EXP2);
    m.scale(power, n, m.minus(m.bits(shifted), m.word(UNITS.to_bits())))
}

fn lg2<A: Arithmetic>(m: &A, x: A::Float, ftz: bool) -> A::Float {
    // 2^24 x, where x is subnormal.
    let subnormal = m.less(x, m.float(f32::MIN_POSITIVE));
    let (normal, offset) = if ftz {
        (x, m.float(0.0))
    } else {
        let normal = m.pick(subnormal, m.mul(x, m.float(16_777_216.0)), x);
        (normal, m.pick(subnormal, m.float(-24.0), m.float(0.0)))
    };
    // 2^n (1 + f), with 1 + f from sqrt(1/2) to sqrt(2).
    let bits = m.bits(normal);
    let n = m.shift_right(m.minus(bits, m.word(FRAC_1_SQRT_2.to_bits())), 23);
    let f = m.sub(m.float_of_bits(m.minus(bits, m.shift_left(n, 23))), m.float(1.0));
    let n = m.float_of_signed(n);
    let n = if ftz { n } else { m.add(n, offset) };
    let r = m.fma(f, polynomial(m, f, &LOG2), n);
    // Else zero, negative, infinite or a NaN.
    let ordinary = m.below(m.minus(m.bits(x), m.word(1)), m.word(0x7f80_0000 - 1));
    let negative = m.pick(m.less(x, m.float(0.0)), m.float(f32::NAN), x);
    let zero = m.is_zero(m.and(m.bits(x), m.word(MAGNITUDE)));
    m.pick(ordinary, r, m.pick(zero, m.float(f32::NEG_INFINITY), negative))
}

/// sin(x + quarter pi / 2). Right up to about 10^5; a number from -1 to 1 beyond.
fn sin<A: Arithmetic>(m: &A, x: A::Float, quarter: u32) -> A::Float {
    // x = n pi / 2 + r. With n = 0, -0 remains -0, since both products are -0, too.
    let shifted = m.fma(x, m.float(FRAC_2_PI), m.float(UNITS));
    let n = m.sub(shifted, m.float(UNITS));
    let r = m.fma(n, m.float(-HALF_PI), x);
    let r = m.fma(n, m.float(-HALF_PI_REST), r);
    let (low, high) = (m.float(-1.0), m.float(1.0));
    let r = m.pick(m.less(high, r), high, r);
    let r = m.pick(m.less(r, low), low, r);
    let square = m.mul(r, r);
    let sine = m.mul(r, m.fma(square, polynomial(m, square, &SIN), m.float(1.0)));
    let cosine = m.fma(square, polynomial(m, square, &COS), m.float(1.0));
    let turns = m.plus(m.bits(shifted), m.word(quarter));
    let even = m.is_zero(m.and(turns, m.word(1)));
    let sign = m.shift_left(m.and(turns, m.word(2)), 30);
    m.float_of_bits(m.xor(m.bits(m.pick(even, sine, cosine)), sign))
}

fn tanh<A: Arithmetic>(m: &A, x: A::Float) -> A::Float {
    let bits = m.bits(x);
    let magnitude = m.float_of_bits(m.and(bits, m.word(MAGNITUDE)));
    let square = m.mul(x, x);
    let near = m.mul(x, m.fma(square, polynomial(m, square, &TANH), m.float(1.0)));
    // 1 - 2 / (e^2|x| + 1), with x's sign.
    let power = ex2(m, m.mul(magnitude, m.float(2.0 * LOG2_E)));
    let far = m.sub(m.float(1.0), m.div(m.float(2.0), m.add(power, m.float(1.0))));
    let far = m.float_of_bits(m.xor(m.bits(far), m.and(bits, m.word(SIGN))));
    m.pick(m.less(magnitude, m.float(0.6)), near, far)
}

/// One number at a time, by the processor.
pub(super) struct Numbers;

impl Arithmetic for Numbers {
    type Float = f32;
    type Word = u32;
    type Test = bool;

    fn float(&self, value: f32) -> f32 {
        value
    }
    fn word(&self, value: u32) -> u32 {
        value
    }
    fn bits(&self, a: f32) -> u32 {
        a.to_bits()
    }
    fn float_of_bits(&self, a: u32) -> f32 {
        f32::from_bits(a)
    }
    fn float_of_signed(&self, a: u32) -> f32 {
        a as i32 as f32
    }
    fn add(&self, a: f32, b: f32) -> f32 {
        a + b
    }
    fn sub(&self, a: f32, b: f32) -> f32 {
        a - b
    }
    fn mul(&self, a: f32, b: f32) -> f32 {
        a * b
    }
    fn div(&self, a: f32, b: f32) -> f32 {
        a / b
    }
    fn sqrt(&self, a: f32) -> f32 {
        a.sqrt()
    }
    fn fma(&self, a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
    fn plus(&self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    fn minus(&self, a: u32, b: u32) -> u32 {
        a.wrapping_sub(b)
    }
    fn and(&self, a: u32, b: u32) -> u32 {
        a & b
    }
    fn xor(&self, a: u32, b: u32) -> u32 {
        a ^ b
    }
    fn shift_left(&self, a: u32, n: u32) -> u32 {
        a << n
    }
    fn shift_right(&self, a: u32, n: u32) -> u32 {
        (a as i32 >> n) as u32
    }
    fn less(&self, a: f32, b: f32) -> bool {
        a < b
    }
    fn below(&self, a: u32, b: u32) -> bool {
        a < b
    }
    fn is_zero(&self, a: u32) -> bool {
        a == 0
    }
    fn pick(&self, test: bool, yes: f32, no: f32) -> f32 {
        if test { yes } else { no }
    }
    fn scale(&self, a: f32, _: f32, word: u32) -> f32 {
        scale_by_products(self, a, word)
    }
}
