use super::*;

pub(super) const STOCHASTIC: [StochasticTo; 7] = [
    StochasticTo::F16x2,
    StochasticTo::Bf16x2,
    StochasticTo::E4m3x4,
    StochasticTo::E5m2x4,
    StochasticTo::E2m3x4,
    StochasticTo::E3m2x4,
    StochasticTo::E2m1x4,
];

fn f32_bits(x: f64) -> u64 {
    (x as f32).to_bits() as u64
}

/// Every point half way between two neighbours of a narrower format, and the f32 or f64 patterns next to it, in every
/// mode.
fn check_halfway_points(from: Format, to: Format) {
    for low in 0..to.infinity() {
        let (v, next) = (value(to, low), value(to, low + 1));
        let next = if next.is_finite() { next } else { 2.0 * v - value(to, low - 1) };
        let half = convert(Format::F64, from, ((v + next) / 2.0).to_bits(), Mode::RN);
        for near in -1i64..=1 {
            let a = half.wrapping_add_signed(near);
            let x = value(from, a);
            for (neg, round) in ROUNDS.iter().flat_map(|&r| [(false, r), (true, r)]) {
                let up = match round {
                    Round::Rn => near > 0 || near == 0 && low % 2 == 1,
                    Round::Rna => near >= 0,
                    Round::Rz => false,
                    Round::Rm => neg,
                    Round::Rp => !neg,
                };
                // One step beside the half way point may leave the interval where the formats are nearly as wide.
                if !(x > v && x < next) {
                    continue;
                }
                let sign = |f: Format| if neg { f.sign_bit() } else { 0 };
                let want = (low + up as u64) | sign(to);
                let got = convert(from, to, a | sign(from), Mode::new(round));
                assert_eq!(got, want, "{from:?} {a:x} to {to:?} {round:?}");
                let clamped = convert_satfinite(from, to, a | sign(from), round, true, false);
                assert_eq!(clamped, (low + up as u64).min(to.max_finite()) | sign(to), "satfinite {a:x} {to:?}");
            }
        }
    }
}

#[test]
fn halfway_points_to_f16_and_bf16() {
    check_halfway_points(Format::F32, Format::F16);
    check_halfway_points(Format::F32, Format::Bf16);
    check_halfway_points(Format::F64, Format::F16);
}

#[test]
fn widening_is_exact() {
    for a in 0..=0xffffu64 {
        for from in [Format::F16, Format::Bf16] {
            let x = value(from, a);
            if x.is_nan() {
                continue;
            }
            for round in ROUNDS {
                let m = Mode::new(round);
                assert_eq!(convert(from, Format::F64, a, m), x.to_bits(), "{from:?} {a:x}");
                assert_eq!(convert(from, Format::F32, a, m), f32_bits(x), "{from:?} {a:x}");
                assert_eq!(convert(Format::F32, from, f32_bits(x), m), a, "{from:?} {a:x}");
                assert_eq!(convert(Format::F64, from, x.to_bits(), m), a, "{from:?} {a:x}");
            }
        }
    }
}

#[test]
fn f64_to_f32_in_every_mode() {
    let mut rng = Random::new(20);
    for _ in 0..200_000 {
        let a = match rng.below(3) {
            0 => (f32::from_bits(rng.next() as u32) as f64).to_bits().wrapping_add(rng.below(3)).wrapping_sub(1),
            1 => rng.next() & 0x800f_ffff_ffff_ffff | (1023 - 155 + rng.below(300)) << 52,
            _ => rng.pattern(Format::F64),
        };
        let x = f64::from_bits(a);
        if x.is_nan() {
            continue;
        }
        let nearest = x as f32;
        let down = if nearest as f64 > x { nearest.next_down() } else { nearest };
        let up = if (nearest as f64) < x { nearest.next_up() } else { nearest };
        let zero = if x > 0.0 { down } else { up };
        for (round, want) in [(Round::Rn, nearest), (Round::Rm, down), (Round::Rp, up), (Round::Rz, zero)] {
            let got = convert(Format::F64, Format::F32, a, Mode::new(round));
            assert_eq!(got, want.to_bits() as u64 | (a >> 63) << 31, "{a:x} {round:?}");
        }
    }
}

#[test]
fn f64_to_f16_rounds_once() {
    // 1 + 2^-11 + 2^-40: through f32 it would become the half way point 1 + 2^-11, and then even 1.
    let a = (1.0 + 2f64.powi(-11) + 2f64.powi(-40)).to_bits();
    assert_eq!(convert(Format::F64, Format::F16, a, Mode::RN), 0x3c01);
    let a = (1.0 + 2f64.powi(-8) + 2f64.powi(-40)).to_bits();
    assert_eq!(convert(Format::F64, Format::Bf16, a, Mode::RN), 0x3f81);
}

#[test]
fn conversion_modifiers() {
    let (f16, f32, f64) = (Format::F16, Format::F32, Format::F64);
    let ftz = Mode::RN.with_ftz(true);
    // The f32 side alone is flushed: the subnormal f16 result stays, the subnormal f32 operand and result do not.
    assert_eq!(convert(f32, f16, 0x3380_0000, ftz), 0x0001);
    assert_eq!(convert(f32, f64, 0x8000_0001, ftz), 0x8000_0000_0000_0000);
    assert_eq!(convert(f64, f32, 0x3690_0000_0000_0001, ftz.with_round(Round::Rp)), 0);
    assert_eq!(convert(f32, f32, 0x8000_0001, ftz), 0x8000_0000);
    assert_eq!(convert(Format::Bf16, f32, 0x0001, ftz), 0);
    // (1 - 2^-24) * 2^-126 and (1 - 2^-26) * 2^-126.
    assert_eq!(convert(f64, f32, 0x380f_ffff_e000_0000, Mode::RN), 0x0080_0000);
    assert_eq!(convert(f64, f32, 0x380f_ffff_e000_0000, ftz), 0);
    assert_eq!(convert(f64, f32, 0x380f_ffff_f800_0000, ftz), 0x0080_0000);
    // No flush of the operand on the way to f16.
    assert_eq!(convert(f32, f16, 1, ftz.with_round(Round::Rp)), 1);
    let sat = Mode::RN.with_sat(true);
    assert_eq!(convert(f32, f16, 0x7fc0_0000, sat), 0);
    assert_eq!(convert(f32, f16, 0x4000_0000, sat), 0x3c00);
    assert_eq!(convert(f64, f32, 0xbff0_0000_0000_0000, sat), 0);
    assert_eq!(convert(f64, f32, 0xfff8_0000_0000_0001, Mode::RN), 0xffc0_0000);
    assert_eq!(convert(f32, f64, 0xff80_0001, Mode::RN), 0xfff8_0000_2000_0000);
    assert_eq!(convert(f32, f16, 0xffff_0000, Mode::RN), 0x7fff);
    assert_eq!(convert_satfinite(f32, f16, 0xff80_0000, Round::Rn, true, false), 0xfbff);
    assert_eq!(convert_satfinite(f32, f16, 0xff80_0000, Round::Rn, true, true), 0);
    assert_eq!(convert_satfinite(f32, f16, 0x4780_0000, Round::Rn, false, false), 0x7c00);
    assert_eq!(convert_satfinite(f32, Format::Bf16, 0x7fc1_2345, Round::Rn, true, true), 0x7fff);
}

#[test]
fn integral_values_and_integers() {
    let mut rng = Random::new(21);
    for i in 0..400_000u64 {
        let (f, a) = if i < 0x10000 {
            (Format::F16, i)
        } else {
            let f = Format::ALL[rng.below(4) as usize];
            (f, rng.pattern(f))
        };
        let x = value(f, a);
        if x.is_nan() {
            continue;
        }
        let ties_away = x.round();
        for (round, want) in [
            (Round::Rn, x.round_ties_even()),
            (Round::Rz, x.trunc()),
            (Round::Rm, x.floor()),
            (Round::Rp, x.ceil()),
            (Round::Rna, ties_away),
        ] {
            let got = round_to_integral(f, a, round, false, false);
            assert_eq!(value(f, got).to_bits(), want.to_bits(), "{f:?} {a:x} {round:?}");
            let int = |bits, signed| to_int(f, a, bits, signed, round, false);
            assert_eq!(int(8, true), want as i8 as u8 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(8, false), want as u8 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(16, true), want as i16 as u16 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(32, true), want as i32 as u32 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(32, false), want as u32 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(64, true), want as i64 as u64, "{f:?} {a:x} {round:?}");
            assert_eq!(int(64, false), want as u64, "{f:?} {a:x} {round:?}");
        }
    }
    for f in Format::ALL {
        let nan = canonical_nan(f);
        let zero_bits = if f == Format::F64 { 1 } else { 0 };
        assert_eq!(to_int(f, nan, 32, true, Round::Rz, false), zero_bits << 31);
        assert_eq!(to_int(f, nan, 16, false, Round::Rz, false), zero_bits << 15);
        assert_eq!(to_int(f, nan, 64, false, Round::Rz, false), 1 << 63);
    }
    assert_eq!(to_int(Format::F32, 1, 32, true, Round::Rp, false), 1);
    assert_eq!(to_int(Format::F32, 1, 32, true, Round::Rp, true), 0);
    assert_eq!(round_to_integral(Format::F32, 1, Round::Rp, true, false), 0);
    assert_eq!(round_to_integral(Format::F32, 0xbf00_0000, Round::Rn, false, false), 0x8000_0000);
    assert_eq!(round_to_integral(Format::F32, 0x40a0_0000, Round::Rn, false, true), 0x3f80_0000);
}

#[test]
fn integers_to_floats() {
    let mut rng = Random::new(22);
    for _ in 0..200_000 {
        let v = rng.next() >> rng.below(64);
        let v = if rng.below(2) == 0 { v } else { v.wrapping_neg() };
        assert_eq!(from_int(Format::F64, v, 64, true, Mode::RN), (v as i64 as f64).to_bits());
        assert_eq!(from_int(Format::F64, v, 64, false, Mode::RN), (v as f64).to_bits());
        assert_eq!(from_int(Format::F32, v, 64, true, Mode::RN), (v as i64 as f32).to_bits() as u64);
        assert_eq!(from_int(Format::F32, v, 64, false, Mode::RN), (v as f32).to_bits() as u64);
        assert_eq!(from_int(Format::F32, v, 32, true, Mode::RN), (v as i32 as f32).to_bits() as u64);
        assert_eq!(from_int(Format::F32, v, 8, true, Mode::RN), (v as i8 as f32).to_bits() as u64);
        for round in ROUNDS {
            let small = v as i16 as i128;
            if small != 0 {
                assert_eq!(from_int(Format::F16, v, 16, true, Mode::new(round)), round_f16(small << 48, round));
            }
            let exact = v as i64 as i128;
            let got = f64::from_bits(from_int(Format::F64, v, 64, true, Mode::new(round))) as i128;
            match round {
                Round::Rm => assert!(got <= exact && exact - got < 2048),
                Round::Rp => assert!(got >= exact && got - exact < 2048),
                Round::Rz => assert!(got.abs() <= exact.abs() && exact.abs() - got.abs() < 2048),
                Round::Rn | Round::Rna => assert!((got - exact).abs() <= 512),
            }
        }
    }
    assert_eq!(from_int(Format::F16, 65520, 32, false, Mode::RN), 0x7c00);
    assert_eq!(from_int(Format::F16, 65519, 32, false, Mode::RN), 0x7bff);
    assert_eq!(from_int(Format::F16, 100_000, 32, false, Mode::new(Round::Rz)), 0x7bff);
    assert_eq!(from_int(Format::F32, 5, 32, true, Mode::RN.with_sat(true)), 0x3f80_0000);
    assert_eq!(from_int(Format::F32, u64::MAX, 32, true, Mode::RN.with_sat(true)), 0);
}

/// Value of a narrow pattern by its definition; None is NaN.
fn narrow_value(n: Narrow, a: u64) -> Option<f64> {
    let (e, m, bias) = match n {
        Narrow::E4m3 => (4, 3, 7),
        Narrow::E5m2 => (5, 2, 15),
        Narrow::E2m3 => (2, 3, 1),
        Narrow::E3m2 => (3, 2, 3),
        Narrow::E2m1 => (2, 1, 1),
        Narrow::Ue8m0 => return if a == 0xff { None } else { Some(2f64.powi(a as i32 - 127)) },
        Narrow::Tf32 => return Some(value(Format::F32, a & !0x1fff)).filter(|x| !x.is_nan()),
    };
    let exponent = (a >> m & ((1 << e) - 1)) as i32;
    let mantissa = (a & ((1 << m) - 1)) as f64 / (1 << m) as f64;
    let mag = match (n, exponent, a & ((1 << m) - 1)) {
        (Narrow::E4m3, 15, 7) => return None,
        (Narrow::E5m2, 31, 0) => f64::INFINITY,
        (Narrow::E5m2, 31, _) => return None,
        (_, 0, _) => mantissa * 2f64.powi(1 - bias),
        _ => (1.0 + mantissa) * 2f64.powi(exponent - bias),
    };
    Some(if a >> (e + m) & 1 != 0 { -mag } else { mag })
}

const SMALL: [(Narrow, f64); 5] =
    [(Narrow::E4m3, 448.0), (Narrow::E5m2, 57344.0), (Narrow::E2m3, 7.5), (Narrow::E3m2, 28.0), (Narrow::E2m1, 6.0)];

#[test]
fn narrow_patterns_decode_and_encode() {
    for n in Narrow::ALL {
        let count = if n == Narrow::Tf32 { 0 } else { 1u64 << n.bits() };
        for a in 0..count {
            for to in [Format::F16, Format::F32, Format::F64, Format::Bf16] {
                let got = from_narrow(n, to, a);
                match narrow_value(n, a) {
                    None => assert_eq!(got, canonical_nan(to), "{n:?} {a:x} {to:?}"),
                    Some(x) if n != Narrow::Ue8m0 || to != Format::F16 => {
                        assert_eq!(value(to, got).to_bits(), x.to_bits(), "{n:?} {a:x} {to:?}");
                        let round = if n == Narrow::Ue8m0 { Round::Rp } else { Round::Rn };
                        assert_eq!(to_narrow(n, to, got, round, false, false), a, "{n:?} {a:x} {to:?}");
                    }
                    Some(_) => {}
                }
            }
        }
    }
}

/// Every f16, in every mode, against the list of all values of the format.
#[test]
fn f16_to_narrow_picks_the_right_neighbour() {
    for (n, max) in SMALL {
        let sign_bit = 1u64 << (n.bits() - 1);
        let magnitudes: Vec<f64> =
            (0..sign_bit).filter_map(|a| narrow_value(n, a)).take_while(|x| x.is_finite()).collect();
        assert_eq!(magnitudes.last(), Some(&max));
        for a in 0..0x10000u64 {
            let x = value(Format::F16, a);
            if x.is_nan() {
                continue;
            }
            let (neg, mag) = (x.is_sign_negative(), x.abs());
            let low = magnitudes.partition_point(|&v| v <= mag) - 1;
            for round in ROUNDS {
                let want = if mag >= max {
                    magnitudes.len() - 1
                } else {
                    let (below, above) = (magnitudes[low], magnitudes[low + 1]);
                    let up = match round {
                        _ if mag == below => false,
                        Round::Rn => mag - below > above - mag || mag - below == above - mag && low % 2 == 1,
                        Round::Rna => mag - below >= above - mag,
                        Round::Rz => false,
                        Round::Rm => neg,
                        Round::Rp => !neg,
                    };
                    low + up as usize
                } as u64;
                let sign = if neg { sign_bit } else { 0 };
                assert_eq!(to_narrow(n, Format::F16, a, round, true, false), want | sign, "{n:?} {a:x} {round:?}");
                let relu = if neg { 0 } else { want };
                assert_eq!(to_narrow(n, Format::F16, a, round, true, true), relu, "{n:?} {a:x} {round:?}");
                let wide = convert(Format::F16, Format::F32, a, Mode::RN);
                assert_eq!(to_narrow(n, Format::F32, wide, round, true, false), want | sign, "{n:?} {a:x} {round:?}");
            }
        }
    }
}

#[test]
fn narrow_special_values() {
    let f32 = Format::F32;
    let (inf, nan, rn) = (0x7f80_0000, 0xffc0_0001, Round::Rn);
    let cases = [
        // format, infinity without satfinite, -infinity with, NaN
        (Narrow::E4m3, 0x7f, 0xfe, 0x7f),
        (Narrow::E5m2, 0x7c, 0xfb, 0x7f),
        (Narrow::E2m3, 0x1f, 0x3f, 0x1f),
        (Narrow::E3m2, 0x1f, 0x3f, 0x1f),
        (Narrow::E2m1, 0x7, 0xf, 0x7),
        (Narrow::Tf32, 0x7f80_0000, 0xff7f_e000, 0x7fff_e000),
    ];
    for (n, overflow, clamped, not_a_number) in cases {
        assert_eq!(to_narrow(n, f32, inf, rn, false, false), overflow, "{n:?}");
        assert_eq!(to_narrow(n, f32, inf | 1 << 31, rn, true, false), clamped, "{n:?}");
        assert_eq!(to_narrow(n, f32, inf | 1 << 31, rn, true, true), 0, "{n:?}");
        assert_eq!(to_narrow(n, f32, nan, rn, true, false), not_a_number, "{n:?}");
        assert_eq!(to_narrow(n, f32, nan, rn, true, true), not_a_number, "{n:?}");
        assert_eq!(to_narrow(n, f32, 0x8000_0000, rn, true, true), 0, "{n:?}");
    }
    // Formats without infinity clamp finite values, too.
    assert_eq!(to_narrow(Narrow::E2m1, f32, f32_bits(-100.0), rn, false, false), 0xf);
    assert_eq!(to_narrow(Narrow::E3m2, f32, f32_bits(31.0), rn, false, false), 0x1f);
    // 464 is half way between 448 and the 480 that e4m3 does not have: without satfinite it goes to even, 448.
    assert_eq!(to_narrow(Narrow::E4m3, f32, f32_bits(464.0), rn, false, false), 0x7e);
    assert_eq!(to_narrow(Narrow::E4m3, f32, f32_bits(465.0), rn, false, false), 0x7f);
    assert_eq!(to_narrow(Narrow::E4m3, f32, f32_bits(465.0), rn, true, false), 0x7e);
}

#[test]
fn tf32_rounds_to_ten_bits() {
    let f32 = Format::F32;
    let to = |a, r, sat, relu| to_narrow(Narrow::Tf32, f32, a, r, sat, relu);
    assert_eq!(to(0x3f80_1000, Round::Rn, false, false), 0x3f80_0000);
    assert_eq!(to(0x3f80_1000, Round::Rna, false, false), 0x3f80_2000);
    assert_eq!(to(0x3f80_3000, Round::Rn, false, false), 0x3f80_4000);
    assert_eq!(to(0xbf80_3fff, Round::Rz, false, false), 0xbf80_2000);
    assert_eq!(to(0x0000_1001, Round::Rn, false, false), 0x0000_2000);
    assert_eq!(to(0x7f7f_ffff, Round::Rna, false, false), 0x7f80_0000);
    assert_eq!(to(0x7f7f_ffff, Round::Rna, true, false), 0x7f7f_e000);
    assert_eq!(to(0xbf80_0000, Round::Rn, false, true), 0);
    assert_eq!(from_narrow(Narrow::Tf32, f32, 0x3f80_3fff), 0x3f80_2000);
    assert_eq!(from_narrow(Narrow::Tf32, Format::F64, 0x0000_2000), 2f64.powi(-136).to_bits());
}

#[test]
fn ue8m0_is_the_exponent() {
    let to = |x: f64, r, sat| to_narrow(Narrow::Ue8m0, Format::F32, f32_bits(x), r, sat, false);
    assert_eq!(to(1.0, Round::Rz, false), 127);
    assert_eq!(to(-1.0, Round::Rz, false), 127);
    assert_eq!(to(1.5, Round::Rz, false), 127);
    assert_eq!(to(1.5, Round::Rp, false), 128);
    assert_eq!(to(2.0, Round::Rp, false), 128);
    assert_eq!(to(0.0, Round::Rp, false), 0);
    assert_eq!(to(2f64.powi(-127), Round::Rp, false), 0);
    assert_eq!(to(2f64.powi(-149), Round::Rz, false), 0);
    assert_eq!(to(1.5 * 2f64.powi(-127), Round::Rp, false), 1);
    assert_eq!(to(1.5 * 2f64.powi(-127), Round::Rz, false), 0);
    assert_eq!(to(1.5 * 2f64.powi(127), Round::Rp, false), 0xff);
    assert_eq!(to(1.5 * 2f64.powi(127), Round::Rp, true), 0xfe);
    assert_eq!(to(f64::INFINITY, Round::Rz, false), 0xff);
    assert_eq!(to(f64::INFINITY, Round::Rz, true), 0xfe);
    assert_eq!(to(f64::NAN, Round::Rz, true), 0xff);
    assert_eq!(from_narrow(Narrow::Ue8m0, Format::Bf16, 0), 0x0040);
    assert_eq!(from_narrow(Narrow::Ue8m0, Format::Bf16, 0xff), 0x7fff);
}

/// The share of random values that round up is the part cut off.
#[test]
fn stochastic_rounding_is_proportional() {
    // Destination, f32 operand, patterns below and above, random bits, the part cut off in units of 2^-bits.
    let cases = [
        (StochasticTo::F16x2, 0x3f80_0001, 0x3c00, 13, 1),
        (StochasticTo::F16x2, 0xbf80_1800, 0xbc00, 13, 0x1800),
        (StochasticTo::Bf16x2, 0x3f80_1234, 0x3f80, 16, 0x1234),
        // 1 + 2^-4: half a unit of e4m3; 1 + 2^-3: half a unit of e5m2.
        (StochasticTo::E4m3x4, 0x3f88_0000, 0x38, 16, 0x8000),
        (StochasticTo::E5m2x4, 0x3f90_0000, 0x3c, 16, 0x8000),
        (StochasticTo::E2m3x4, 0x3f84_0000, 0x08, 16, 0x4000),
        (StochasticTo::E3m2x4, 0x3f88_0000, 0x0c, 16, 0x4000),
        // 1.25 lies half way between 1 and 1.5; 0.125 a quarter between 0 and 0.5.
        (StochasticTo::E2m1x4, 0x3fa0_0000, 0x2, 16, 0x8000),
        (StochasticTo::E2m1x4, 0x3e00_0000, 0x0, 16, 0x4000),
    ];
    for (to, a, below, bits, cut) in cases {
        let up = (0..1u64 << bits)
            .filter(|r| {
                let got = match to {
                    StochasticTo::E2m1x4 => convert_stochastic(to, 0, a, (r >> 8) << 16 | r & 0xff, true, false),
                    _ => convert_stochastic(to, 0, a, *r, true, false),
                };
                assert!(got == below || got == below + 1, "{to:?} {a:x} {r:x} {got:x}");
                got == below + 1
            })
            .count();
        assert_eq!(up, cut, "{to:?} {a:x}");
    }
}

#[test]
fn stochastic_elements_take_their_random_bits() {
    let half = 0x3f80_8000;
    let bf16 = |element, rbits| convert_stochastic(StochasticTo::Bf16x2, element, half, rbits, false, false);
    assert_eq!((bf16(0, 0x0000_8000), bf16(1, 0x0000_8000)), (0x3f81, 0x3f80));
    assert_eq!((bf16(0, 0x8000_0000), bf16(1, 0x8000_0000)), (0x3f80, 0x3f81));
    // The upper three of f16's sixteen bits have no effect.
    assert_eq!(convert_stochastic(StochasticTo::F16x2, 0, 0x3f80_0001, 0xe000, false, false), 0x3c00);
    let e4m3 = |element, rbits| convert_stochastic(StochasticTo::E4m3x4, element, 0x3f88_0000, rbits, true, false);
    assert_eq!([0, 1, 2, 3].map(|i| e4m3(i, 0x8000)), [0x39, 0x39, 0x38, 0x38]);
    let e2m1 = |element, rbits| convert_stochastic(StochasticTo::E2m1x4, element, 0x3fa0_0000, rbits, true, false);
    assert_eq!([0, 1, 2, 3].map(|i| e2m1(i, 0x0080_0000)), [3, 3, 2, 2]);
    assert_eq!([0, 1, 2, 3].map(|i| e2m1(i, 0x8000_0000)), [2, 2, 3, 3]);
    for (to, nan) in STOCHASTIC.into_iter().zip([0x7fff, 0x7fff, 0x7f, 0x7f, 0x1f, 0x1f, 0x7]) {
        assert_eq!(convert_stochastic(to, 0, 0xffc0_0000, 0, true, false), nan, "{to:?}");
        assert_eq!(convert_stochastic(to, 0, 0xff80_0000, 0, true, true), 0, "{to:?}");
    }
    assert_eq!(convert_stochastic(StochasticTo::F16x2, 0, 0x477f_ffff, 0x1fff, false, false), 0x7c00);
    assert_eq!(convert_stochastic(StochasticTo::F16x2, 0, 0x477f_ffff, 0x1fff, true, false), 0x7bff);
}
