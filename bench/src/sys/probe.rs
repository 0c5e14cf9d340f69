//! What the processor can do at most: operations from registers, and passes over memory.

use std::hint::black_box;
use std::time::Instant;

/// Chains of operations that do not depend on each other: two units times a latency of four or five, and no more than
/// there are registers.
const CHAINS: usize = 12;
const TURNS: usize = 1 << 16;

/// So many operations a second by this thread: fused multiplications and additions, each counted as two.
pub(crate) fn fma_rate() -> f64 {
    rate(|start| {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature.
            return (unsafe { wide::fma512(start as f32) }, 32);
        } else if is_x86_feature_detected!("fma") && is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the features.
            return (unsafe { wide::fma256(start as f32) }, 16);
        }
        (plain_fma(start as f32), 8)
    })
}

/// So many integer operations a second by this thread: additions and exclusive ors in turn.
pub(crate) fn integer_rate() -> f64 {
    rate(|start| {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the feature.
            return (unsafe { wide::integer512(start) }, 32);
        } else if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return (unsafe { wide::integer256(start) }, 16);
        }
        (plain_integer(start), 8)
    })
}

/// The best of some rounds. `work` does a turn of every chain `TURNS` times, and says how many operations that is for
/// one turn of one chain.
fn rate(work: impl Fn(u32) -> (u32, usize)) -> f64 {
    let mut best = 0.0f64;
    for round in 0..20 {
        let begin = Instant::now();
        let (result, operations) = work(black_box(round));
        black_box(result);
        best = best.max((operations * CHAINS * TURNS) as f64 / begin.elapsed().as_secs_f64());
    }
    best
}

/// Chunks of an array are taken from so many places in turn: pages apart, so that several streams are under way.
const STREAMS: usize = 4;
const LANES: usize = 64;

macro_rules! pass {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) -> $result:ty $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $type),*) -> $result {
            #[inline(always)]
            fn plain($($arg: $type),*) -> $result $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f")]
                fn wide($($arg: $type),*) -> $result {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn medium($($arg: $type),*) -> $result {
                    plain($($arg),*)
                }
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the processor has the feature.
                    return unsafe { wide($($arg),*) };
                } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the features.
                    return unsafe { medium($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}

pass! {
    /// The sum of the products of two arrays.
    read(a: &[f32], b: &[f32]) -> f32 {
        let mut sums = [0.0f32; LANES];
        let quarter = a.len() / STREAMS;
        for at in (0..quarter / LANES).map(|chunk| chunk * LANES) {
            for stream in 0..STREAMS {
                let range = stream * quarter + at..stream * quarter + at + LANES;
                for ((sum, a), b) in sums.iter_mut().zip(&a[range.clone()]).zip(&b[range]) {
                    *sum += a * b;
                }
            }
        }
        sums.iter().sum()
    }
}

pass! {
    /// Adds a multiple of an array to another.
    update(factor: f32, a: &[f32], c: &mut [f32]) -> () {
        let quarter = a.len() / STREAMS;
        for at in (0..quarter / LANES).map(|chunk| chunk * LANES) {
            for stream in 0..STREAMS {
                let range = stream * quarter + at..stream * quarter + at + LANES;
                for (c, a) in c[range.clone()].iter_mut().zip(&a[range]) {
                    *c += factor * a;
                }
            }
        }
    }
}

pass! {
    /// An array becomes the sum of one and the multiple of another.
    triad(factor: f32, a: &[f32], b: &[f32], c: &mut [f32]) -> () {
        for ((c, a), b) in c.iter_mut().zip(a).zip(b) {
            *c = factor * b + a;
        }
    }
}

/// For processors whose features are not asked for: four lanes by whatever the compiler makes of them.
fn plain_fma(start: f32) -> u32 {
    let mut sums = [[start; 4]; CHAINS];
    let (factor, addend) = (black_box(0.999f32), black_box(0.001f32));
    for _ in 0..TURNS {
        for lane in sums.as_flattened_mut() {
            *lane = lane.mul_add(factor, addend);
        }
    }
    sums.as_flattened().iter().sum::<f32>().to_bits()
}

fn plain_integer(start: u32) -> u32 {
    let mut sums = [[start; 4]; CHAINS];
    let (addend, mask) = (black_box(0x1234_5677u32), black_box(0x5555_aaaau32));
    for _ in 0..TURNS {
        for lane in sums.as_flattened_mut() {
            *lane = lane.wrapping_add(addend) ^ mask;
        }
    }
    sums.as_flattened().iter().fold(0, |sum, lane| sum ^ lane)
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{CHAINS, TURNS};
    use std::arch::x86_64::*;
    use std::hint::black_box;

    macro_rules! chains {
        ($name:ident, $feature:literal, $lane:ty, |$set:ident| $lanes:expr, |$value:ident| $step:expr, $end:expr) => {
            #[target_feature(enable = $feature)]
            pub(super) fn $name(start: $lane) -> u32 {
                // Different starts keep the chains apart.
                let mut sums: [_; CHAINS] = std::array::from_fn(|chain| {
                    let $set = start + chain as $lane;
                    $lanes
                });
                for _ in 0..TURNS {
                    for $value in &mut sums {
                        *$value = $step;
                    }
                }
                sums.into_iter().map(|sum| $end(sum)).fold(0, |all: u32, one: u32| all ^ one)
            }
        };
    }

    chains!(
        fma512,
        "avx512f",
        f32,
        |start| _mm512_set1_ps(start),
        |sum| _mm512_fmadd_ps(*sum, _mm512_set1_ps(0.999), _mm512_set1_ps(0.001)),
        |sum| _mm512_reduce_add_ps(sum).to_bits()
    );
    chains!(
        fma256,
        "avx2,fma",
        f32,
        |start| _mm256_set1_ps(start),
        |sum| _mm256_fmadd_ps(*sum, _mm256_set1_ps(0.999), _mm256_set1_ps(0.001)),
        |sum| _mm256_cvtss_f32(black_box(sum)).to_bits()
    );
    chains!(
        integer512,
        "avx512f",
        u32,
        |start| _mm512_set1_epi32(start as i32),
        |sum| _mm512_xor_si512(_mm512_add_epi32(*sum, _mm512_set1_epi32(0x1234_5677)), _mm512_set1_epi32(0x5555_aaaa)),
        |sum| _mm512_reduce_add_epi32(sum) as u32
    );
    chains!(
        integer256,
        "avx2",
        u32,
        |start| _mm256_set1_epi32(start as i32),
        |sum| _mm256_xor_si256(_mm256_add_epi32(*sum, _mm256_set1_epi32(0x1234_5677)), _mm256_set1_epi32(0x5555_aaaa)),
        |sum| _mm256_extract_epi32::<0>(black_box(sum)) as u32
    );
}
