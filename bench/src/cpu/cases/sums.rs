//! Reductions, scans, histograms and sorting.

use super::super::case::{Argument, Case, Expected, Outcome, Random, Size, of_f32s, of_u32s};
use Argument::{Buffer, U32};

pub(super) fn reduce(size: Size) -> Case {
    let n = size.pick(5000, 300_000, 16_000_000u32);
    let groups = size.pick(4, 16, 128u32);
    let numbers = Random::new(6).f32s(n as usize, 0.0, 1.0);
    let bytes = of_f32s(&numbers);
    let reference = move || {
        let total: f64 = numbers.iter().map(|value| f64::from(*value)).sum();
        // Each block takes 256 numbers in turn.
        let mut parts = vec![0.0; groups as usize];
        for (turn, values) in numbers.chunks(256).enumerate() {
            parts[turn % groups as usize] += values.iter().map(|value| f64::from(*value)).sum::<f64>();
        }
        Outcome::new(vec![Expected::near(parts, 1e-5, 0.0), Expected::near([total], 1e-5, 0.0)]).flops(f64::from(n))
    };
    Case::new(reference)
        .read(bytes)
        .write(groups as usize)
        .write(1)
        .step("reduce", [groups, 1, 1], [256, 1, 1], &[U32(n), Buffer(0), Buffer(1)])
        .step("reduce", [1, 1, 1], [256, 1, 1], &[U32(groups), Buffer(1), Buffer(2)])
}

pub(super) fn block_scan(size: Size) -> Case {
    let tiles = size.pick(3, 100, 8192u32);
    let numbers = Random::new(7).u32s(tiles as usize * 1024);
    let bytes = of_u32s(&numbers);
    let reference = move || {
        let mut sums = numbers;
        let mut totals = Vec::new();
        for tile in sums.chunks_exact_mut(1024) {
            let mut sum = 0u32;
            for value in tile {
                sum = sum.wrapping_add(*value);
                *value = sum;
            }
            totals.push(sum);
        }
        let additions = sums.len() as f64;
        Outcome::new(vec![Expected::Exact(sums), Expected::Exact(totals)]).integer_ops(additions)
    };
    Case::new(reference).read(bytes).write(tiles as usize * 1024).write(tiles as usize).step(
        "block_scan",
        [tiles, 1, 1],
        [256, 1, 1],
        &[Buffer(0), Buffer(1), Buffer(2)],
    )
}

pub(super) fn histogram(size: Size) -> Case {
    let words = size.pick(4000, 100_000, 4_000_000u32);
    let groups = size.pick(4, 16, 128u32);
    let numbers = Random::new(8).u32s(words as usize);
    let bytes = of_u32s(&numbers);
    let reference = move || {
        let mut bins = vec![0; 256];
        for byte in numbers.iter().flat_map(|word| word.to_ne_bytes()) {
            bins[usize::from(byte)] += 1;
        }
        Outcome::new(vec![Expected::Exact(bins)]).integer_ops(4.0 * f64::from(words))
    };
    Case::new(reference).read(bytes).update(vec![0; 1024]).step(
        "histogram",
        [groups, 1, 1],
        [256, 1, 1],
        &[U32(words), Buffer(0), Buffer(1)],
    )
}

/// Keys that one block sorts.
const TILE: u32 = 1024;

pub(super) fn bitonic_sort(size: Size) -> Case {
    let n = size.pick(4096, 16_384, 1 << 20u32);
    let keys = Random::new(9).u32s(n as usize);
    let bytes = of_u32s(&keys);
    let (grid, block) = ([n / TILE, 1, 1], [TILE / 2, 1, 1]);
    let reference = move || {
        let mut sorted = keys;
        sorted.sort_unstable();
        // A stage for every pair of powers of two, each of n / 2 exchanges by a minimum and a maximum.
        let (length, levels) = (f64::from(n), f64::from(n.ilog2()));
        Outcome::new(vec![Expected::Exact(sorted)]).integer_ops(levels * (levels + 1.0) / 2.0 * length)
    };
    let mut case = Case::new(reference).update(bytes).step("sort_tiles", grid, block, &[Buffer(0)]);
    let mut run = 2 * TILE;
    while run <= n {
        let mut distance = run / 2;
        while distance >= TILE {
            case = case.step("merge_far", grid, block, &[U32(run), U32(distance), Buffer(0)]);
            distance /= 2;
        }
        case = case.step("merge_tiles", grid, block, &[U32(run), Buffer(0)]);
        run *= 2;
    }
    case
}

/// Numbers in a row of the two that follow.
const COLUMNS: usize = 1024;

pub(super) fn layer_norm(size: Size) -> Case {
    let rows = size.pick(4, 100, 8192u32);
    let mut random = Random::new(10);
    let numbers = random.f32s(rows as usize * COLUMNS, -3.0, 5.0);
    let (gamma, beta) = (random.f32s(COLUMNS, 0.5, 1.5), random.f32s(COLUMNS, -1.0, 1.0));
    let inputs = [of_f32s(&numbers), of_f32s(&gamma), of_f32s(&beta)];
    let reference = move || {
        let mut out = Vec::with_capacity(numbers.len());
        for row in numbers.chunks_exact(COLUMNS) {
            let mean = row.iter().map(|value| f64::from(*value)).sum::<f64>() / COLUMNS as f64;
            let squares: f64 = row.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
            let scale = 1.0 / (squares / COLUMNS as f64 + 1e-5).sqrt();
            let columns = row.iter().zip(&gamma).zip(&beta);
            out.extend(
                columns.map(|((x, gamma), beta)| (f64::from(*x) - mean) * scale * f64::from(*gamma) + f64::from(*beta)),
            );
        }
        let flops = 8.0 * out.len() as f64;
        Outcome::new(vec![Expected::near(out, 1e-5, 1e-5)]).flops(flops)
    };
    let case = inputs.into_iter().fold(Case::new(reference), Case::read).write(rows as usize * COLUMNS);
    case.step("layer_norm", [rows, 1, 1], [256, 1, 1], &[Buffer(0), Buffer(1), Buffer(2), Buffer(3)])
}

pub(super) fn softmax(size: Size) -> Case {
    let rows = size.pick(4, 100, 8192u32);
    let numbers = Random::new(11).f32s(rows as usize * COLUMNS, -8.0, 8.0);
    let bytes = of_f32s(&numbers);
    let reference = move || {
        let mut out = Vec::with_capacity(numbers.len());
        for row in numbers.chunks_exact(COLUMNS) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let powers: Vec<f64> = row.iter().map(|value| (f64::from(*value) - f64::from(largest)).exp()).collect();
            let sum: f64 = powers.iter().sum();
            out.extend(powers.iter().map(|power| power / sum));
        }
        // An exponential is about ten operations.
        let flops = 14.0 * out.len() as f64;
        Outcome::new(vec![Expected::near(out, 1e-5, 1e-9)]).flops(flops)
    };
    Case::new(reference).read(bytes).write(rows as usize * COLUMNS).step(
        "softmax",
        [rows, 1, 1],
        [256, 1, 1],
        &[Buffer(0), Buffer(1)],
    )
}
