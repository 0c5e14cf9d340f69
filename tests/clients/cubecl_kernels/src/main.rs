//! cubecl: kernels from Rust by way of NVRTC's PTX, compared with plain Rust.

mod kernels;
mod sys;

use cubecl::cuda::{CudaDevice, CudaRuntime};
use cubecl::prelude::*;
use std::process::ExitCode;

type Client = ComputeClient<<CudaRuntime as Runtime>::Server, <CudaRuntime as Runtime>::Channel>;

/// Numbers that look like chance, from -1 to 1.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn differs(got: &[f32], right: &[f32], most: f32) -> Option<String> {
    // What is no number is not near anything.
    let far = got.iter().zip(right).filter(|(a, b)| !((*a - *b).abs() <= most)).count();
    let same = got.len() == right.len() && far == 0 && right.iter().any(|value| *value != 0.0);
    (!same).then(|| format!("{far} of {} differ", right.len()))
}

fn product(a: &[f32], b: &[f32], n: usize, k: usize) -> Vec<f32> {
    let at = |i: usize| (0..k).map(|s| a[i / n * k + s] * b[s * n + i % n]).sum();
    (0..a.len() / k * n).map(at).collect()
}

fn matrix_product(client: &Client) -> Option<String> {
    let (m, n, k) = (70, 90, 50);
    let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
    differs(&sys::product(client, &a, &b, m, n, k), &product(&a, &b, n, k), 1e-4)
}

fn reduction(client: &Client) -> Option<String> {
    let values = numbers(10_007, 3);
    let sum = sys::sums(client, &values).iter().sum::<f32>();
    differs(&[sum], &[values.iter().map(|value| f64::from(*value)).sum::<f64>() as f32], 1e-2)
}

fn sort(client: &Client) -> Option<String> {
    let mut values = numbers(2048, 4);
    let sorted = sys::sort(client, &values);
    values.sort_by(f32::total_cmp);
    differs(&sorted, &values, 0.0)
}

/// A layer with its activation, and one step down its squared error.
fn training_step(client: &Client) -> Option<String> {
    let (m, n, k) = (64, 8, 32);
    let (x, y, w) = (numbers(m * k, 5), numbers(m * n, 6), numbers(k * n, 7));
    let turned = |a: &[f32], rows: usize, columns: usize| -> Vec<f32> {
        (0..a.len()).map(|i| a[i % rows * columns + i / rows]).collect()
    };
    let error =
        |p: &[f32]| -> Vec<f32> { p.iter().zip(&y).map(|(p, y)| (p.max(0.0) - y) * f32::from(*p > 0.0)).collect() };
    let right = product(&turned(&x, m, k), &error(&product(&x, &w, n, k)), n, m);
    let guess = sys::product(client, &x, &w, m, n, k);
    let step = sys::product(client, &turned(&x, m, k), &sys::error(client, &guess, &y), k, n, m);
    differs(&step, &right, 1e-3)
}

fn physics_step(client: &Client) -> Option<String> {
    let (rows, columns, steps) = (65, 70, 20);
    let start = numbers(rows * columns, 8);
    let mut u = start.clone();
    for _ in 0..steps {
        let at = |i: usize| match (i / columns, i % columns) {
            (r, c) if r == 0 || c == 0 || r == rows - 1 || c == columns - 1 => u[i],
            _ => u[i] + 0.2 * (u[i + columns] + u[i - columns] + u[i + 1] + u[i - 1] - 4.0 * u[i]),
        };
        u = (0..u.len()).map(at).collect();
    }
    let change = |u: &[f32]| -> Vec<f32> { u.iter().zip(&start).map(|(a, b)| a - b).collect() };
    differs(&change(&sys::heat(client, &start, rows, columns, steps)), &change(&u), 1e-4)
}

fn main() -> ExitCode {
    type Case = (&'static str, fn(&Client) -> Option<String>);
    let cases: [Case; 5] = [
        ("matrix_product", matrix_product),
        ("reduction", reduction),
        ("sort", sort),
        ("training_step", training_step),
        ("physics_step", physics_step),
    ];
    let client = CudaRuntime::client(&CudaDevice::default());
    let mut failed = false;
    for (name, case) in cases {
        let wrong = case(&client);
        failed |= wrong.is_some();
        println!("{} {name} {}", if wrong.is_some() { "FAILED" } else { "ok" }, wrong.unwrap_or_default());
    }
    ExitCode::from(u8::from(failed))
}
