use super::super::arith::{add_exact, div_exact, fma_exact, mul_exact, sqrt_exact};
use super::*;

fn finite_f16(rng: &mut Random) -> u64 {
    loop {
        let a = rng.pattern(Format::F16);
        if a & 0x7c00 != 0x7c00 {
            return a;
        }
    }
}

#[test]
fn f16_sums_and_products_are_exactly_rounded() {
    let mut rng = Random::new(2);
    for _ in 0..150_000 {
        let (a, b, c) = (finite_f16(&mut rng), finite_f16(&mut rng), finite_f16(&mut rng));
        let (x, y, z) = (f16_value(a), f16_value(b), f16_value(c));
        for round in ROUNDS {
            let m = Mode::new(round);
            if x + y != 0 {
                let want = round_f16((x + y) << 24, round);
                assert_eq!(add(Format::F16, a, b, m), want, "{a:x} + {b:x} {round:?}");
                assert_eq!(sub(Format::F16, a, b ^ 0x8000, m), want, "{a:x} - -{b:x} {round:?}");
            }
            if x * y != 0 {
                assert_eq!(mul(Format::F16, a, b, m), round_f16(x * y, round), "{a:x} * {b:x} {round:?}");
            }
            let exact = x * y + (z << 24);
            if exact != 0 {
                assert_eq!(fma(Format::F16, a, b, c, m), round_f16(exact, round), "{a:x} * {b:x} + {c:x} {round:?}");
            }
        }
    }
}

/// Products that end half way between two f16 values, and a third operand far below that decides the rounding.
#[test]
fn f16_fma_does_not_round_twice() {
    let mut rng = Random::new(3);
    for _ in 0..50_000 {
        let a = 0x4000 + rng.below(0x3000);
        let b = 0x3c00 + (1 << rng.below(10));
        let c = (rng.below(5) | rng.below(2) << 15) * 3;
        let exact = f16_value(a) * f16_value(b) + (f16_value(c) << 24);
        for round in ROUNDS {
            let got = fma(Format::F16, a, b, c, Mode::new(round));
            assert_eq!(got, round_f16(exact, round), "{a:x} * {b:x} + {c:x} {round:?}");
        }
    }
}

#[test]
fn f16_quotients_are_exactly_rounded() {
    let mut rng = Random::new(4);
    for _ in 0..60_000 {
        let (a, b) = (finite_f16(&mut rng), finite_f16(&mut rng));
        let (x, y) = (f16_value(a).abs(), f16_value(b).abs());
        if x == 0 || y == 0 {
            continue;
        }
        let neg = (a ^ b) & 0x8000 != 0;
        for round in ROUNDS {
            // p = x / y in units of 2^-24 means p * y = x << 24.
            let want = reference_round(
                Format::F16,
                neg,
                round,
                |p| (f16_units(p) * y).cmp(&(x << 24)),
                |p| ((f16_units(p) + f16_units(p + 1)) * y).cmp(&(x << 25)),
            );
            assert_eq!(div(Format::F16, a, b, Mode::new(round)), want, "{a:x} / {b:x} {round:?}");
        }
    }
}

#[test]
fn f16_roots_and_reciprocals_are_exactly_rounded_everywhere() {
    for a in 1..0x7c00u64 {
        let x = f16_units(a);
        for round in ROUNDS {
            // p^2 = x in units of 2^-24 each means units^2 = x << 24.
            let root = reference_round(
                Format::F16,
                false,
                round,
                |p| f16_units(p).pow(2).cmp(&(x << 24)),
                |p| (f16_units(p) + f16_units(p + 1)).pow(2).cmp(&(x << 26)),
            );
            assert_eq!(sqrt(Format::F16, a, Mode::new(round)), root, "sqrt {a:x} {round:?}");
            let reciprocal = reference_round(
                Format::F16,
                true,
                round,
                |p| (f16_units(p) * x).cmp(&(1 << 48)),
                |p| ((f16_units(p) + f16_units(p + 1)) * x).cmp(&(1 << 49)),
            );
            assert_eq!(rcp(Format::F16, a | 0x8000, Mode::new(round)), reciprocal, "1 / -{a:x} {round:?}");
        }
    }
}

/// Checks a directed or nearest rounding of `approx + err` (err below half a unit of f64) to f32.
fn check_f32(got: u64, approx: f64, err: f64, round: Round, what: &str) {
    let g = f32::from_bits(got as u32);
    // Sign of exact - v.
    let side = |v: f64| {
        let d = approx - v;
        if d != 0.0 { d.partial_cmp(&0.0).unwrap() } else { err.partial_cmp(&0.0).unwrap() }
    };
    if g.is_infinite() || g.abs() == f32::MAX {
        return;
    }
    let (below, above) = (g.next_down() as f64, g.next_up() as f64);
    let v = g as f64;
    let ok = match round {
        Round::Rm => side(v) != Ordering::Less && side(above) == Ordering::Less,
        Round::Rp => side(v) != Ordering::Greater && side(below) == Ordering::Greater,
        Round::Rz if approx > 0.0 => side(v) != Ordering::Less && side(above) == Ordering::Less,
        Round::Rz => side(v) != Ordering::Greater && side(below) == Ordering::Greater,
        Round::Rn | Round::Rna => {
            side((below + v) / 2.0) != Ordering::Less && side((v + above) / 2.0) != Ordering::Greater
        }
    };
    assert!(ok, "{what}: {got:x} for {approx:e} + {err:e} in {round:?}");
}

fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let t = s - a;
    (s, (a - (s - t)) + (b - t))
}

#[test]
fn f32_in_every_mode_brackets_the_exact_value() {
    let mut rng = Random::new(5);
    for _ in 0..100_000 {
        let [a, b, c] = [0; 3].map(|_| rng.pattern(Format::F32));
        let [x, y, z] = [a, b, c].map(|v| f32::from_bits(v as u32) as f64);
        if !(x.is_finite() && y.is_finite() && z.is_finite()) {
            continue;
        }
        for round in ROUNDS {
            let m = Mode::new(round);
            let (s, e) = two_sum(x, y);
            if s != 0.0 {
                check_f32(add(Format::F32, a, b, m), s, e, round, "add");
            }
            if x * y != 0.0 {
                check_f32(mul(Format::F32, a, b, m), x * y, 0.0, round, "mul");
            }
            let (s, e) = two_sum(x * y, z);
            if s != 0.0 {
                check_f32(fma(Format::F32, a, b, c, m), s, e, round, "fma");
            }
            if x != 0.0 && y != 0.0 {
                let q = x / y;
                // The residual is exact; its sign, over that of y, is that of the error.
                let e = (-q).mul_add(y, x) / y;
                check_f32(div(Format::F32, a, b, m), q, e, round, "div");
            }
            if x > 0.0 {
                let r = x.sqrt();
                check_f32(sqrt(Format::F32, a, m), r, (-r).mul_add(r, x), round, "sqrt");
            }
        }
    }
}

#[test]
fn f64_directed_modes_are_neighbours_of_the_nearest() {
    let mut rng = Random::new(6);
    for _ in 0..100_000 {
        // Exponents within 2^±12 of one: every residual is exact.
        let [a, b] = [0; 2].map(|_| rng.next() & 0x800f_ffff_ffff_ffff | (1011 + rng.below(25)) << 52);
        let (x, y) = (f64::from_bits(a), f64::from_bits(b));
        let check = |op: &dyn Fn(Mode) -> u64, nearest: f64, err: f64, what: &str| {
            let down = if err < 0.0 { nearest.next_down() } else { nearest };
            let up = if err > 0.0 { nearest.next_up() } else { nearest };
            let zero = if nearest > 0.0 { down } else { up };
            for (round, want) in [(Round::Rn, nearest), (Round::Rm, down), (Round::Rp, up), (Round::Rz, zero)] {
                assert_eq!(op(Mode::new(round)), want.to_bits(), "{what} {a:x} {b:x} {round:?}");
            }
        };
        let (s, e) = two_sum(x, y);
        if s != 0.0 {
            check(&|m| add(Format::F64, a, b, m), s, e, "add");
            check(&|m| sub(Format::F64, a, b ^ 1 << 63, m), s, e, "sub");
        }
        check(&|m| mul(Format::F64, a, b, m), x * y, x.mul_add(y, -(x * y)), "mul");
        let q = x / y;
        check(&|m| div(Format::F64, a, b, m), q, (-q).mul_add(y, x) / y, "div");
        let q = 1.0 / y;
        check(&|m| rcp(Format::F64, b, m), q, (-q).mul_add(y, 1.0) / y, "rcp");
        let r = x.abs().sqrt();
        check(&|m| sqrt(Format::F64, a & !(1 << 63), m), r, (-r).mul_add(r, x.abs()), "sqrt");
    }
}

/// n * 2^-exp rounded to 53 bits, by division of integers.
fn round_i128(n: i128, round: Round) -> f64 {
    let mag = n.unsigned_abs();
    let mut unit: u128 = 1;
    while mag / unit >= 1 << 53 {
        unit *= 2;
    }
    let (q, r) = (mag / unit, mag % unit);
    let up = r != 0
        && match round {
            Round::Rn => 2 * r > unit || 2 * r == unit && q % 2 == 1,
            Round::Rna => 2 * r >= unit,
            Round::Rz => false,
            Round::Rm => n < 0,
            Round::Rp => n > 0,
        };
    let v = (q + up as u128) as f64 * unit as f64;
    if n < 0 { -v } else { v }
}

#[test]
fn f64_fma_is_exactly_rounded() {
    let mut rng = Random::new(7);
    for i in 0..100_000 {
        let mut int = |bits: u64| {
            let bits = 1 + rng.below(bits);
            let n = (rng.next() >> (64 - bits)) as i128;
            if rng.below(2) == 0 { -n } else { n }
        };
        let (x, y) = (int(53), int(53));
        let product: i128 = x * y;
        // Half of the addends cancel most of the product.
        let (z, shift) = if i % 2 == 0 {
            (int(53), i % 60)
        } else {
            let shift = (75 - product.unsigned_abs().leading_zeros() as i32).max(0);
            ((int(2) - (product >> shift)).clamp(-(1 << 53), 1 << 53), shift)
        };
        let exact = product + (z << shift);
        let [a, b] = [x, y].map(|v| (v as f64).to_bits());
        let c = (z as f64 * 2f64.powi(shift)).to_bits();
        for round in ROUNDS {
            if exact != 0 {
                let got = fma(Format::F64, a, b, c, Mode::new(round));
                assert_eq!(got, round_i128(exact, round).to_bits(), "{x} * {y} + {z} << {shift} {round:?}");
            }
        }
    }
}

#[test]
fn native_and_exact_routes_agree() {
    let mut rng = Random::new(8);
    for i in 0..150_000u32 {
        let m = Mode { round: Round::Rn, ftz: i & 1 != 0, sat: i & 2 != 0 };
        for f in Format::ALL {
            let [a, b, c] = [0; 3].map(|_| rng.pattern(f));
            // A quarter of the products lie next to the smallest normal number.
            let b = if i % 4 == 0 { (f.one() + f.min_normal()).wrapping_sub(a).wrapping_add(rng.below(5)) } else { b };
            let b = b & f.mask();
            assert_eq!(add(f, a, b, m), add_exact(f, a, b, m), "{f:?} {a:x} + {b:x} {m:?}");
            assert_eq!(mul(f, a, b, m), mul_exact(f, a, b, m), "{f:?} {a:x} * {b:x} {m:?}");
            assert_eq!(div(f, a, b, m), div_exact(f, a, b, m), "{f:?} {a:x} / {b:x} {m:?}");
            assert_eq!(sqrt(f, a, m), sqrt_exact(f, a, m), "{f:?} sqrt {a:x} {m:?}");
            assert_eq!(fma(f, a, b, c, m), fma_exact(f, a, b, c, m), "{f:?} {a:x} * {b:x} + {c:x} {m:?}");
        }
    }
}

#[test]
fn special_operands() {
    let m = Mode::RN;
    for f in Format::ALL {
        let (inf, one, sign) = (f.infinity(), f.one(), f.sign_bit());
        let invalid = match f {
            Format::F16 | Format::Bf16 => 0x7fff,
            Format::F32 => 0x7fff_ffff,
            Format::F64 => 0xfff8_0000_0000_0000,
        };
        assert_eq!(add(f, inf, inf | sign, m), invalid);
        assert_eq!(sub(f, inf, inf, m), invalid);
        assert_eq!(mul(f, inf, sign, m), invalid);
        assert_eq!(div(f, 0, 0, m), invalid);
        assert_eq!(div(f, inf, inf, m), invalid);
        assert_eq!(sqrt(f, one | sign, m), invalid);
        assert_eq!(fma(f, inf, 0, one, m), invalid);
        assert_eq!(fma(f, inf, one, inf | sign, m), invalid);
        assert_eq!(sqrt(f, sign, m), sign);
        assert_eq!(sqrt(f, sign | inf, m), invalid);
        assert_eq!(rcp(f, sign, m), inf | sign);
        assert_eq!(rcp(f, sign | inf, m), sign);
        assert_eq!(div(f, one, sign, m), inf | sign);
        assert_eq!(add(f, inf, one, m), inf);
        for round in ROUNDS {
            let m = Mode::new(round);
            let zero = if round == Round::Rm { sign } else { 0 };
            assert_eq!(sub(f, one, one, m), zero);
            assert_eq!(add(f, 0, sign, m), zero);
            assert_eq!(add(f, sign, sign, m), sign);
            assert_eq!(fma(f, one, one, one | sign, m), zero);
            assert_eq!(fma(f, one, sign, 0, m), zero);
            let overflow = mul(f, f.max_finite(), f.max_finite() | sign, m);
            let finite = round == Round::Rz || round == Round::Rp;
            assert_eq!(overflow, sign | if finite { f.max_finite() } else { inf });
            let underflow = mul(f, 1, 1, m);
            assert_eq!(underflow, (round == Round::Rp) as u64);
        }
    }
}

#[test]
fn nan_operands() {
    let m = Mode::RN;
    for f in [Format::F16, Format::Bf16, Format::F32] {
        let canonical = canonical_nan(f);
        let other = f.infinity() | f.sign_bit() | 5;
        assert_eq!(add(f, other, f.one(), m), canonical);
        assert_eq!(fma(f, f.one(), f.one(), other, m), canonical);
        assert_eq!(neg(f, other, false), canonical);
        assert_eq!(abs(f, other, false), canonical);
    }
    let f = Format::F64;
    let (p, q, r) = (0x7ff0_0000_0000_0001, 0xfff0_0000_0000_0002, 0x7ff8_0000_0000_0003);
    let quiet = 0x0008_0000_0000_0000;
    assert_eq!(add(f, p, q, m), q | quiet);
    assert_eq!(add(f, p, f.one(), m), p | quiet);
    assert_eq!(mul(f, r, p, m), p | quiet);
    assert_eq!(div(f, p, q, m), p | quiet);
    assert_eq!(fma(f, p, q, r, m), q | quiet);
    assert_eq!(fma(f, p, f.one(), r, m), r);
    assert_eq!(sqrt(f, q, m), q | quiet);
    assert_eq!(neg(f, q, false), q | quiet);
    assert_eq!(abs(f, q, false), q | quiet);
}

#[test]
fn saturation() {
    for f in Format::ALL {
        let m = Mode::RN.with_sat(true);
        let (one, sign) = (f.one(), f.sign_bit());
        assert_eq!(add(f, one, one, m), one);
        assert_eq!(add(f, one | sign, 0, m), 0);
        assert_eq!(add(f, sign, sign, m), 0);
        assert_eq!(add(f, f.infinity(), f.infinity() | sign, m), 0);
        assert_eq!(mul(f, one - 1, one, m), one - 1);
        assert_eq!(add(f, f.infinity(), one, m), one);
    }
}

/// 2^-126 less a little: what is flushed is the result rounded to 24 bits without regard to the exponent.
#[test]
fn flushing_looks_at_the_result_rounded_with_an_unlimited_exponent() {
    let f = Format::F32;
    let ftz = Mode::RN.with_ftz(true);
    // (1 - 2^-24) * 2^-126 has 24 bits: below the smallest normal number, though it rounds to that one as a subnormal.
    assert_eq!(mul(f, 0x3eff_ffff, 0x0100_0000, Mode::RN), 0x0080_0000);
    assert_eq!(mul(f, 0x3eff_ffff, 0x0100_0000, ftz), 0);
    // (1 + 2^-23) * (1 - 2^-23) * 2^-126 = (1 - 2^-46) * 2^-126 rounds to 2^-126 in 24 bits.
    assert_eq!(mul(f, 0x3e80_0001, 0x017f_fffe, ftz), 0x0080_0000);
    // Toward zero it does not.
    assert_eq!(mul(f, 0x3e80_0001, 0x017f_fffe, ftz.with_round(Round::Rz)), 0);
    // Operands: -2^-149 counts as -0.
    assert_eq!(add(f, 0x8000_0001, 0x8000_0001, ftz), 0x8000_0000);
    assert_eq!(add(f, 0x8000_0001, 0x3f80_0000, ftz.with_round(Round::Rm)), 0x3f80_0000);
    assert_eq!(fma(f, 0x0000_0001, 0x7f00_0000, 0, ftz), 0);
    // f16 follows the same rule: (1 - 2^-11) * 2^-14; bf16 and f64 have no flush.
    assert_eq!(mul(Format::F16, 0x3bff, 0x0400, Mode::RN), 0x0400);
    assert_eq!(mul(Format::F16, 0x3bff, 0x0400, ftz), 0);
    assert_eq!(add(Format::Bf16, 1, 1, ftz), 2);
    assert_eq!(add(Format::F64, 1, 1, ftz), 2);
}

#[test]
fn out_of_bounds_operands_give_zero() {
    for f in [Format::F16, Format::Bf16] {
        assert_eq!(fma_oob(f, f.one(), 0xfff7, f.one(), Mode::RN), 0);
        assert_eq!(fma_oob(f, 0xfff7, 0x7fff, 0x7fff, Mode::RN), 0);
        assert_eq!(fma_oob(f, 0x7ff7, f.one(), f.one(), Mode::RN), 0);
        assert_eq!(fma_oob(f, f.one(), f.one(), 0xfff7, Mode::RN), 0x7fff);
        assert_eq!(fma_oob(f, f.one(), f.one(), 0, Mode::RN), f.one());
    }
}
