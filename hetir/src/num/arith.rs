//! add, sub, mul, div, fma, sqrt, rcp.

use super::soft::{Finite, Layout, Value, finish, narrow_nearest, pack, shift_right_jam, unpack, widen};
use super::{Format, Mode, Round, nan};

/// The native route of an operation to nearest even. f32 and f64 use Rust's arithmetic, which is correctly rounded. f16
/// and bf16 use that of f64: its 53 bits are more than twice theirs and two, so that rounding twice does no harm, but for
/// fma, whose f64 form is given apart. A NaN result, and one that ftz may concern, is left to the exact route.
macro_rules! native {
    ($f:ident, $m:ident, [$($x:ident),+], |$($y:ident),+| $e:expr) => {
        native!($f, $m, [$($x),+], |$($y),+| $e, $e)
    };
    ($f:ident, $m:ident, [$($x:ident),+], |$($y:ident),+| $e:expr, $half:expr) => {
        if $m.round == Round::Rn {
            match $f {
                Format::F32 => {
                    $(let $y = f32::from_bits($f.flush($x, $m.ftz) as u32);)+
                    let r: f32 = $e;
                    if !(r.is_nan() || $m.ftz && r.abs() == f32::MIN_POSITIVE) {
                        return finish($f, r.to_bits() as u64, $m);
                    }
                }
                Format::F64 => {
                    $(let $y = f64::from_bits($x);)+
                    let r: f64 = $e;
                    if !r.is_nan() {
                        return finish($f, r.to_bits(), $m);
                    }
                }
                Format::F16 | Format::Bf16 => {
                    $(let $y = widen($f, $f.flush($x, $m.ftz));)+
                    let r: f64 = $half;
                    if !(r.is_nan() || $m.ftz && narrow_nearest($f, r.abs()) == $f.min_normal()) {
                        return finish($f, narrow_nearest($f, r), $m);
                    }
                }
            }
        }
    };
}

/// a + b.
#[inline]
pub fn add(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    native!(f, m, [a, b], |x, y| x + y);
    add_exact(f, a, b, m)
}

/// a - b.
#[inline]
pub fn sub(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    native!(f, m, [a, b], |x, y| x - y);
    if f.is_nan(b) { finish(f, nan::binary(f, a, b), m) } else { add_exact(f, a, b ^ f.sign_bit(), m) }
}

/// a * b.
#[inline]
pub fn mul(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    native!(f, m, [a, b], |x, y| x * y);
    mul_exact(f, a, b, m)
}

/// a / b.
#[inline]
pub fn div(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    native!(f, m, [a, b], |x, y| x / y);
    div_exact(f, a, b, m)
}

/// a * b + c, rounded once.
#[inline]
pub fn fma(f: Format, a: u64, b: u64, c: u64, m: Mode) -> u64 {
    native!(f, m, [a, b, c], |x, y, z| x.mul_add(y, z), add_to_odd(x * y, z));
    fma_exact(f, a, b, c, m)
}

/// fma, but +0 if a or b is the pattern 0x7ff7 with either sign, the NaN that stands for an element out of bounds (f16
/// and bf16).
pub fn fma_oob(f: Format, a: u64, b: u64, c: u64, m: Mode) -> u64 {
    let is_outside = |x: u64| x & 0x7fff == 0x7ff7;
    if f.bits() == 16 && (is_outside(a) || is_outside(b)) { 0 } else { fma(f, a, b, c, m) }
}

/// The square root of a; the root of -0 is -0.
#[inline]
pub fn sqrt(f: Format, a: u64, m: Mode) -> u64 {
    native!(f, m, [a], |x| x.sqrt());
    sqrt_exact(f, a, m)
}

/// 1 / a.
#[inline]
pub fn rcp(f: Format, a: u64, m: Mode) -> u64 {
    if f.is_nan(a) { finish(f, nan::unary(f, a), m) } else { div(f, f.one(), a, m) }
}

/// x + y rounded to odd: an inexact sum has its last bit set, so that another rounding, to 51 bits or less, is right.
#[inline]
fn add_to_odd(x: f64, y: f64) -> f64 {
    let sum = x + y;
    if !sum.is_finite() {
        return sum;
    }
    // The error of a sum is exact in f64.
    let t = sum - x;
    let err = (x - (sum - t)) + (y - t);
    let bits = sum.to_bits();
    if err == 0.0 || bits & 1 == 1 {
        sum
    } else if (err > 0.0) == (sum > 0.0) {
        f64::from_bits(bits + 1)
    } else {
        f64::from_bits(bits - 1)
    }
}

fn invalid(f: Format, m: Mode) -> u64 {
    finish(f, nan::invalid(f), m)
}

fn signed(f: Format, neg: bool, mag: u64, m: Mode) -> u64 {
    finish(f, mag | if neg { f.sign_bit() } else { 0 }, m)
}

fn load(f: Format, a: u64, m: Mode) -> Value {
    unpack(Layout::of(f), f.flush(a, m.ftz))
}

/// Sign of an exact zero sum of two numbers with these signs.
fn zero_sum_sign(a: bool, b: bool, round: Round) -> bool {
    if a == b { a } else { round == Round::Rm }
}

/// An exact number whose significand may be a product.
#[derive(Clone, Copy)]
struct Wide {
    neg: bool,
    sig: u128,
    exp: i32,
}

impl From<Finite> for Wide {
    fn from(x: Finite) -> Wide {
        Wide { neg: x.neg, sig: x.sig as u128, exp: x.exp }
    }
}

/// Rounds x + y, both not zero and of at most 106 significant bits.
fn sum(f: Format, x: Wide, y: Wide, m: Mode) -> u64 {
    // Both significands get their top bit to bit 125: the sum fits, and at least 19 zero bits below make a jammed
    // shift harmless, since cancellation of more than one bit needs exponents that differ by one at most.
    let norm = |v: Wide| {
        let up = v.sig.leading_zeros() as i32 - 2;
        Wide { sig: v.sig << up, exp: v.exp - up, ..v }
    };
    let (x, y) = (norm(x), norm(y));
    let (hi, lo) = if (x.exp, x.sig) >= (y.exp, y.sig) { (x, y) } else { (y, x) };
    let lo_sig = shift_right_jam(lo.sig, (hi.exp - lo.exp) as u32);
    if hi.neg == lo.neg {
        pack(f, hi.neg, hi.sig + lo_sig, hi.exp, m)
    } else if hi.sig == lo_sig {
        signed(f, m.round == Round::Rm, 0, m)
    } else {
        pack(f, hi.neg, hi.sig - lo_sig, hi.exp, m)
    }
}

pub(super) fn add_exact(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    match (load(f, a, m), load(f, b, m)) {
        (Value::Nan, _) | (_, Value::Nan) => finish(f, nan::binary(f, a, b), m),
        (Value::Inf(s), Value::Inf(t)) if s != t => invalid(f, m),
        (Value::Inf(s), _) | (_, Value::Inf(s)) => signed(f, s, f.infinity(), m),
        (Value::Zero(s), Value::Zero(t)) => signed(f, zero_sum_sign(s, t, m.round), 0, m),
        (Value::Finite(_), Value::Zero(_)) => finish(f, a & f.mask(), m),
        (Value::Zero(_), Value::Finite(_)) => finish(f, b & f.mask(), m),
        (Value::Finite(x), Value::Finite(y)) => sum(f, x.into(), y.into(), m),
    }
}

pub(super) fn mul_exact(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    match (load(f, a, m), load(f, b, m)) {
        (Value::Nan, _) | (_, Value::Nan) => finish(f, nan::binary(f, a, b), m),
        (Value::Inf(_), Value::Zero(_)) | (Value::Zero(_), Value::Inf(_)) => invalid(f, m),
        (Value::Inf(s), Value::Inf(t))
        | (Value::Inf(s), Value::Finite(Finite { neg: t, .. }))
        | (Value::Finite(Finite { neg: t, .. }), Value::Inf(s)) => signed(f, s != t, f.infinity(), m),
        (Value::Zero(s), Value::Zero(t))
        | (Value::Zero(s), Value::Finite(Finite { neg: t, .. }))
        | (Value::Finite(Finite { neg: t, .. }), Value::Zero(s)) => signed(f, s != t, 0, m),
        (Value::Finite(x), Value::Finite(y)) => {
            pack(f, x.neg != y.neg, x.sig as u128 * y.sig as u128, x.exp + y.exp, m)
        }
    }
}

pub(super) fn div_exact(f: Format, a: u64, b: u64, m: Mode) -> u64 {
    match (load(f, a, m), load(f, b, m)) {
        (Value::Nan, _) | (_, Value::Nan) => finish(f, nan::division(f, a, b), m),
        (Value::Inf(_), Value::Inf(_)) | (Value::Zero(_), Value::Zero(_)) => invalid(f, m),
        (Value::Inf(s), Value::Zero(t) | Value::Finite(Finite { neg: t, .. }))
        | (Value::Finite(Finite { neg: s, .. }), Value::Zero(t)) => signed(f, s != t, f.infinity(), m),
        (Value::Zero(s), Value::Inf(t) | Value::Finite(Finite { neg: t, .. }))
        | (Value::Finite(Finite { neg: s, .. }), Value::Inf(t)) => signed(f, s != t, 0, m),
        (Value::Finite(x), Value::Finite(y)) => {
            // The dividend's top bit at 127 against a divisor of at most 53 bits: 75 quotient bits or more.
            let up = (x.sig as u128).leading_zeros();
            let n = (x.sig as u128) << up;
            let d = y.sig as u128;
            let q = n / d;
            pack(f, x.neg != y.neg, q | (q * d != n) as u128, x.exp - up as i32 - y.exp, m)
        }
    }
}

pub(super) fn fma_exact(f: Format, a: u64, b: u64, c: u64, m: Mode) -> u64 {
    let (x, y, z) = (load(f, a, m), load(f, b, m), load(f, c, m));
    let neg = |v: Value| match v {
        Value::Nan => false,
        Value::Inf(s) | Value::Zero(s) => s,
        Value::Finite(v) => v.neg,
    };
    let product_neg = neg(x) != neg(y);
    match (x, y, z) {
        (Value::Nan, _, _) | (_, Value::Nan, _) | (_, _, Value::Nan) => finish(f, nan::fused(f, a, b, c), m),
        (Value::Inf(_), Value::Zero(_), _) | (Value::Zero(_), Value::Inf(_), _) => invalid(f, m),
        (Value::Inf(_), _, Value::Inf(s)) | (_, Value::Inf(_), Value::Inf(s)) if s != product_neg => invalid(f, m),
        (Value::Inf(_), _, _) | (_, Value::Inf(_), _) => signed(f, product_neg, f.infinity(), m),
        (_, _, Value::Inf(s)) => signed(f, s, f.infinity(), m),
        (Value::Zero(_), _, Value::Zero(s)) | (_, Value::Zero(_), Value::Zero(s)) => {
            signed(f, zero_sum_sign(product_neg, s, m.round), 0, m)
        }
        (Value::Zero(_), _, Value::Finite(_)) | (_, Value::Zero(_), Value::Finite(_)) => finish(f, c & f.mask(), m),
        (Value::Finite(x), Value::Finite(y), z) => {
            let p = Wide { neg: product_neg, sig: x.sig as u128 * y.sig as u128, exp: x.exp + y.exp };
            match z {
                Value::Finite(z) => sum(f, p, z.into(), m),
                Value::Nan | Value::Inf(_) | Value::Zero(_) => pack(f, p.neg, p.sig, p.exp, m),
            }
        }
    }
}

pub(super) fn sqrt_exact(f: Format, a: u64, m: Mode) -> u64 {
    match load(f, a, m) {
        Value::Nan => finish(f, nan::unary(f, a), m),
        Value::Zero(s) => signed(f, s, 0, m),
        Value::Inf(false) => signed(f, false, f.infinity(), m),
        Value::Inf(true) | Value::Finite(Finite { neg: true, .. }) => invalid(f, m),
        Value::Finite(x) => {
            // An even exponent and 126 bits or more: 63 root bits.
            let mut up = (x.sig as u128).leading_zeros() as i32;
            if (x.exp - up) % 2 != 0 {
                up -= 1;
            }
            let n = (x.sig as u128) << up;
            let root = n.isqrt();
            pack(f, false, root | (root * root != n) as u128, (x.exp - up) / 2, m)
        }
    }
}
