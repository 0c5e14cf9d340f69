//! How the products of one element of D are summed.
//!
//! Integers are summed exactly; the result is cut to 32 bits, or clamped with `sat`. f64 is a chain of fused operations
//! in the order of k, beginning with c. For the other formats the meaning is what NVIDIA's Hopper does:
//!
//! 1. Products are exact, and subnormal operands count.
//! 2. The exponent of a product is the sum of its operands' exponents, whatever the product of the significands; that
//!    of a subnormal is the smallest one of its format. Zero has none.
//! 3. All products and c are cut towards zero at [`FRACTION`] binary places below the largest of these exponents, and
//!    then summed exactly.
//! 4. The sum is rounded towards zero into f32, or to nearest even into f16. Overflow gives infinity. A sum of zero is
//!    +0, and so is an f32 that is cut to zero.
//! 5. NaN, infinity times zero and infinities of both signs give the canonical NaN.
//!
//! Ampere and Ada keep one place less and sum half as many products at once.
//!
//! What the machine has no unit for is made of others, and so are these:
//!
//! | product | meaning |
//! |---|---|
//! | tf32 of shape m16n16k8 | k = 0 to 3 with c, then 4 to 7 with that sum |
//! | fp8 | operands become f16; k with k % 4 < 2 with 0, then the others with that sum, then an IEEE sum with c |
//! | fp8, short sums | as above, all 32 products and c together, but cut at [`SHORT_FRACTION`] places; a result in f32 keeps as many |
//! | D of f16, C of f32 | the f32 result, converted |
//! | D of f32, C of f16 | c is converted first |
//! | m8n8k4, D of f32 | c + (a3 b3 + (a2 b2 + (a1 b1 + (a0 b0 + 0)))), each step fused and rounded to f32, then the sum with c |
//! | m8n8k4, D of f16 | ((c + (a1 b1 + a0 b0)) + (a3 b3 + a2 b2)) in f32, both inner sums fused, then converted |

use crate::attr::{Element, MatrixRound};
use crate::num::{self, Format, Mode, Narrow, Round};

/// Binary places that summands keep below the largest exponent among them.
pub const FRACTION: i32 = 25;
/// The same for short sums: a warp group's products of fp8, as others have measured them on an H100.
pub const SHORT_FRACTION: i32 = 13;
/// The bits of an f32 that short sums have not.
const SHORT_CUT: u64 = (1 << (23 - SHORT_FRACTION)) - 1;

/// A factor or summand taken apart: `(-1)^neg * sig * 2^exp`.
#[derive(Clone, Copy, Debug)]
enum Number {
    Nan,
    Inf { neg: bool },
    Finite { neg: bool, sig: u64, exp: i32, top: i32 },
}

impl Number {
    fn of(format: Format, bits: u64) -> Self {
        let (exponent, mantissa) = (format.exponent_bits(), format.mantissa_bits());
        let neg = bits >> (exponent + mantissa) & 1 == 1;
        let field = (bits >> mantissa) as i32 & ((1 << exponent) - 1);
        let fraction = bits & ((1 << mantissa) - 1);
        match (field == (1 << exponent) - 1, fraction) {
            (true, 0) => Self::Inf { neg },
            (true, _) => Self::Nan,
            (false, _) => {
                let hidden = if field == 0 { 0 } else { 1 << mantissa };
                let top = field.max(1) - ((1 << (exponent - 1)) - 1);
                Self::Finite { neg, sig: fraction | hidden, exp: top - mantissa as i32, top }
            }
        }
    }
    fn of_short(element: Element, bits: u64) -> Self {
        match (element, Self::of(Format::F16, half(element, bits))) {
            // What is subnormal there is normal as f16.
            (Element::E4m3, Self::Finite { neg, sig, exp, top }) => Self::Finite { neg, sig, exp, top: top.max(-6) },
            (_, number) => number,
        }
    }
    fn times(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nan, _) | (_, Self::Nan) => Self::Nan,
            (Self::Inf { neg: a }, Self::Inf { neg: b }) => Self::Inf { neg: a != b },
            (Self::Inf { neg: a }, Self::Finite { neg: b, sig, .. })
            | (Self::Finite { neg: b, sig, .. }, Self::Inf { neg: a }) => {
                if sig == 0 {
                    Self::Nan
                } else {
                    Self::Inf { neg: a != b }
                }
            }
            (Self::Finite { neg: a, sig: s, exp: e, top: t }, Self::Finite { neg: b, sig: z, exp: f, top: u }) => {
                Self::Finite { neg: a != b, sig: s * z, exp: e + f, top: t + u }
            }
        }
    }
    /// The number in units of `2^ulp`, cut towards zero.
    fn units(self, ulp: i32) -> i64 {
        let Self::Finite { neg, sig, exp, .. } = self else { return 0 };
        let size =
            if exp >= ulp { sig << (exp - ulp).min(63) } else { sig.checked_shr((ulp - exp) as u32).unwrap_or(0) };
        if neg { -(size as i64) } else { size as i64 }
    }
}

/// The sum of products and c as the matrix unit forms it, in one step.
fn at_once(factors: Format, products: &[(u64, u64)], c: u64, d: Format) -> u64 {
    let product = |&(a, b): &(u64, u64)| Number::of(factors, a).times(Number::of(factors, b));
    let mut terms: Vec<Number> = products.iter().map(product).collect();
    terms.push(Number::of(d, c));
    together(&terms, d, FRACTION)
}

/// The sum of terms, cut at so many places below the largest exponent.
fn together(terms: &[Number], d: Format, fraction: i32) -> u64 {
    let mut infinite = [false; 2];
    let mut top = i32::MIN;
    for term in terms {
        match *term {
            Number::Nan => return num::canonical_nan(d),
            Number::Inf { neg } => infinite[usize::from(neg)] = true,
            Number::Finite { sig: 0, .. } => {}
            Number::Finite { top: t, .. } => top = top.max(t),
        }
    }
    match (infinite, top) {
        ([true, true], _) => return num::canonical_nan(d),
        ([true, false], _) => return d.infinity(),
        ([false, true], _) => return d.infinity() | d.sign_bit(),
        (_, i32::MIN) => return 0,
        _ => {}
    }
    let ulp = top - fraction;
    // At most 33 summands of less than 4 * 2^25 units: exact in i64 and in f64, where the scale is a normal number.
    let sum: i64 = terms.iter().map(|t| t.units(ulp)).sum();
    let exact = sum as f64 * f64::from_bits(((1023 + ulp) as u64) << 52);
    if d == Format::F16 {
        return num::convert(Format::F64, d, exact.to_bits(), Mode::RN);
    }
    if exact.abs() >= 2f64.powi(128) {
        return d.infinity() | if exact < 0.0 { d.sign_bit() } else { 0 };
    }
    // What is cut to nothing has no sign left.
    match num::convert(Format::F64, d, exact.to_bits(), Mode::new(Round::Rz)) {
        cut if cut & !d.sign_bit() == 0 => 0,
        cut => cut,
    }
}

/// An element of fp8 as f16.
fn half(element: Element, bits: u64) -> u64 {
    let narrow = if element == Element::E4m3 { Narrow::E4m3 } else { Narrow::E5m2 };
    num::from_narrow(narrow, Format::F16, bits)
}

/// The sum of products of fp8 and c, of few places.
fn short(factors: [Element; 2], products: &[(u64, u64)], c: u64, d: Format) -> u64 {
    let [a, b] = factors;
    let product = |&(x, y): &(u64, u64)| Number::of_short(a, x).times(Number::of_short(b, y));
    let mut terms: Vec<Number> = products.iter().map(product).collect();
    terms.push(Number::of(d, c));
    let sum = together(&terms, d, SHORT_FRACTION);
    if d != Format::F32 || d.is_nan(sum) {
        return sum;
    }
    match sum & !SHORT_CUT {
        cut if cut & !d.sign_bit() == 0 => 0,
        cut => cut,
    }
}

/// Which of the lanes' products are summed by themselves, see the table above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// All together.
    Together,
    /// Four after four.
    Fours,
    /// All together, with fewer places.
    Short,
    /// One after the other, in scalar operations.
    Scalar,
}

/// One element of D of floats other than f64.
pub(super) fn float(order: Order, [d, a, b, c]: [Element; 4], products: &[(u64, u64)], start: u64) -> u64 {
    let format = |e| if e == Element::F16 { Format::F16 } else { Format::F32 };
    let convert = |from, to, bits| num::convert(format(from), format(to), bits, Mode::RN);
    if order == Order::Scalar {
        return scalar(format(d), products, convert(c, Element::F32, start));
    }
    let widest = if c == Element::F32 || d == Element::F32 { Element::F32 } else { Element::F16 };
    let unit = format(widest);
    let start = convert(c, widest, start);
    // The unit does not see the low bits of tf32.
    let tf32 = |&(x, y): &(u64, u64)| (x & !0x1fff, y & !0x1fff);
    let result = match a {
        Element::E4m3 | Element::E5m2 if order == Order::Short => short([a, b], products, start, unit),
        Element::E4m3 | Element::E5m2 => {
            let part = |upper: bool| -> Vec<(u64, u64)> {
                let those = products.iter().enumerate().filter(|(k, _)| (k % 4 >= 2) == upper);
                those.map(|(_, &(x, y))| (half(a, x), half(b, y))).collect()
            };
            let lower = at_once(Format::F16, &part(false), 0, unit);
            let both = at_once(Format::F16, &part(true), lower, unit);
            num::add(unit, start, both, Mode::RN)
        }
        Element::Tf32 => {
            let products: Vec<_> = products.iter().map(tf32).collect();
            let size = if order == Order::Fours { 4 } else { products.len() };
            products.chunks(size).fold(start, |sum, part| at_once(Format::F32, part, sum, unit))
        }
        Element::Bf16 => at_once(Format::Bf16, products, start, unit),
        _ => at_once(Format::F16, products, start, unit),
    };
    convert(widest, d, result)
}

/// Shape m8n8k4; operands are f16, `c` is f32.
fn scalar(d: Format, products: &[(u64, u64)], c: u64) -> u64 {
    const F32: Format = Format::F32;
    let wide = |&(a, b): &(u64, u64)| {
        (num::convert(Format::F16, F32, a, Mode::RN), num::convert(Format::F16, F32, b, Mode::RN))
    };
    let mut wide = products.iter().map(wide);
    if d == F32 {
        let sum = wide.fold(0, |sum, (a, b)| num::fma(F32, a, b, sum, Mode::RN));
        return num::add(F32, c, sum, Mode::RN);
    }
    let mut pair = || {
        let mut sum = 0;
        for (n, (a, b)) in wide.by_ref().take(2).enumerate() {
            sum = if n == 0 { num::mul(F32, a, b, Mode::RN) } else { num::fma(F32, a, b, sum, Mode::RN) };
        }
        sum
    };
    let first = num::add(F32, c, pair(), Mode::RN);
    let sum = num::add(F32, first, pair(), Mode::RN);
    num::convert(F32, d, sum, Mode::RN)
}

/// One element of D of f64.
pub(super) fn double(round: MatrixRound, products: &[(u64, u64)], c: u64) -> u64 {
    let round = match round {
        MatrixRound::Rn => Round::Rn,
        MatrixRound::Rz => Round::Rz,
        MatrixRound::Rm => Round::Rm,
        MatrixRound::Rp => Round::Rp,
    };
    products.iter().fold(c, |sum, &(a, b)| num::fma(Format::F64, a, b, sum, Mode::new(round)))
}
