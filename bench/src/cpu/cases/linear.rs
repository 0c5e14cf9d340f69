//! Linear algebra.

use super::super::case::{Argument, Case, Expected, Outcome, Random, Size, of_f32s, of_u32s};
use super::blocks;
use Argument::{Buffer, F32, U32};

pub(super) fn saxpy(size: Size) -> Case {
    let n = size.pick(5000, 200_000, 16_000_000u32);
    let a = 1.75f32;
    let mut random = Random::new(1);
    let (x, y) = (random.f32s(n as usize, -1.0, 1.0), random.f32s(n as usize, -1.0, 1.0));
    let (x_bytes, y_bytes) = (of_f32s(&x), of_f32s(&y));
    let reference = move || {
        let values = x.iter().zip(&y).map(|(x, y)| f64::from(a) * f64::from(*x) + f64::from(*y));
        Outcome::new(vec![Expected::near(values, 1e-6, 1e-6)]).flops(2.0 * f64::from(n))
    };
    Case::new(reference).read(x_bytes).update(y_bytes).step(
        "saxpy",
        [blocks(n, 256), 1, 1],
        [256, 1, 1],
        &[U32(n), F32(a), Buffer(0), Buffer(1)],
    )
}

pub(super) fn matmul_tiled(size: Size) -> Case {
    matmul("matmul_tiled", size.pick(32, 96, 512), 16)
}

pub(super) fn matmul_blocked(size: Size) -> Case {
    matmul("matmul_blocked", size.pick(64, 128, 1024), 64)
}

fn matmul(function: &'static str, n: u32, tile: u32) -> Case {
    let elements = (n * n) as usize;
    let mut random = Random::new(2);
    let (a, b) = (random.f32s(elements, -1.0, 1.0), random.f32s(elements, -1.0, 1.0));
    let (a_bytes, b_bytes) = (of_f32s(&a), of_f32s(&b));
    let reference = move || {
        let product = product(n as usize, &a, &b);
        Outcome::new(vec![Expected::near(product, 1e-5, 1e-4)]).flops(2.0 * f64::from(n).powi(3))
    };
    let grid = [n / tile, n / tile, 1];
    let arguments = [U32(n), Buffer(0), Buffer(1), Buffer(2)];
    Case::new(reference).read(a_bytes).read(b_bytes).write(elements).step(function, grid, [16, 16, 1], &arguments)
}

/// The product of two square matrices by rows.
fn product(n: usize, a: &[f32], b: &[f32]) -> Vec<f64> {
    let b: Vec<f64> = b.iter().map(|value| f64::from(*value)).collect();
    let mut out = vec![0.0; n * n];
    for (row, out) in out.chunks_exact_mut(n).enumerate() {
        for (k, b) in b.chunks_exact(n).enumerate() {
            let factor = f64::from(a[row * n + k]);
            for (out, b) in out.iter_mut().zip(b) {
                *out += factor * b;
            }
        }
    }
    out
}

/// Rows become columns.
fn transposed<T: Copy>(n: usize, matrix: &[T]) -> Vec<T> {
    (0..n * n).map(|i| matrix[i % n * n + i / n]).collect()
}

pub(super) fn matmul_f16(size: Size) -> Case {
    let n = size.pick(64, 128, 1024u32);
    let elements = (n * n) as usize;
    let mut random = Random::new(3);
    // Multiples of 2^-10 below 1 are exact in f16.
    let mut numbers = || -> Vec<f32> { (0..elements).map(|_| random.below(2047) as f32 / 1024.0 - 1.0).collect() };
    let (a, b) = (numbers(), numbers());
    let halves = |values: &[f32]| values.iter().flat_map(|value| half(*value).to_ne_bytes()).collect();
    let (a_bytes, b_bytes) = (halves(&a), halves(&transposed(n as usize, &b)));
    let reference = move || {
        let product = product(n as usize, &a, &b);
        Outcome::new(vec![Expected::near(product, 1e-5, 1e-3)]).flops(2.0 * f64::from(n).powi(3))
    };
    let (grid, arguments) = ([n / 64, n / 64, 1], [U32(n), Buffer(0), Buffer(1), Buffer(2)]);
    Case::new(reference).read(a_bytes).read(b_bytes).write(elements).step("matmul_f16", grid, [128, 1, 1], &arguments)
}

/// The bits in f16 of a number that f16 represents exactly, and that is zero or not subnormal there.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16) as u16 & 0x8000;
    if value == 0.0 {
        return sign;
    }
    // The exponents' biases differ by 127 - 15.
    sign | (((bits >> 13) & 0x3_ffff) as u16).wrapping_sub(112 << 10)
}

pub(super) fn matmul_int8(size: Size) -> Case {
    let n = size.pick(64, 128, 1024u32);
    let elements = (n * n) as usize;
    let mut random = Random::new(4);
    let mut numbers = || -> Vec<i8> { (0..elements).map(|_| random.u32() as i8).collect() };
    let (a, b) = (numbers(), numbers());
    let bytes = |values: &[i8]| values.iter().map(|value| *value as u8).collect();
    let (a_bytes, b_bytes) = (bytes(&a), bytes(&transposed(n as usize, &b)));
    let reference = move || {
        let n = n as usize;
        let mut out = vec![0i32; n * n];
        for (row, out) in out.chunks_exact_mut(n).enumerate() {
            for (k, b) in b.chunks_exact(n).enumerate() {
                let factor = i32::from(a[row * n + k]);
                for (out, b) in out.iter_mut().zip(b) {
                    *out += factor * i32::from(*b);
                }
            }
        }
        let expected = Expected::Exact(out.iter().map(|value| *value as u32).collect());
        Outcome::new(vec![expected]).integer_ops(2.0 * (n as f64).powi(3))
    };
    let (grid, arguments) = ([n / 64, n / 64, 1], [U32(n), Buffer(0), Buffer(1), Buffer(2)]);
    Case::new(reference).read(a_bytes).read(b_bytes).write(elements).step("matmul_int8", grid, [128, 1, 1], &arguments)
}

pub(super) fn spmv(size: Size) -> Case {
    let rows = size.pick(300, 10_000, 500_000u32);
    let mut random = Random::new(5);
    let mut starts = vec![0];
    for row in 0..rows as usize {
        starts.push(starts[row] + random.below(33));
    }
    let entries = starts[rows as usize] as usize;
    let columns: Vec<u32> = (0..entries).map(|_| random.below(rows)).collect();
    let (values, x) = (random.f32s(entries, -1.0, 1.0), random.f32s(rows as usize, -1.0, 1.0));
    let inputs = [of_u32s(&starts), of_u32s(&columns), of_f32s(&values), of_f32s(&x)];
    let reference = move || {
        let sums = starts.windows(2).map(|ends| {
            let row = ends[0] as usize..ends[1] as usize;
            row.map(|i| f64::from(values[i]) * f64::from(x[columns[i] as usize])).sum::<f64>()
        });
        Outcome::new(vec![Expected::near(sums, 1e-5, 1e-5)]).flops(2.0 * entries as f64)
    };
    let arguments = [U32(rows), Buffer(0), Buffer(1), Buffer(2), Buffer(3), Buffer(4)];
    let case = inputs.into_iter().fold(Case::new(reference), Case::read).write(rows as usize);
    case.step("spmv", [blocks(rows, 256), 1, 1], [256, 1, 1], &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves() {
        assert_eq!(half(0.0), 0);
        assert_eq!(half(1.0), 0x3c00);
        assert_eq!(half(-1.0), 0xbc00);
        assert_eq!(half(0.5), 0x3800);
        assert_eq!(half(1023.0 / 1024.0), 0x3bfe);
        assert_eq!(half(1.0 / 1024.0), 0x1400);
    }

    #[test]
    fn products() {
        assert_eq!(product(2, &[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]), [19.0, 22.0, 43.0, 50.0]);
        assert_eq!(transposed(2, &[1, 2, 3, 4]), [1, 3, 2, 4]);
    }
}
