"""Taichi: PTX from LLVM, a large runtime module, its own memory pool and random numbers on the device."""

import numpy as np
import taichi as ti
from case import case, heated, network, rng, run, trained

ti.init(arch=ti.cuda, log_level=ti.WARN, random_seed=7)
if ti.cfg.arch != ti.cuda:
    raise SystemExit("taichi chose another device")


def field(array):
    made = ti.field(ti.f32, array.shape)
    made.from_numpy(array)
    return made


@ti.kernel
def product(a: ti.template(), b: ti.template(), c: ti.template()):
    for i, j in c:
        total = 0.0
        for k in range(a.shape[1]):
            total += a[i, k] * b[k, j]
        c[i, j] = total


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((60, 40)).astype(np.float32)
    b = random.standard_normal((40, 50)).astype(np.float32)
    c = ti.field(ti.f32, (60, 50))
    product(field(a), field(b), c)
    return [(c.to_numpy(), a @ b, 1e-4)]


@ti.kernel
def total(a: ti.template()) -> ti.f32:
    result = 0.0
    for i in a:
        result += a[i]
    return result


@case
def reduction():
    values = rng().random(10007, dtype=np.float32)
    return [(total(field(values)), values.sum(dtype=np.float64), 1e-4)]


@case
def sort():
    keys = rng().permutation(1000).astype(np.int32)
    on_device = ti.field(ti.i32, 1000)
    on_device.from_numpy(keys)
    ti.algorithms.parallel_sort(on_device)
    return [(on_device.to_numpy(), np.sort(keys), 0)]


@case
def training_step():
    x, y, w1, w2 = network()
    fx, fy = field(x), field(y)
    make = lambda array: ti.field(ti.f32, array.shape, needs_grad=True)
    f1, f2 = make(w1), make(w2)
    f1.from_numpy(w1)
    f2.from_numpy(w2)
    h = ti.field(ti.f32, (64, 48), needs_grad=True)
    p = ti.field(ti.f32, (64, 8), needs_grad=True)
    loss = ti.field(ti.f32, (), needs_grad=True)

    @ti.kernel
    def hidden():
        for i, j in h:
            s = 0.0
            for k in ti.static(range(32)):
                s += fx[i, k] * f1[k, j]
            h[i, j] = ti.max(s, 0.0)

    @ti.kernel
    def output():
        for i, j in p:
            for k in ti.static(range(48)):
                p[i, j] += h[i, k] * f2[k, j]

    @ti.kernel
    def error():
        for i, j in p:
            loss[None] += (p[i, j] - fy[i, j]) ** 2 / 64

    with ti.ad.Tape(loss):
        hidden()
        output()
        error()
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [
        (-0.5 * f1.grad.to_numpy(), right[0] - w1, 1e-4),
        (-0.5 * f2.grad.to_numpy(), right[1] - w2, 1e-4),
    ]


@ti.kernel
def heat(u: ti.template(), v: ti.template()):
    for i, j in u:
        if 0 < i < u.shape[0] - 1 and 0 < j < u.shape[1] - 1:
            v[i, j] = u[i, j] + 0.2 * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])


@case
def physics_step():
    start = rng().random((65, 70), dtype=np.float32)
    u, v = field(start), field(start)
    for _ in range(20):
        heat(u, v)
        u, v = v, u
    return [(u.to_numpy() - start, heated(start, 20) - start, 1e-5)]


@ti.kernel
def throw(n: ti.i32) -> ti.i32:
    inside = 0
    for _ in range(n):
        x, y = ti.random(), ti.random()
        if x * x + y * y < 1:
            inside += 1
    return inside


@case
def random_numbers():
    return [(4 * throw(200000) / 200000, np.pi, 0.02)]


run()
