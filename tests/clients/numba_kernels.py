"""numba-cuda: kernels from Python by way of NVVM, linked by cuLink."""

import math

import numpy as np
from case import case, heated, network, rng, run, trained
from numba import cuda, float32

TILE = 16


@cuda.jit
def product(a, b, c):
    left = cuda.shared.array((TILE, TILE), float32)
    right = cuda.shared.array((TILE, TILE), float32)
    x, y = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    total = float32(0)
    for k in range((a.shape[1] + TILE - 1) // TILE):
        left[ty, tx] = a[y, k * TILE + tx] if y < a.shape[0] and k * TILE + tx < a.shape[1] else 0
        right[ty, tx] = b[k * TILE + ty, x] if k * TILE + ty < b.shape[0] and x < b.shape[1] else 0
        cuda.syncthreads()
        for n in range(TILE):
            total += left[ty, n] * right[n, tx]
        cuda.syncthreads()
    if y < c.shape[0] and x < c.shape[1]:
        c[y, x] = total


def multiply(a, b):
    c = cuda.device_array((a.shape[0], b.shape[1]), np.float32)
    grid = (math.ceil(b.shape[1] / TILE), math.ceil(a.shape[0] / TILE))
    product[grid, (TILE, TILE)](a, b, c)
    return c


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((70, 50)).astype(np.float32)
    b = random.standard_normal((50, 90)).astype(np.float32)
    return [(multiply(cuda.to_device(a), cuda.to_device(b)).copy_to_host(), a @ b, 1e-4)]


@cuda.reduce
def total(a, b):
    return a + b


@cuda.jit
def block_sums(values, sums):
    i = cuda.grid(1)
    value = values[i] if i < values.size else 0.0
    offset = 16
    while offset > 0:
        value += cuda.shfl_down_sync(0xFFFFFFFF, value, offset)
        offset //= 2
    if cuda.laneid == 0:
        cuda.atomic.add(sums, 0, value)


@case
def reduction():
    values = rng().standard_normal(10007).astype(np.float32) + 1
    sums = cuda.to_device(np.zeros(1, np.float64))
    block_sums[(values.size + 127) // 128, 128](cuda.to_device(values.astype(np.float64)), sums)
    return [
        (total(cuda.to_device(values)), values.sum(dtype=np.float64), 1e-5),
        (sums.copy_to_host(), [values.sum(dtype=np.float64)], 1e-9),
    ]


@cuda.jit
def bitonic(values, k, j):
    i = cuda.grid(1)
    other = i ^ j
    if other > i:
        up = (i & k) == 0
        a, b = values[i], values[other]
        if (a > b) == up:
            values[i], values[other] = b, a


@case
def sort():
    values = rng().integers(-(2**31), 2**31 - 1, 4096, dtype=np.int32)
    on_device = cuda.to_device(values)
    k = 2
    while k <= values.size:
        j = k // 2
        while j:
            bitonic[values.size // 256, 256](on_device, k, j)
            j //= 2
        k *= 2
    return [(on_device.copy_to_host(), np.sort(values), 0)]


@cuda.jit
def rectify(h):
    y, x = cuda.grid(2)
    if y < h.shape[0] and x < h.shape[1]:
        h[y, x] = max(h[y, x], float32(0))


@cuda.jit
def subtract(p, y, scale):
    i, j = cuda.grid(2)
    if i < p.shape[0] and j < p.shape[1]:
        p[i, j] = (p[i, j] - y[i, j]) * scale


@cuda.jit
def masked(g, h):
    i, j = cuda.grid(2)
    if i < g.shape[0] and j < g.shape[1] and h[i, j] <= 0:
        g[i, j] = 0


@cuda.jit
def transpose(a, t):
    i, j = cuda.grid(2)
    if i < a.shape[0] and j < a.shape[1]:
        t[j, i] = a[i, j]


@cuda.jit
def descend(w, g, rate):
    i, j = cuda.grid(2)
    if i < w.shape[0] and j < w.shape[1]:
        w[i, j] -= rate * g[i, j]


def grid(a):
    return ((a.shape[0] + 15) // 16, (a.shape[1] + 15) // 16), (16, 16)


def turned(a):
    t = cuda.device_array((a.shape[1], a.shape[0]), np.float32)
    transpose[grid(a)](a, t)
    return t


@case
def training_step():
    x, y, w1, w2 = network()
    dx, dy, d1, d2 = map(cuda.to_device, (x, y, w1, w2))
    h = multiply(dx, d1)
    rectify[grid(h)](h)
    e = multiply(h, d2)
    subtract[grid(e)](e, dy, np.float32(2 / len(x)))
    g2 = multiply(turned(h), e)
    back = multiply(e, turned(d2))
    masked[grid(back)](back, h)
    g1 = multiply(turned(dx), back)
    descend[grid(d1)](d1, g1, np.float32(0.5))
    descend[grid(d2)](d2, g2, np.float32(0.5))
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [(d1.copy_to_host() - w1, right[0] - w1, 1e-4), (d2.copy_to_host() - w2, right[1] - w2, 1e-4)]


@cuda.jit
def heat(u, v):
    i, j = cuda.grid(2)
    if 0 < i < u.shape[0] - 1 and 0 < j < u.shape[1] - 1:
        v[i, j] = u[i, j] + float32(0.2) * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])


@case
def physics_step():
    start = rng().random((65, 70), dtype=np.float32)
    u, v = cuda.to_device(start), cuda.to_device(start)
    stream = cuda.stream()
    for _ in range(20):
        heat[(*grid(u), stream)](u, v)
        u, v = v, u
    stream.synchronize()
    return [(u.copy_to_host() - start, heated(start, 20) - start, 1e-5)]


run()
