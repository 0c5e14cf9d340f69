//! Results observed on hardware, for NaN payloads, flushing and special operands above all.

use super::*;

fn format(s: &str) -> Format {
    match s {
        "f16" => Format::F16,
        "bf16" => Format::Bf16,
        "f32" => Format::F32,
        "f64" => Format::F64,
        _ => panic!("format {s}"),
    }
}

fn narrow(s: &str) -> Narrow {
    match s {
        "e4m3" => Narrow::E4m3,
        "e5m2" => Narrow::E5m2,
        "tf32" => Narrow::Tf32,
        _ => panic!("narrow format {s}"),
    }
}

fn integer(s: &str) -> (u32, bool) {
    (s[1..].parse().expect("integer width"), s.starts_with('s'))
}

fn function(s: &str) -> Approx {
    match s {
        "rcp" => Approx::Rcp,
        "rsqrt" => Approx::Rsqrt,
        "sqrt" => Approx::Sqrt,
        "sin" => Approx::Sin,
        "cos" => Approx::Cos,
        "lg2" => Approx::Lg2,
        "ex2" => Approx::Ex2,
        "tanh" => Approx::Tanh,
        "div" => Approx::Div,
        "div_full" => Approx::DivFull,
        _ => panic!("function {s}"),
    }
}

fn class(s: &str) -> TestClass {
    match s {
        "finite" => TestClass::Finite,
        "infinite" => TestClass::Infinite,
        "number" => TestClass::Number,
        "notanumber" => TestClass::NotANumber,
        "normal" => TestClass::Normal,
        "subnormal" => TestClass::Subnormal,
        _ => panic!("class {s}"),
    }
}

fn evaluate(words: &[&str], v: &[u64]) -> u64 {
    let has = |w: &str| words.contains(&w);
    let round = match words.iter().find(|w| ["rn", "rz", "rm", "rp", "rna"].contains(w)) {
        Some(&"rz") => Round::Rz,
        Some(&"rm") => Round::Rm,
        Some(&"rp") => Round::Rp,
        Some(&"rna") => Round::Rna,
        _ => Round::Rn,
    };
    let (ftz, satfinite) = (has("ftz"), has("satfinite"));
    let m = Mode { round, ftz, sat: has("sat") };
    let mm = MinMax { ftz, nan: has("nan"), xorsign_abs: has("xorsign") };
    let f = format(if words[0] == "from_narrow" { words[2] } else { words[1] });
    let relu_if_asked = |r| if has("relu") { relu(f, r) } else { r };
    match words[0] {
        "add" => add(f, v[0], v[1], m),
        "sub" => sub(f, v[0], v[1], m),
        "mul" => mul(f, v[0], v[1], m),
        "div" => div(f, v[0], v[1], m),
        "fma" => relu_if_asked(fma(f, v[0], v[1], v[2], m)),
        "fma_oob" => relu_if_asked(fma_oob(f, v[0], v[1], v[2], m)),
        "sqrt" => sqrt(f, v[0], m),
        "rcp" => rcp(f, v[0], m),
        "neg" => neg(f, v[0], ftz),
        "abs" => abs(f, v[0], ftz),
        "copysign" => copysign(f, v[0], v[1]),
        "min" => min(f, v[0], v[1], mm),
        "max" => max(f, v[0], v[1], mm),
        "test" => test(f, class(words[2]), v[0]) as u64,
        "approx" => approx(f, function(words[2]), v[0], v.get(1).copied().unwrap_or(0), ftz),
        "convert" => convert(f, format(words[2]), v[0], m),
        "convert_satfinite" => convert_satfinite(f, format(words[2]), v[0], round, satfinite, has("relu")),
        "round_to_integral" => round_to_integral(f, v[0], round, ftz, m.sat),
        "to_int" => {
            let (bits, signed) = integer(words[2]);
            to_int(f, v[0], bits, signed, round, ftz)
        }
        "from_int" => {
            let (bits, signed) = integer(words[2]);
            from_int(f, v[0], bits, signed, m)
        }
        "to_narrow" => to_narrow(narrow(words[2]), f, v[0], round, satfinite, has("relu")),
        "from_narrow" => from_narrow(narrow(words[1]), f, v[0]),
        other => panic!("function {other}"),
    }
}

#[test]
fn hardware_results() {
    let hex = |s: &str| u64::from_str_radix(s, 16).expect("hexadecimal");
    let mut count = 0;
    for line in include_str!("observed.txt").lines().filter(|l| !l.starts_with('#')) {
        let (head, rows) = line.split_once(" : ").expect("head and rows");
        let words: Vec<&str> = head.split(' ').collect();
        for row in rows.split(' ') {
            let (operands, result) = row.split_once('=').expect("operands and result");
            let operands: Vec<u64> = operands.split(',').map(hex).collect();
            let got = evaluate(&words, &operands);
            assert_eq!(got, hex(result), "{head} {row}: got {got:x}");
            count += 1;
        }
    }
    assert!(count > 3000, "{count} results");
}
