//! Arithmetic-bound kernels: physics, finance, hashing.

use super::super::case::{Argument, Case, Expected, Outcome, Random, Size, of_f32s, of_u32s};
use super::blocks;
use Argument::{Buffer, F32, U32};

pub(super) fn nbody(size: Size) -> Case {
    let n = size.pick(512, 1024, 8192u32);
    let softening = 0.01f32;
    let mut random = Random::new(15);
    let bodies: Vec<[f32; 4]> = (0..n)
        .map(|_| [random.f32(-1.0, 1.0), random.f32(-1.0, 1.0), random.f32(-1.0, 1.0), random.f32(0.1, 1.0)])
        .collect();
    let bytes = of_f32s(bodies.as_flattened());
    let reference = move || {
        let mut out = Vec::with_capacity(n as usize * 4);
        for own in &bodies {
            let mut sum = [0.0f64; 4];
            for other in &bodies {
                let [dx, dy, dz] = std::array::from_fn(|k| f64::from(other[k]) - f64::from(own[k]));
                let inverse = 1.0 / (dx * dx + dy * dy + dz * dz + f64::from(softening)).sqrt();
                let force = f64::from(other[3]) * inverse.powi(3);
                sum[0] += dx * force;
                sum[1] += dy * force;
                sum[2] += dz * force;
            }
            out.extend(sum);
        }
        // Sums of n terms to both sides: the error grows with the terms and not with their sum.
        let absolute = 1e-6 * f64::from(n);
        Outcome::new(vec![Expected::near(out, 1e-4, absolute)]).flops(20.0 * f64::from(n).powi(2))
    };
    let arguments = [U32(n), F32(softening), Buffer(0), Buffer(1)];
    Case::new(reference).read(bytes).write(n as usize * 4).step("nbody", [n / 256, 1, 1], [256, 1, 1], &arguments)
}

pub(super) fn black_scholes(size: Size) -> Case {
    let n = size.pick(1000, 50_000, 4_000_000u32);
    let (rate, volatility) = (0.02f32, 0.3f32);
    let mut random = Random::new(16);
    let mut numbers = |low, high| random.f32s(n as usize, low, high);
    let (price, strike, years) = (numbers(5.0, 30.0), numbers(1.0, 100.0), numbers(0.25, 10.0));
    let inputs = [of_f32s(&price), of_f32s(&strike), of_f32s(&years)];
    let reference = move || {
        let (mut calls, mut puts) = (Vec::new(), Vec::new());
        let (rate, volatility) = (f64::from(rate), f64::from(volatility));
        for i in 0..n as usize {
            let (s, x, t) = (f64::from(price[i]), f64::from(strike[i]), f64::from(years[i]));
            let deviation = volatility * t.sqrt();
            let d1 = ((s / x).ln() + (rate + 0.5 * volatility * volatility) * t) / deviation;
            let (n1, n2) = (normal(d1), normal(d1 - deviation));
            let discounted = x * (-rate * t).exp();
            calls.push(s * n1 - discounted * n2);
            puts.push(discounted * (1.0 - n2) - s * (1.0 - n1));
        }
        let expected = vec![Expected::near(calls, 1e-4, 1e-4), Expected::near(puts, 1e-4, 1e-4)];
        // Three exponentials, a logarithm, a root and four divisions at about ten operations each, and 45 others.
        Outcome::new(expected).flops(135.0 * f64::from(n))
    };
    let case = inputs.into_iter().fold(Case::new(reference), Case::read).write(n as usize).write(n as usize);
    let arguments = [U32(n), F32(rate), F32(volatility), Buffer(0), Buffer(1), Buffer(2), Buffer(3), Buffer(4)];
    case.step("black_scholes", [blocks(n, 256), 1, 1], [256, 1, 1], &arguments)
}

/// The normal distribution by the same polynomial as the kernel's.
fn normal(x: f64) -> f64 {
    let k = 1.0 / (1.0 + 0.2316419 * x.abs());
    let factors = [1.330_274_429, -1.821_255_978, 1.781_477_937, -0.356_563_782, 0.319_381_530];
    let poly = factors.into_iter().fold(0.0, |sum, factor| sum * k + factor);
    let tail = 0.398_942_280_40 * (-0.5 * x * x).exp() * poly * k;
    if x > 0.0 { 1.0 - tail } else { tail }
}

pub(super) fn monte_carlo(size: Size) -> Case {
    let (n, groups) = size.pick((256, 4), (1024, 16), (65_536, 64u32));
    let (price, strike, rate, volatility, years) = (100.0f32, 105.0f32, 0.03f32, 0.25f32, 1.5f32);
    let (drift, deviation) = ((rate - 0.5 * volatility * volatility) * years, volatility * years.sqrt());
    let seed = 0x5eed_1234;
    let reference = move || {
        let payoff = |z: f64| {
            let end = f64::from(price) * (f64::from(deviation) * z + f64::from(drift)).exp();
            (end - f64::from(strike)).max(0.0)
        };
        let means = (0..n).map(|i| {
            let mut sum = 0.0;
            for k in 0..groups {
                let bits = philox([k, i, 0, 0], [seed, 0]);
                for pair in bits.chunks_exact(2) {
                    let (cosine, sine) = normals(pair[0], pair[1]);
                    sum += payoff(cosine) + payoff(sine);
                }
            }
            sum / f64::from(4 * groups)
        });
        let expected = Expected::near(means, 1e-4, 1e-3);
        // A group is ten rounds of ten integer operations. Two logarithms, roots and sine pairs and four exponentials at
        // about ten operations each, and 24 others.
        let count = f64::from(n) * f64::from(groups);
        Outcome::new(vec![expected]).integer_ops(100.0 * count).flops(124.0 * count)
    };
    let arguments = [U32(n), U32(groups), U32(seed), F32(price), F32(strike), F32(drift), F32(deviation), Buffer(0)];
    Case::new(reference).write(n as usize).step("monte_carlo", [n / 256, 1, 1], [256, 1, 1], &arguments)
}

/// Philox4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3).
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let (one, two) = (0xd251_1f53 * u64::from(counter[0]), 0xcd9e_8d57 * u64::from(counter[2]));
        let high = |product: u64| (product >> 32) as u32;
        counter = [high(two) ^ counter[1] ^ key[0], two as u32, high(one) ^ counter[3] ^ key[1], one as u32];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    counter
}

/// Two normally distributed numbers of two uniform ones, which are rounded to f32 first as the kernels do.
fn normals(a: u32, b: u32) -> (f64, f64) {
    let (u, v) = ((a as f32).mul_add(2.328_306_4e-10, 1.164_153_2e-10), b as f32 * 4.656_613e-10);
    let radius = (-2.0 * f64::from(u).ln()).sqrt();
    let angle = f64::from(v) * std::f64::consts::PI;
    (radius * angle.cos(), radius * angle.sin())
}

pub(super) fn sha256(size: Size) -> Case {
    let n = size.pick(256, 2048, 1 << 18u32);
    let words = Random::new(17).u32s(n as usize * 16);
    let bytes = of_u32s(&words);
    let reference = move || {
        let count = n as usize;
        let mut out = vec![0; count * 8];
        for i in 0..count {
            let mut state = START;
            compress(&mut state, std::array::from_fn(|k| words[k * count + i]));
            let mut padding = [0; 16];
            (padding[0], padding[15]) = (0x8000_0000, 512);
            compress(&mut state, padding);
            for (k, word) in state.into_iter().enumerate() {
                out[k * count + i] = word;
            }
        }
        // Two compressions of 64 rounds of 24 operations and 48 renewals of 13.
        Outcome::new(vec![Expected::Exact(out)]).integer_ops(2.0 * (64.0 * 24.0 + 48.0 * 13.0) * f64::from(n))
    };
    let arguments = [U32(n), Buffer(0), Buffer(1)];
    Case::new(reference).read(bytes).write(n as usize * 8).step(
        "sha256",
        [blocks(n, 256), 1, 1],
        [256, 1, 1],
        &arguments,
    )
}

/// The first state: fractions of the roots of the first eight primes.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// One compression of SHA-256 (FIPS 180-4, section 6.2.2), in its plain form.
fn compress(state: &mut [u32; 8], block: [u32; 16]) {
    let mut w = [0u32; 64];
    w[..16].copy_from_slice(&block);
    for t in 16..64 {
        let small0 = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
        let small1 = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
        w[t] = small1.wrapping_add(w[t - 7]).wrapping_add(small0).wrapping_add(w[t - 16]);
    }
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (constant, w) in rounds().into_iter().zip(w) {
        let big1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = (e & f) ^ (!e & g);
        let t1 = h.wrapping_add(big1).wrapping_add(choice).wrapping_add(constant).wrapping_add(w);
        let big0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = big0.wrapping_add((a & b) ^ (a & c) ^ (b & c));
        (h, g, f, e, d, c, b, a) = (g, f, e, d.wrapping_add(t1), c, b, a, t1.wrapping_add(t2));
    }
    for (state, more) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *state = state.wrapping_add(more);
    }
}

/// The constants of the rounds: the first 32 bits of the fractions of the cube roots of the first 64 primes.
fn rounds() -> [u32; 64] {
    const ROUNDS: [u32; 64] = {
        let mut out = [0; 64];
        let (mut number, mut count) = (2u128, 0);
        while count < 64 {
            let (mut divisor, mut prime) = (2, true);
            while divisor * divisor <= number {
                prime &= !number.is_multiple_of(divisor);
                divisor += 1;
            }
            if prime {
                // The largest root with root^3 <= number * 2^96, bit by bit: the cube root times 2^32.
                let (mut root, mut bit) = (0u128, 1u128 << 35);
                while bit > 0 {
                    let next = root | bit;
                    if next * next * next <= number << 96 {
                        root = next;
                    }
                    bit >>= 1;
                }
                out[count] = root as u32;
                count += 1;
            }
            number += 1;
        }
        out
    };
    ROUNDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_abc() {
        // The example of FIPS 180-2, appendix B.1.
        let mut block = [0; 16];
        (block[0], block[15]) = (0x6162_6380, 24);
        let mut state = START;
        compress(&mut state, block);
        let digest =
            [0xba78_16bf, 0x8f01_cfea, 0x4141_40de, 0x5dae_2223, 0xb003_61a3, 0x9617_7a9c, 0xb410_ff61, 0xf200_15ad];
        assert_eq!(state, digest);
    }

    #[test]
    fn philox_of_zeros_and_ones() {
        // Known answers published with the generator.
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn normal_distribution() {
        assert!((normal(0.0) - 0.5).abs() < 1e-7);
        assert!((normal(1.96) - 0.975).abs() < 1e-5);
        assert!((normal(-1.0) - 0.158_655).abs() < 1e-6);
    }
}
