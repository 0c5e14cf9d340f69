//! Functions that LLVM may call for an operation that the processor lacks, by the names that it uses. Compiled code finds
//! them here and nowhere else in the process.

use hetir::num::{Format, Mode, Round};

macro_rules! function {
    (|$($x:ident: $t:ty),*| -> $r:ty, $value:expr) => {{
        extern "C" fn f($($x: $t),*) -> $r {
            $value
        }
        f as *const () as usize
    }};
}

/// One row a function of `f32` and its sibling of `f64`.
macro_rules! math {
    ($($name32:literal $name64:literal |$($x:ident),*| $value:expr;)*) => {
        [$(
            ($name32, function!(|$($x: f32),*| -> f32, $value)),
            ($name64, function!(|$($x: f64),*| -> f64, $value)),
        )*]
    };
}

/// Every function and its address.
pub(super) fn functions() -> Vec<(&'static str, usize)> {
    let math = math! {
        "fmaf" "fma" |a, b, c| a.mul_add(b, c);
        "fmodf" "fmod" |a, b| a % b;
        "sqrtf" "sqrt" |a| a.sqrt();
        "floorf" "floor" |a| a.floor();
        "ceilf" "ceil" |a| a.ceil();
        "truncf" "trunc" |a| a.trunc();
        "roundf" "round" |a| a.round();
        "roundevenf" "roundeven" |a| a.round_ties_even();
        "rintf" "rint" |a| a.round_ties_even();
        "nearbyintf" "nearbyint" |a| a.round_ties_even();
        "fminf" "fmin" |a, b| a.min(b);
        "fmaxf" "fmax" |a, b| a.max(b);
        "sinf" "sin" |a| a.sin();
        "cosf" "cos" |a| a.cos();
        "tanf" "tan" |a| a.tan();
        "expf" "exp" |a| a.exp();
        "exp2f" "exp2" |a| a.exp2();
        "logf" "log" |a| a.ln();
        "log2f" "log2" |a| a.log2();
        "log10f" "log10" |a| a.log10();
        "powf" "pow" |a, b| a.powf(b);
    };
    // A number of 16 bits is handed over in the low bits of the register that an `f32` is in; the other bits are anything.
    let half = [
        ("__extendhfsf2", function!(|a: f32| -> f32, f32::from_bits(narrow(Format::F16, Format::F32, low(a)) as u32))),
        ("__truncsfhf2", function!(|a: f32| -> f32, register(narrow(Format::F32, Format::F16, a.to_bits().into())))),
        ("__truncdfhf2", function!(|a: f64| -> f32, register(narrow(Format::F64, Format::F16, a.to_bits())))),
        ("__truncsfbf2", function!(|a: f32| -> f32, register(narrow(Format::F32, Format::Bf16, a.to_bits().into())))),
        ("__truncdfbf2", function!(|a: f64| -> f32, register(narrow(Format::F64, Format::Bf16, a.to_bits())))),
    ];
    // What no processor has an answer to, hetIR's lowering answers; these only must not end the process.
    let wide = [
        ("__divti3", function!(|a: i128, b: i128| -> i128, a.checked_div(b).unwrap_or(a))),
        ("__modti3", function!(|a: i128, b: i128| -> i128, a.checked_rem(b).unwrap_or(0))),
        ("__udivti3", function!(|a: u128, b: u128| -> u128, a.checked_div(b).unwrap_or(u128::MAX))),
        ("__umodti3", function!(|a: u128, b: u128| -> u128, a.checked_rem(b).unwrap_or(u128::MAX))),
        ("__multi3", function!(|a: i128, b: i128| -> i128, a.wrapping_mul(b))),
        ("__floattisf", function!(|a: i128| -> f32, a as f32)),
        ("__floattidf", function!(|a: i128| -> f64, a as f64)),
        ("__floatuntisf", function!(|a: u128| -> f32, a as f32)),
        ("__floatuntidf", function!(|a: u128| -> f64, a as f64)),
        ("__fixsfti", function!(|a: f32| -> i128, a as i128)),
        ("__fixdfti", function!(|a: f64| -> i128, a as i128)),
        ("__fixunssfti", function!(|a: f32| -> u128, a as u128)),
        ("__fixunsdfti", function!(|a: f64| -> u128, a as u128)),
    ];
    let memory = [
        ("memcpy", libc::memcpy as *const () as usize),
        ("memmove", libc::memmove as *const () as usize),
        ("memset", libc::memset as *const () as usize),
        ("memcmp", libc::memcmp as *const () as usize),
    ];
    [&math[..], &half, &wide, &memory].concat()
}

fn narrow(from: Format, to: Format, bits: u64) -> u64 {
    hetir::num::convert(from, to, bits, Mode::new(Round::Rn))
}

fn low(a: f32) -> u64 {
    u64::from(a.to_bits() as u16)
}

fn register(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}
