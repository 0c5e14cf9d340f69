//! Launches: whoever hands over arrays by their lengths vouches for them.

use crate::Client;
use crate::kernels;
use cubecl::cuda::CudaRuntime;
use cubecl::prelude::*;
use cubecl::server::Handle;

const SIZE: usize = 128;

struct Array {
    handle: Handle,
    len: usize,
}

impl Array {
    fn of(client: &Client, values: &[f32]) -> Self {
        Self { handle: client.create(f32::as_bytes(values)), len: values.len() }
    }

    /// Not zeros: what no kernel writes must not look right.
    fn new(client: &Client, len: usize) -> Self {
        Self::of(client, &vec![f32::NAN; len])
    }

    fn argument(&self) -> ArrayArg<'_, CudaRuntime> {
        // SAFETY: the handle is that of so many elements.
        unsafe { ArrayArg::from_raw_parts::<f32>(&self.handle, self.len, 1) }
    }

    fn read(self, client: &Client) -> Vec<f32> {
        f32::from_bytes(&client.read_one(self.handle.binding())).to_vec()
    }
}

fn cubes(units: usize) -> (CubeCount, CubeDim) {
    (CubeCount::Static(units.div_ceil(SIZE) as u32, 1, 1), CubeDim::new(SIZE as u32, 1, 1))
}

pub(crate) fn product(client: &Client, a: &[f32], b: &[f32], m: usize, n: usize, k: usize) -> Vec<f32> {
    let (a, b, c) = (Array::of(client, a), Array::of(client, b), Array::new(client, m * n));
    let (count, dim) = cubes(m * n);
    let (left, right, out) = (a.argument(), b.argument(), c.argument());
    kernels::product::launch::<CudaRuntime>(client, count, dim, left, right, out, n as u32, k as u32);
    c.read(client)
}

pub(crate) fn sums(client: &Client, values: &[f32]) -> Vec<f32> {
    let (count, dim) = cubes(values.len());
    let (a, out) = (Array::of(client, values), Array::new(client, values.len().div_ceil(SIZE)));
    kernels::sums::launch::<CudaRuntime>(client, count, dim, a.argument(), out.argument(), SIZE as u32);
    out.read(client)
}

pub(crate) fn sort(client: &Client, values: &[f32]) -> Vec<f32> {
    let a = Array::of(client, values);
    let mut k = 2;
    while k <= values.len() as u32 {
        let mut j = k / 2;
        while j > 0 {
            let (count, dim) = cubes(values.len());
            let (outer, inner) = (ScalarArg::new(k), ScalarArg::new(j));
            kernels::exchange::launch::<CudaRuntime>(client, count, dim, a.argument(), outer, inner);
            j /= 2;
        }
        k *= 2;
    }
    a.read(client)
}

pub(crate) fn error(client: &Client, p: &[f32], y: &[f32]) -> Vec<f32> {
    let (count, dim) = cubes(p.len());
    let (p, y, out) = (Array::of(client, p), Array::of(client, y), Array::new(client, p.len()));
    kernels::error::launch::<CudaRuntime>(client, count, dim, p.argument(), y.argument(), out.argument());
    out.read(client)
}

pub(crate) fn heat(client: &Client, u: &[f32], rows: usize, columns: usize, steps: usize) -> Vec<f32> {
    let (mut u, mut v) = (Array::of(client, u), Array::new(client, u.len()));
    for _ in 0..steps {
        let (count, dim) = cubes(u.len);
        let (from, to) = (u.argument(), v.argument());
        kernels::heat::launch::<CudaRuntime>(client, count, dim, from, to, rows as u32, columns as u32);
        std::mem::swap(&mut u, &mut v);
    }
    u.read(client)
}
