use cubecl::prelude::*;

#[cube(launch)]
pub(crate) fn product(a: &Array<f32>, b: &Array<f32>, c: &mut Array<f32>, #[comptime] n: u32, #[comptime] k: u32) {
    if ABSOLUTE_POS < c.len() {
        let (row, column) = (ABSOLUTE_POS / n, ABSOLUTE_POS % n);
        let mut sum = 0.0f32;
        for i in 0..k {
            sum += a[row * k + i] * b[i * n + column];
        }
        c[ABSOLUTE_POS] = sum;
    }
}

/// The sum of each cube's elements, by way of shared memory.
#[cube(launch)]
pub(crate) fn sums(a: &Array<f32>, out: &mut Array<f32>, #[comptime] size: u32) {
    let mut parts = SharedMemory::<f32>::new(size);
    let mut mine = 0.0f32;
    if ABSOLUTE_POS < a.len() {
        mine = a[ABSOLUTE_POS];
    }
    parts[UNIT_POS] = mine;
    let half = RuntimeCell::<u32>::new(size / 2);
    while half.read() > 0 {
        sync_cube();
        if UNIT_POS < half.read() {
            let other = parts[UNIT_POS + half.read()];
            parts[UNIT_POS] += other;
        }
        half.store(half.read() / 2);
    }
    if UNIT_POS == 0 {
        out[CUBE_POS] = parts[0];
    }
}

/// One step of a bitonic sort.
#[cube(launch)]
pub(crate) fn exchange(a: &mut Array<f32>, k: u32, j: u32) {
    let i = ABSOLUTE_POS;
    let other = i ^ j;
    if other > i {
        let (x, y) = (a[i], a[other]);
        let up = (i & k) == 0;
        if (x > y) == up {
            a[i] = y;
            a[other] = x;
        }
    }
}

#[cube(launch)]
pub(crate) fn error(p: &Array<f32>, y: &Array<f32>, out: &mut Array<f32>) {
    if ABSOLUTE_POS < out.len() {
        let mut value = 0.0f32;
        if p[ABSOLUTE_POS] > 0.0 {
            value = p[ABSOLUTE_POS] - y[ABSOLUTE_POS];
        }
        out[ABSOLUTE_POS] = value;
    }
}

#[cube(launch)]
pub(crate) fn heat(u: &Array<f32>, v: &mut Array<f32>, #[comptime] rows: u32, #[comptime] columns: u32) {
    if ABSOLUTE_POS < u.len() {
        let (row, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        let i = ABSOLUTE_POS;
        let mut value = u[i];
        if row > 0 && column > 0 && row < rows - 1 && column < columns - 1 {
            value += 0.2 * (u[i + columns] + u[i - columns] + u[i + 1] + u[i - 1] - 4.0 * u[i]);
        }
        v[i] = value;
    }
}
