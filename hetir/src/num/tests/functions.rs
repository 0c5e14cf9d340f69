use super::*;

pub(super) const ALL: [Approx; 10] = [
    Approx::Rcp,
    Approx::Rsqrt,
    Approx::Sqrt,
    Approx::Sin,
    Approx::Cos,
    Approx::Lg2,
    Approx::Ex2,
    Approx::Tanh,
    Approx::Div,
    Approx::DivFull,
];

const NAN: u64 = 0x7fff_ffff;
const INF: u64 = 0x7f80_0000;
const MINUS: u64 = 0x8000_0000;
const ONE: u64 = 0x3f80_0000;

fn f32_of(fun: Approx, a: u64, ftz: bool) -> u64 {
    approx(Format::F32, fun, a, 0, ftz)
}

#[test]
fn approximate_functions_at_special_values() {
    // -inf, -0, +0, +inf: the manual's tables.
    let tables = [
        (Approx::Rcp, [MINUS, MINUS | INF, INF, 0]),
        (Approx::Rsqrt, [NAN, MINUS | INF, INF, 0]),
        (Approx::Sqrt, [NAN, MINUS, 0, INF]),
        (Approx::Sin, [NAN, MINUS, 0, NAN]),
        (Approx::Cos, [NAN, ONE, ONE, NAN]),
        (Approx::Lg2, [NAN, MINUS | INF, MINUS | INF, INF]),
        (Approx::Ex2, [0, ONE, ONE, INF]),
        (Approx::Tanh, [MINUS | ONE, MINUS, 0, ONE]),
    ];
    for (fun, want) in tables {
        for ftz in [false, true] {
            let got = [MINUS | INF, MINUS, 0, INF].map(|a| f32_of(fun, a, ftz));
            assert_eq!(got, want, "{fun:?} ftz {ftz}");
            assert_eq!(f32_of(fun, 0xffc0_1234, ftz), NAN, "{fun:?}");
        }
    }
    for fun in [Approx::Rsqrt, Approx::Sqrt, Approx::Lg2] {
        assert_eq!(f32_of(fun, 0xbf80_0000, false), NAN, "{fun:?}");
        assert_eq!(f32_of(fun, 0x8000_0001, false), NAN, "{fun:?}");
    }
    for (f, one) in [(Format::F16, 0x3c00), (Format::Bf16, 0x3f80)] {
        let (inf, sign) = (f.infinity(), 0x8000);
        let at = |fun| [inf | sign, sign, 0, inf].map(|a| approx(f, fun, a, 0, f == Format::Bf16));
        assert_eq!(at(Approx::Ex2), [0, one, one, inf]);
        assert_eq!(at(Approx::Tanh), [one | sign, sign, 0, one]);
    }
}

#[test]
fn approximate_functions_and_subnormals() {
    assert_eq!(f32_of(Approx::Rcp, 0x0040_0000, false), 0x7f00_0000);
    assert_eq!(f32_of(Approx::Rcp, 0x0040_0000, true), INF);
    assert_eq!(f32_of(Approx::Rcp, 0x7f00_0000, false), 0x0040_0000);
    assert_eq!(f32_of(Approx::Rcp, 0xff00_0000, true), MINUS);
    assert_eq!(f32_of(Approx::Sqrt, 0x0000_0002, false), 0x1a80_0000);
    assert_eq!(f32_of(Approx::Sqrt, 0x0000_0002, true), 0);
    assert_eq!(f32_of(Approx::Lg2, 0x0000_0001, false), 0xc315_0000);
    assert_eq!(f32_of(Approx::Lg2, 0x0000_0001, true), MINUS | INF);
    assert_eq!(f32_of(Approx::Ex2, 0xc300_0000, false), 0x0020_0000);
    assert_eq!(f32_of(Approx::Ex2, 0xc300_0000, true), 0);
    assert_eq!(f32_of(Approx::Sin, 0x8000_0003, false), 0x8000_0003);
    assert_eq!(f32_of(Approx::Tanh, 0x0000_0003, false), 0x0000_0003);
    // bf16 has a flush here, and here alone: 2^-127.
    assert_eq!(approx(Format::Bf16, Approx::Ex2, 0xc2fe, 0, true), 0);
    assert_eq!(approx(Format::F16, Approx::Ex2, 0xcc00, 0, false), 0x0100);
}

#[test]
fn approximate_division() {
    let div = |fun, a, b, ftz| approx(Format::F32, fun, a, b, ftz);
    // Divisors above 2^126 count as infinite, and infinity over them is NaN.
    assert_eq!(div(Approx::Div, 0x7f00_0000, 0x7f00_0000, false), 0);
    assert_eq!(div(Approx::Div, 0xff00_0000, 0x7e80_0001, true), MINUS);
    assert_eq!(div(Approx::Div, INF, 0x7f00_0000, false), NAN);
    assert_eq!(div(Approx::Div, 0x7e80_0000, 0x7e80_0000, false), ONE);
    assert_eq!(div(Approx::DivFull, 0x7f00_0000, 0x7f00_0000, false), ONE);
    assert_eq!(div(Approx::DivFull, 0x40c0_0000, 0x4000_0000, false), 0x4040_0000);
    assert_eq!(div(Approx::DivFull, 0x0000_0002, 0x0000_0001, true), NAN);
    assert_eq!(div(Approx::DivFull, 0x0000_0002, 0x0000_0001, false), 0x4000_0000);
    assert_eq!(div(Approx::Div, INF, INF, false), NAN);
    assert_eq!(div(Approx::Div, ONE, MINUS, false), MINUS | INF);
}

#[test]
fn f64_forms_on_upper_halves() {
    let f = Format::F64;
    let upper = |fun, a| approx(f, fun, a, 0, true);
    assert_eq!(upper(Approx::Rcp, 2f64.to_bits() | 0xffff_ffff), 0.5f64.to_bits());
    assert_eq!(upper(Approx::Rcp, 3f64.to_bits()), 0x3fd5_5555_0000_0000);
    assert_eq!(upper(Approx::Rsqrt, 4f64.to_bits()), 0.5f64.to_bits());
    assert_eq!(upper(Approx::Rcp, 0x8000_1234_0000_0000), 0xfff0_0000_0000_0000);
    assert_eq!(upper(Approx::Rcp, 0x7fe0_0000_0000_0000), 0);
    assert_eq!(upper(Approx::Rcp, 0x7ff8_0000_0000_0000), 0x7fff_ffff_0000_0000);
    assert_eq!(upper(Approx::Rsqrt, (-1f64).to_bits()), 0x7fff_ffff_0000_0000);
    assert_eq!(upper(Approx::Rsqrt, 0x8000_0000_0000_0000), 0xfff0_0000_0000_0000);
    let full = |a: f64| approx(f, Approx::Rsqrt, a.to_bits(), 0, false);
    assert_eq!(full(0.25), 2f64.to_bits());
    assert_eq!(full(2f64.powi(-1074)), 2f64.powi(537).to_bits());
    assert_eq!(full(-1.0), 0xfff8_0000_0000_0000);
}

/// Operands of every exponent and sign, in steps that the powers of two do not divide.
fn sampled() -> impl Iterator<Item = u64> {
    (0..=u64::from(u32::MAX)).step_by(20_011)
}

fn flushed_reference(fun: Approx, a: u64, ftz: bool) -> f64 {
    let x = value(Format::F32, Format::F32.flush(a, ftz));
    reference(fun, x, 0.0)
}

#[test]
fn approximate_functions_keep_their_bounds() {
    let f = Format::F32;
    let min_normal = f64::from(f32::MIN_POSITIVE);
    for fun in ALL.into_iter().filter(|fun| !matches!(fun, Approx::Div | Approx::DivFull)) {
        for ftz in [false, true] {
            let bound = error_bound(f, fun);
            for a in sampled() {
                let (got, exact) = (f32_of(fun, a, ftz), flushed_reference(fun, a, ftz));
                if exact.is_nan() {
                    assert_eq!(got, NAN, "{fun:?} ftz {ftz} {a:x}");
                } else if (exact as f32).is_infinite() {
                    assert_eq!(got, u64::from((exact as f32).to_bits()), "{fun:?} {a:x}");
                } else if ftz && exact.abs() < min_normal {
                    assert!(got & (MINUS - 1) == 0 || exact.abs() > 0.999_999 * min_normal, "{fun:?} {a:x}: {got:x}");
                } else {
                    let at = value(f, f.flush(a, ftz));
                    assert!(bound.allows(f, at, exact, got), "{fun:?} ftz {ftz} {a:x}: {got:x} for {exact:e}");
                }
            }
        }
    }
}

#[test]
fn sine_and_cosine_stay_in_range() {
    for fun in [Approx::Sin, Approx::Cos] {
        for a in sampled().filter(|a| a & INF != INF) {
            assert!(value(Format::F32, f32_of(fun, a, false)).abs() <= 1.0, "{fun:?} {a:x}");
        }
    }
}

/// In the last place of the exact value: nearer than the manual asks for, where kernels rely on it most.
#[test]
fn approximate_functions_are_nearly_correctly_rounded() {
    let units = [
        (Approx::Rcp, 0.501),
        (Approx::Sqrt, 0.501),
        (Approx::Rsqrt, 1.5),
        (Approx::Ex2, 0.92),
        (Approx::Lg2, 1.8),
        (Approx::Tanh, 2.5),
    ];
    for (fun, units) in units {
        for a in sampled() {
            let x = value(Format::F32, a);
            let exact = reference(fun, x, 0.0);
            let unit = f64::from((exact.abs() as f32).next_up()) - f64::from(exact.abs() as f32);
            if exact == 0.0 || !unit.is_finite() {
                continue;
            }
            let got = value(Format::F32, f32_of(fun, a, false));
            assert!((got - exact).abs() <= units * unit, "{fun:?} {a:x}: {got:e} for {exact:e}");
        }
    }
}

#[test]
fn approximate_functions_at_exact_points() {
    for n in -149..128 {
        let power = f64::from(n).exp2() as f32;
        assert_eq!(f32_of(Approx::Ex2, u64::from((n as f32).to_bits()), false), u64::from(power.to_bits()));
        assert_eq!(f32_of(Approx::Lg2, u64::from(power.to_bits()), false), u64::from((n as f32).to_bits()));
    }
    // 2^-150 is halfway to the smallest number, and even is zero.
    assert_eq!(f32_of(Approx::Ex2, 0xc316_0000, false), 0);
    assert_eq!(f32_of(Approx::Ex2, 0xc315_ffff, false), 1);
    assert_eq!(f32_of(Approx::Ex2, 0x4300_0000, false), INF);
    assert_eq!(f32_of(Approx::Rsqrt, 0x4080_0000, false), 0x3f00_0000);
    // sin of the number nearest to pi is how far it is from pi.
    assert_eq!(f32_of(Approx::Sin, 0x4049_0fdb, false), u64::from((-8.742_278e-8f32).to_bits()));
}

#[test]
fn bounds_accept_what_they_say_and_no_more() {
    let f = Format::F32;
    let rcp = error_bound(f, Approx::Rcp);
    let third = f32_of(Approx::Rcp, 0x4040_0000, false);
    assert!(rcp.allows(f, 3.0, 1.0 / 3.0, third));
    assert!(rcp.allows(f, 3.0, 1.0 / 3.0, third - 1));
    assert!(!rcp.allows(f, 3.0, 1.0 / 3.0, third + 2));
    assert!(!rcp.allows(f, 3.0, 1.0 / 3.0, NAN));
    assert!(rcp.allows(f, 0.0, f64::INFINITY, INF));
    assert!(!rcp.allows(f, 0.0, f64::INFINITY, 0x7f7f_ffff));
    let ex2 = error_bound(f, Approx::Ex2);
    assert!(ex2.allows(f, 1.0, 2.0, 0x4000_0002) && !ex2.allows(f, 1.0, 2.0, 0x4000_0003));
    let cos = error_bound(f, Approx::Cos);
    assert!(cos.allows(f, 1.5, 0.5, 0x3f00_000f) && !cos.allows(f, 1.5, 0.5, 0x3f00_0012));
    // Looser beyond 2 pi, and nothing is promised beyond 100 pi.
    assert!(cos.allows(f, 7.0, 0.5, 0x3f00_0100) && cos.allows(f, 1e6, 0.5, 0) && !cos.allows(f, 1e6, 0.5, NAN));
    let f16 = Format::F16;
    let tanh = error_bound(f16, Approx::Tanh);
    assert!(tanh.allows(f16, 1.0, 0.75, 0x3a01) && !tanh.allows(f16, 1.0, 0.75, 0x3a02));
}

#[test]
fn order_of_all_edge_values() {
    for f in Format::ALL {
        let edges = edges(f);
        for (&a, &b) in edges.iter().flat_map(|a| edges.iter().map(move |b| (a, b))) {
            let (x, y) = (value(f, a), value(f, b));
            let unordered = x.is_nan() || y.is_nan();
            let cmp = |c| compare(f, c, a, b, false);
            assert_eq!(cmp(Cmp::Eq), x == y, "{f:?} {a:x} {b:x}");
            assert_eq!(cmp(Cmp::Ne), x != y && !unordered);
            assert_eq!(cmp(Cmp::Lt), x < y, "{f:?} {a:x} {b:x}");
            assert_eq!(cmp(Cmp::Le), x <= y);
            assert_eq!(cmp(Cmp::Gt), x > y);
            assert_eq!(cmp(Cmp::Ge), x >= y);
            assert_eq!(cmp(Cmp::Equ), x == y || unordered);
            assert_eq!(cmp(Cmp::Neu), x != y);
            assert_eq!(cmp(Cmp::Ltu), x < y || unordered);
            assert_eq!(cmp(Cmp::Leu), x <= y || unordered);
            assert_eq!(cmp(Cmp::Gtu), x > y || unordered);
            assert_eq!(cmp(Cmp::Geu), x >= y || unordered);
            assert_eq!(cmp(Cmp::Num), !unordered);
            assert_eq!(cmp(Cmp::Nan), unordered);
            assert_eq!(copysign(f, a, b), b & (f.sign_bit() - 1) | a & f.sign_bit());
            if unordered {
                continue;
            }
            let (low, high) = (min(f, a, b, MinMax::default()), max(f, a, b, MinMax::default()));
            assert_eq!((value(f, low), value(f, high)), (x.min(y), x.max(y)), "{f:?} {a:x} {b:x}");
            if x == 0.0 && y == 0.0 {
                assert_eq!(low, (a | b) & f.sign_bit());
                assert_eq!(high, a & b);
            }
            let xorsign = MinMax { xorsign_abs: true, ..MinMax::default() };
            let sign = if (a ^ b) & f.sign_bit() != 0 { -1.0 } else { 1.0 };
            assert_eq!(value(f, min(f, a, b, xorsign)), x.abs().min(y.abs()) * sign);
            assert_eq!(value(f, max(f, a, b, xorsign)), x.abs().max(y.abs()) * sign);
        }
    }
}

#[test]
fn min_and_max_of_nan() {
    for f in Format::ALL {
        let (one, nan, sign) = (f.one(), f.infinity() | 1, f.sign_bit());
        let keep = MinMax { nan: true, ..MinMax::default() };
        let xorsign = MinMax { xorsign_abs: true, ..MinMax::default() };
        for op in [min, max] {
            assert_eq!(op(f, one, nan, MinMax::default()), one);
            assert_eq!(op(f, nan, one | sign, MinMax::default()), one | sign);
            assert_eq!(op(f, one, nan, keep), canonical_nan(f));
            assert_eq!(op(f, nan, one, keep), canonical_nan(f));
            // The number that remains takes the exclusive or of both signs, NaN's included.
            assert_eq!(op(f, nan | sign, one, xorsign), one | sign);
            assert_eq!(op(f, nan | sign, one | sign, xorsign), one);
            let both = if f == Format::F64 { 0x7ff8_0000_0000_0001 } else { canonical_nan(f) };
            assert_eq!(op(f, nan | 2, nan, MinMax::default()), both);
        }
    }
    let ftz = MinMax { ftz: true, ..MinMax::default() };
    assert_eq!(min(Format::F32, 0x8000_0001, 0, ftz), MINUS);
    assert_eq!(max(Format::F32, 1, MINUS, ftz), 0);
    assert_eq!(max(Format::F16, 1, 0x8000, ftz), 0);
    assert!(compare(Format::F32, Cmp::Eq, 1, 0x8000_0005, true));
    assert!(!compare(Format::F32, Cmp::Eq, 1, 0x8000_0005, false));
}

#[test]
fn classes_and_signs() {
    for f in Format::ALL {
        for a in edges(f) {
            let x = value(f, a);
            let subnormal = x != 0.0 && x.abs() < value(f, f.min_normal());
            let class = |c| test(f, c, a);
            assert_eq!(class(TestClass::Finite), x.is_finite(), "{f:?} {a:x}");
            assert_eq!(class(TestClass::Infinite), x.is_infinite());
            assert_eq!(class(TestClass::Number), !x.is_nan());
            assert_eq!(class(TestClass::NotANumber), x.is_nan());
            assert_eq!(class(TestClass::Subnormal), subnormal);
            assert_eq!(class(TestClass::Normal), x.is_finite() && !subnormal);
            if x.is_nan() {
                assert_eq!(relu(f, a), canonical_nan(f));
            } else {
                assert_eq!(neg(f, a, false), a ^ f.sign_bit());
                assert_eq!(abs(f, a, false), a & (f.sign_bit() - 1));
                assert_eq!(relu(f, a), if a & f.sign_bit() != 0 { 0 } else { a });
            }
        }
    }
    assert_eq!(neg(Format::F32, 1, true), MINUS);
    assert_eq!(abs(Format::F16, 0x83ff, true), 0);
    assert_eq!(neg(Format::Bf16, 1, true), 0x8001);
}
