//! Tests of the numeric core against references that share no code with it: neighbour search in the list of all values
//! of a small format, residuals in f64, and literal values.

use super::*;
use std::cmp::Ordering;

mod arith;
mod conversions;
mod functions;
mod observed;

pub(super) const ROUNDS: [Round; 5] = [Round::Rn, Round::Rz, Round::Rm, Round::Rp, Round::Rna];

/// Xorshift: reproducible inputs.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A pattern of f: an edge value, any pattern, or a number within 2^±12 of one.
    pub(super) fn pattern(&mut self, f: Format) -> u64 {
        let bits = self.next();
        match self.below(4) {
            0 => {
                let edges = edges(f);
                edges[self.below(edges.len() as u64) as usize]
            }
            1 => bits & f.mask(),
            _ => {
                let sign_and_mantissa = bits & (f.sign_bit() | (f.min_normal() - 1));
                let exponent = (f.one() >> f.mantissa_bits()) - 12 + self.below(25);
                sign_and_mantissa | exponent << f.mantissa_bits()
            }
        }
    }
}

/// Patterns at which something changes.
pub(super) fn edges(f: Format) -> Vec<u64> {
    let (one, inf, min) = (f.one(), f.infinity(), f.min_normal());
    let mags = [
        0,
        1,
        2,
        3,
        min / 2,
        min - 1,
        min,
        min + 1,
        one - 1,
        one,
        one + 1,
        one + min / 2,
        one + min,
        one + min - 1,
        one + min * f.mantissa_bits() as u64,
        inf - 2,
        inf - 1,
        inf,
        inf + 1,
        inf + min / 2,
        inf + min / 2 + 5,
        f.sign_bit() - 1,
    ];
    mags.iter().flat_map(|&m| [m, m | f.sign_bit()]).collect()
}

/// The largest magnitude pattern whose value is not above the one asked for: `cmp` orders the value of a pattern
/// against it.
fn floor_pattern(f: Format, cmp: impl Fn(u64) -> Ordering) -> u64 {
    let (mut low, mut high) = (0, f.infinity());
    while high - low > 1 {
        let mid = (low + high) / 2;
        if cmp(mid) == Ordering::Greater {
            high = mid;
        } else {
            low = mid;
        }
    }
    low
}

/// Rounds a positive magnitude that is given by comparisons: with the value of a pattern, and with the point half way
/// between a pattern and the next. The pattern of infinity stands for the power of two that follows the largest number.
pub(super) fn reference_round(
    f: Format,
    neg: bool,
    round: Round,
    cmp: impl Fn(u64) -> Ordering,
    cmp_half: impl Fn(u64) -> Ordering,
) -> u64 {
    let low = floor_pattern(f, &cmp);
    let up = match (cmp(low), cmp_half(low), round) {
        (Ordering::Equal, _, _) | (_, _, Round::Rz) => false,
        (_, _, Round::Rm) => neg,
        (_, _, Round::Rp) => !neg,
        (_, Ordering::Less, Round::Rn | Round::Rna) => true,
        (_, Ordering::Greater, Round::Rn | Round::Rna) => false,
        (_, Ordering::Equal, Round::Rn) => low % 2 == 1,
        (_, Ordering::Equal, Round::Rna) => true,
    };
    (low + up as u64) | if neg { f.sign_bit() } else { 0 }
}

/// The value of a finite f16 magnitude in units of 2^-24.
pub(super) fn f16_units(mag: u64) -> i128 {
    let (e, m) = (mag >> 10, (mag & 0x3ff) as i128);
    if e == 0 { m } else { (m + 1024) << (e - 1) }
}

/// The signed value of a finite f16 in units of 2^-24.
pub(super) fn f16_value(a: u64) -> i128 {
    let v = f16_units(a & 0x7fff);
    if a & 0x8000 != 0 { -v } else { v }
}

/// Rounds x, in units of 2^-48, into f16. A zero is +0.
pub(super) fn round_f16(x: i128, round: Round) -> u64 {
    let mag = x.abs();
    reference_round(
        Format::F16,
        x < 0,
        round,
        |p| (f16_units(p) << 24).cmp(&mag),
        |p| ((f16_units(p) + f16_units(p + 1)) << 23).cmp(&mag),
    )
}

/// The value of a pattern as f64, by arithmetic on the fields.
pub(super) fn value(f: Format, a: u64) -> f64 {
    let (exponent_bits, mantissa_bits) = (f.exponent_bits(), f.mantissa_bits());
    let exponent = (a >> mantissa_bits & ((1 << exponent_bits) - 1)) as i32;
    let mantissa = (a & ((1 << mantissa_bits) - 1)) as f64 / 2f64.powi(mantissa_bits as i32);
    let bias = (1 << (exponent_bits - 1)) - 1;
    let mag = if exponent == (1 << exponent_bits) - 1 {
        if mantissa == 0.0 { f64::INFINITY } else { f64::NAN }
    } else if exponent == 0 {
        mantissa * 2f64.powi(1 - bias)
    } else {
        (1.0 + mantissa) * 2f64.powi(exponent - bias)
    };
    if a & f.sign_bit() != 0 { -mag } else { mag }
}

#[test]
fn nothing_panics_and_results_fit() {
    let mut rng = Random::new(1);
    for _ in 0..20_000 {
        let (a, b, c, s) = (rng.next(), rng.next(), rng.next(), rng.next());
        let m = Mode { round: ROUNDS[s as usize % 5], ftz: s & 8 != 0, sat: s & 16 != 0 };
        let mm = MinMax { ftz: s & 8 != 0, nan: s & 32 != 0, xorsign_abs: s & 64 != 0 };
        for f in Format::ALL {
            let check = |r: u64| assert_eq!(r & !f.mask(), 0, "{f:?} {a:x} {b:x} {c:x} {m:?}");
            check(add(f, a, b, m));
            check(sub(f, a, b, m));
            check(mul(f, a, b, m));
            check(div(f, a, b, m));
            check(fma(f, a, b, c, m));
            check(fma_oob(f, a, b, c, m));
            check(sqrt(f, a, m));
            check(rcp(f, a, m));
            check(neg(f, a, m.ftz));
            check(abs(f, a, m.ftz));
            check(copysign(f, a, b));
            check(relu(f, a));
            check(min(f, a, b, mm));
            check(max(f, a, b, mm));
            check(round_to_integral(f, a, m.round, m.ftz, m.sat));
            check(from_int(f, a, (s >> 8) as u32 % 70, s & 128 != 0, m));
            for from in Format::ALL {
                check(convert(from, f, a, m));
                check(convert_satfinite(from, f, a, m.round, mm.nan, mm.xorsign_abs));
            }
            for n in Narrow::ALL {
                check(from_narrow(n, f, a));
                let r = to_narrow(n, f, a, m.round, mm.nan, mm.xorsign_abs);
                assert_eq!(r & !(u64::MAX >> (64 - n.bits())), 0, "{n:?} {f:?} {a:x}");
            }
            let bits = (s >> 16) as u32 % 70;
            assert_eq!(to_int(f, a, bits, s & 1 != 0, m.round, m.ftz) & !(u64::MAX >> (64 - bits.clamp(1, 64))), 0);
            for fun in functions::ALL {
                check(approx(f, fun, a, b, m.ftz));
                error_bound(f, fun).allows(f, f64::from_bits(a), f64::from_bits(b), c);
            }
            compare(f, Cmp::Lt, a, b, m.ftz);
            test(f, TestClass::Normal, a);
        }
        for to in conversions::STOCHASTIC {
            convert_stochastic(to, s as u32, a, b, mm.nan, mm.xorsign_abs);
        }
    }
}
