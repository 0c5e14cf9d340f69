"""Warp: kernels from Python as PTX, and the kernels of its library, with CUDA's runtime linked into it."""

import numpy as np
import warp as wp
from case import case, heated, network, rng, run, trained

wp.config.cuda_output = "ptx"
wp.config.quiet = True
wp.init()
DEVICE = "cuda:0"


def up(array, **more):
    return wp.array(array, device=DEVICE, **more)


@wp.kernel
def product(a: wp.array2d(dtype=float), b: wp.array2d(dtype=float), c: wp.array2d(dtype=float)):
    i, j = wp.tid()
    total = float(0.0)
    for k in range(a.shape[1]):
        total += a[i, k] * b[k, j]
    c[i, j] = total


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((70, 50)).astype(np.float32)
    b = random.standard_normal((50, 90)).astype(np.float32)
    c = wp.zeros((70, 90), dtype=float, device=DEVICE)
    wp.launch(product, dim=c.shape, inputs=[up(a), up(b), c], device=DEVICE)
    return [(c.numpy(), a @ b, 1e-4)]


@wp.kernel
def total(a: wp.array(dtype=float), out: wp.array(dtype=float)):
    wp.atomic_add(out, 0, a[wp.tid()])


@case
def reduction():
    values = rng().random(10007, dtype=np.float32)
    out = wp.zeros(1, dtype=float, device=DEVICE)
    wp.launch(total, dim=values.size, inputs=[up(values), out], device=DEVICE)
    scanned = wp.zeros(values.size, dtype=int, device=DEVICE)
    counts = rng().integers(0, 9, values.size, dtype=np.int32)
    wp.utils.array_scan(up(counts, dtype=int), scanned, inclusive=True)
    return [
        (out.numpy(), [values.sum(dtype=np.float64)], 1e-4),
        (wp.utils.array_sum(up(values)), values.sum(dtype=np.float64), 1e-4),
        (scanned.numpy(), np.cumsum(counts), 0),
    ]


@case
def sort():
    n = 3000
    keys = np.zeros(2 * n, np.int32)
    keys[:n] = rng().permutation(n)
    values = np.arange(2 * n, dtype=np.int32)
    on_device, places = up(keys, dtype=int), up(values, dtype=int)
    wp.utils.radix_sort_pairs(on_device, places, n)
    return [(on_device.numpy()[:n], np.sort(keys[:n]), 0), (places.numpy()[:n], np.argsort(keys[:n]), 0)]


@wp.kernel
def rectify(p: wp.array2d(dtype=float), h: wp.array2d(dtype=float)):
    i, j = wp.tid()
    h[i, j] = wp.max(p[i, j], 0.0)


@wp.kernel
def error(p: wp.array2d(dtype=float), y: wp.array2d(dtype=float), loss: wp.array(dtype=float)):
    i, j = wp.tid()
    d = p[i, j] - y[i, j]
    wp.atomic_add(loss, 0, d * d / 64.0)


@case
def training_step():
    x, y, w1, w2 = network()
    d1, d2 = up(w1, requires_grad=True), up(w2, requires_grad=True)
    s = wp.zeros((64, 48), dtype=float, device=DEVICE, requires_grad=True)
    h = wp.zeros((64, 48), dtype=float, device=DEVICE, requires_grad=True)
    p = wp.zeros((64, 8), dtype=float, device=DEVICE, requires_grad=True)
    loss = wp.zeros(1, dtype=float, device=DEVICE, requires_grad=True)
    with wp.Tape() as tape:
        wp.launch(product, dim=s.shape, inputs=[up(x), d1, s], device=DEVICE)
        wp.launch(rectify, dim=h.shape, inputs=[s, h], device=DEVICE)
        wp.launch(product, dim=p.shape, inputs=[h, d2, p], device=DEVICE)
        wp.launch(error, dim=p.shape, inputs=[p, up(y), loss], device=DEVICE)
    tape.backward(loss)
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [
        (-0.5 * d1.grad.numpy(), right[0] - w1, 1e-4),
        (-0.5 * d2.grad.numpy(), right[1] - w2, 1e-4),
    ]


@wp.kernel
def heat(u: wp.array2d(dtype=float), v: wp.array2d(dtype=float)):
    i, j = wp.tid()
    if i > 0 and i < u.shape[0] - 1 and j > 0 and j < u.shape[1] - 1:
        v[i, j] = u[i, j] + 0.2 * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4.0 * u[i, j])


@case
def physics_step():
    start = rng().random((65, 70), dtype=np.float32)
    u, v = up(start), up(start)
    for _ in range(20):
        wp.launch(heat, dim=u.shape, inputs=[u, v], device=DEVICE)
        u, v = v, u
    return [(u.numpy() - start, heated(start, 20) - start, 1e-5)]


@case
def captured_steps():
    start = rng().random((65, 70), dtype=np.float32)
    u, v = up(start), up(start)
    wp.load_module(device=DEVICE)
    with wp.ScopedCapture(device=DEVICE) as capture:
        wp.launch(heat, dim=u.shape, inputs=[u, v], device=DEVICE)
        wp.launch(heat, dim=u.shape, inputs=[v, u], device=DEVICE)
    for _ in range(10):
        wp.capture_launch(capture.graph)
    return [(u.numpy() - start, heated(start, 20) - start, 1e-5)]


run()
