"""CuPy: its own kernels through NVRTC as PTX, and the kernels of CUB and Thrust in its libraries."""

import cupy as cp
import numpy as np
from case import case, heated, network, rng, run, trained


# cuBLAS holds machine code alone: products are made of a kernel of our own.
PRODUCT = cp.RawKernel(
    r"""
extern "C" __global__ void product(const float* a, const float* b, float* c, int m, int n, int k) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= n || y >= m) return;
    float total = 0;
    for (int i = 0; i < k; ++i) total += a[y * k + i] * b[i * n + x];
    c[y * n + x] = total;
}
""",
    "product",
)


def multiply(a, b):
    a, b = cp.ascontiguousarray(a), cp.ascontiguousarray(b)
    (m, k), n = a.shape, b.shape[1]
    c = cp.empty((m, n), cp.float32)
    PRODUCT(((n + 15) // 16, (m + 15) // 16), (16, 16), (a, b, c, np.int32(m), np.int32(n), np.int32(k)))
    return c


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((70, 50)).astype(np.float32)
    b = random.standard_normal((50, 90)).astype(np.float32)
    return [(multiply(cp.asarray(a), cp.asarray(b)).get(), a @ b, 1e-4)]


@case
def reduction():
    values = rng().random((300, 70), dtype=np.float32)
    on_device = cp.asarray(values)
    return [
        (on_device.sum().get(), values.sum(dtype=np.float64), 1e-5),
        (on_device.max(axis=0).get(), values.max(axis=0), 0),
        (on_device.mean(axis=1).get(), values.mean(axis=1), 1e-5),
        (cp.argmin(on_device, axis=1).get(), values.argmin(axis=1), 0),
    ]


@case
def sort():
    values = rng().integers(-(2**31), 2**31 - 1, 5000, dtype=np.int32)
    on_device = cp.asarray(values)
    return [
        (cp.sort(on_device).get(), np.sort(values), 0),
        (cp.argsort(on_device).get(), np.argsort(values, kind="stable"), 0),
        (cp.unique(on_device % 100).get(), np.unique(values % 100), 0),
    ]


@case
def scan_and_select():
    values = rng().integers(0, 9, 7000, dtype=np.int32)
    on_device = cp.asarray(values)
    return [
        (cp.cumsum(on_device).get(), np.cumsum(values), 0),
        (on_device[on_device > 4].get(), values[values > 4], 0),
        (cp.bincount(on_device).get(), np.bincount(values), 0),
    ]


@case
def elementwise():
    values = rng().random(3000, dtype=np.float32) + np.float32(0.1)
    on_device = cp.asarray(values)
    return [
        (cp.sin(on_device).get(), np.sin(values), 1e-5),
        (cp.where(on_device > 0.5, cp.sqrt(on_device), cp.log(on_device)).get(), np.where(values > 0.5, np.sqrt(values), np.log(values)), 1e-5),
        ((on_device.astype(cp.float64) ** 3.5).get(), values.astype(np.float64) ** 3.5, 1e-12),
        (on_device.astype(cp.float16).get(), values.astype(np.float16), 0),
    ]


@case
def training_step():
    x, y, w1, w2 = network()
    dx, dy, d1, d2 = map(cp.asarray, (x, y, w1, w2))
    h = cp.maximum(multiply(dx, d1), 0)
    e = (multiply(h, d2) - dy) * cp.float32(2 / len(x))
    g2 = multiply(h.T, e)
    g1 = multiply(dx.T, multiply(e, d2.T) * (h > 0))
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [
        ((-0.5 * g1).get(), right[0] - w1, 1e-4),
        ((-0.5 * g2).get(), right[1] - w2, 1e-4),
    ]


@case
def physics_step():
    start = rng().random((65, 70), dtype=np.float32)
    u = cp.asarray(start)
    for _ in range(20):
        v = u.copy()
        v[1:-1, 1:-1] += cp.float32(0.2) * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        u = v
    return [(u.get() - start, heated(start, 20) - start, 1e-5)]


run()
