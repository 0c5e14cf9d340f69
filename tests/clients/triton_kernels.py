"""Triton: PTX from MLIR, launched by its own driver, with masks, reductions, matrix units, tensor maps and atomics."""

import os
import pathlib

# Triton hands over what its assembler makes of the PTX: here that is the PTX.
for variable in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"):
    os.environ.setdefault(variable, str(pathlib.Path(__file__).with_name("ptx_as_it_is")))

import numpy as np
import triton
import triton.language as tl
from case import case, heated, network, rng, run, trained
from cuda.bindings import driver
from triton.tools.tensor_descriptor import TensorDescriptor


def check(result):
    if result[0] != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(driver.cuGetErrorName(result[0])[1])
    return result[1] if len(result) == 2 else result[1:]


check(driver.cuInit(0))
check(driver.cuCtxSetCurrent(check(driver.cuDevicePrimaryCtxRetain(check(driver.cuDeviceGet(0))))))


class Buffer:
    """What Triton wants of a tensor: an address and a type. Numbers that NumPy has not are given as their bits."""

    def __init__(self, array, dtype=None):
        self.array = np.ascontiguousarray(array)
        known = {"float32": tl.float32, "float16": tl.float16, "int32": tl.int32, "uint8": tl.uint8}
        self.dtype = dtype or known[self.array.dtype.name]
        self.pointer = check(driver.cuMemAlloc(self.array.nbytes))
        check(driver.cuMemcpyHtoD(self.pointer, self.array.ctypes.data, self.array.nbytes))

    def data_ptr(self):
        return int(self.pointer)

    def get(self):
        check(driver.cuCtxSynchronize())
        out = np.empty_like(self.array)
        check(driver.cuMemcpyDtoH(out.ctypes.data, self.pointer, out.nbytes))
        return out


def zeros(*shape, dtype=np.float32):
    return Buffer(np.zeros(shape, dtype))


@triton.jit
def product(a, b, c, m, n, k, sam, sak, sbk, sbn, BLOCK: tl.constexpr, DEEP: tl.constexpr):
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for start in range(0, k, DEEP):
        inner = start + tl.arange(0, DEEP)
        x = tl.load(a + rows[:, None] * sam + inner[None, :] * sak, mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0)
        y = tl.load(b + inner[:, None] * sbk + columns[None, :] * sbn, mask=(inner[:, None] < k) & (columns[None, :] < n), other=0.0)
        total += tl.dot(x, y, input_precision="ieee")
    tl.store(c + rows[:, None] * n + columns[None, :], total, mask=(rows[:, None] < m) & (columns[None, :] < n))


def multiply(a, b, m, n, k, a_strides, b_strides):
    c = zeros(m, n)
    grid = (triton.cdiv(m, 32), triton.cdiv(n, 32))
    product[grid](a, b, c, m, n, k, *a_strides, *b_strides, BLOCK=32, DEEP=32)
    return c


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((70, 50)).astype(np.float32)
    b = random.standard_normal((50, 90)).astype(np.float32)
    return [(multiply(Buffer(a), Buffer(b), 70, 90, 50, (50, 1), (90, 1)).get(), a @ b, 1e-4)]


@case
def half_product():
    random = rng()
    a = random.standard_normal((64, 64)).astype(np.float16)
    b = random.standard_normal((64, 64)).astype(np.float16)
    c = multiply(Buffer(a), Buffer(b), 64, 64, 64, (64, 1), (64, 1))
    return [(c.get(), a.astype(np.float32) @ b.astype(np.float32), 1e-3)]


@triton.jit
def wide_product_of(a, b, c, m, n, k, sbk, sbn, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, k, DEEP):
        inner = start + tl.arange(0, DEEP)
        x = tl.load(a + rows[:, None] * k + inner[None, :], mask=(rows[:, None] < m) & (inner[None, :] < k), other=0.0)
        y = tl.load(b + inner[:, None] * sbk + columns[None, :] * sbn, mask=(inner[:, None] < k) & (columns[None, :] < n), other=0.0)
        total = tl.dot(x, y, total, input_precision="tf32")
    tl.store(c + rows[:, None] * n + columns[None, :], total, mask=(rows[:, None] < m) & (columns[None, :] < n))


def rounded(values, bits):
    """Values with so many bits left out of an f32's."""
    whole = values.astype(np.float32).view(np.uint32)
    half = np.uint32((1 << bits - 1) - 1)
    return (whole + half + (whole >> bits & 1)) >> bits << bits


def by_warp_groups(a, b, shape, tiles, dtype, turned):
    """The product of matrices given as bits, and whether it was computed by products of warp groups."""
    (m, n, k), (rows, columns, deep) = shape, tiles
    c = zeros(m, n)
    b_strides = (1, k) if turned else (n, 1)
    grid = (triton.cdiv(m, rows), triton.cdiv(n, columns))
    tiles = {"ROWS": rows, "COLUMNS": columns, "DEEP": deep}
    compiled = wide_product_of[grid](Buffer(a, dtype), Buffer(b.T if turned else b, dtype), c, m, n, k, *b_strides, **tiles)
    return c.get(), "wgmma.mma_async" in compiled.asm["ptx"]


@case
def warp_group_products():
    random = rng()
    pairs = []

    def add(shape, tiles, dtype, turned, narrow, widen, tolerance):
        m, n, k = shape
        a, b = narrow(random.standard_normal((m, k))), narrow(random.standard_normal((k, n)))
        got, by_groups = by_warp_groups(a, b, shape, tiles, dtype, turned)
        right = widen(a).astype(np.float64) @ widen(b).astype(np.float64)
        pairs.extend([(got, right, tolerance), ([by_groups], [True], 0)])

    half = (lambda v: v.astype(np.float16), lambda v: v)
    bfloat = (lambda v: (rounded(v, 16) >> 16).astype(np.uint16), lambda v: (v.astype(np.uint32) << 16).view(np.float32))
    single = (lambda v: rounded(v, 13).view(np.float32), lambda v: v)
    quarter = (lambda v: (v.astype(np.float16).view(np.uint16) >> 8).astype(np.uint8), lambda v: (v.astype(np.uint16) << 8).view(np.float16))
    add((64, 64, 64), (64, 64, 64), None, False, *half, 1e-3)
    add((200, 136, 72), (128, 128, 64), None, True, *half, 1e-3)
    add((128, 128, 128), (64, 128, 64), tl.bfloat16, False, *bfloat, 1e-3)
    add((100, 256, 64), (128, 256, 32), tl.bfloat16, True, *bfloat, 1e-3)
    add((128, 128, 64), (64, 64, 32), None, True, *single, 1e-3)
    add((128, 64, 128), (128, 64, 64), tl.float8e5, True, *quarter, 2e-2)
    return pairs


@triton.jit
def boxes(a, b, c, m, n, k, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr):
    first = tl.make_tensor_descriptor(a, shape=[m, k], strides=[k, 1], block_shape=[ROWS, DEEP])
    second = tl.make_tensor_descriptor(b, shape=[k, n], strides=[n, 1], block_shape=[DEEP, COLUMNS])
    result = tl.make_tensor_descriptor(c, shape=[m, n], strides=[n, 1], block_shape=[ROWS, COLUMNS])
    row, column = tl.program_id(0) * ROWS, tl.program_id(1) * COLUMNS
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, k, DEEP):
        total = tl.dot(first.load([row, start]), second.load([start, column]), total)
    result.store([row, column], total)


@triton.jit
def boxes_given(first, second, result, k, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEEP: tl.constexpr):
    row, column = tl.program_id(0) * ROWS, tl.program_id(1) * COLUMNS
    total = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
    for start in range(0, k, DEEP):
        total = tl.dot(first.load([row, start]), second.load([start, column]), total)
    result.store([row, column], total)


@case
def tensor_descriptors():
    held = []

    def allocate(size, alignment, stream):
        held.append(Buffer(np.zeros(size, np.uint8)))
        return held[-1]

    triton.set_allocator(allocate)
    random = rng()
    m, n, k = 200, 136, 72
    a, b = random.standard_normal((m, k)).astype(np.float16), random.standard_normal((k, n)).astype(np.float16)
    right = a.astype(np.float64) @ b.astype(np.float64)
    tiles = {"ROWS": 128, "COLUMNS": 64, "DEEP": 64}
    grid = (triton.cdiv(m, 128), triton.cdiv(n, 64))
    da, db, of_kernel, of_host = Buffer(a), Buffer(b), zeros(m, n), zeros(m, n)
    compiled = boxes[grid](da, db, of_kernel, m, n, k, **tiles)
    shapes = ((da, [m, k], [128, 64]), (db, [k, n], [64, 64]), (of_host, [m, n], [128, 64]))
    maps = [TensorDescriptor(buffer, shape, [shape[1], 1], block) for buffer, shape, block in shapes]
    given = boxes_given[grid](*maps, k, **tiles)
    by_maps = ["cp.async.bulk.tensor" in code.asm["ptx"] for code in (compiled, given)]
    return [(of_kernel.get(), right, 1e-3), (of_host.get(), right, 1e-3), (by_maps, [True, True], 0)]


@triton.jit
def sums(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out, tl.sum(tl.load(x + i, mask=i < n, other=0.0)))


@triton.jit
def softmax(x, out, n, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)
    v = tl.load(x + row * n + i, mask=i < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v))
    tl.store(out + row * n + i, e / tl.sum(e), mask=i < n)


@case
def reduction():
    values = rng().random((20, 300), dtype=np.float32)
    out, soft = zeros(1), zeros(20, 300)
    sums[(triton.cdiv(6000, 512),)](Buffer(values), out, 6000, BLOCK=512)
    softmax[(20,)](Buffer(values), soft, 300, BLOCK=512)
    e = np.exp(values)
    return [(out.get(), [values.sum(dtype=np.float64)], 1e-5), (soft.get(), e / e.sum(1, keepdims=True), 1e-6)]


@triton.jit
def sorted_rows(x, out, N: tl.constexpr):
    i = tl.program_id(0) * N + tl.arange(0, N)
    tl.store(out + i, tl.sort(tl.load(x + i)))


@case
def sort():
    values = rng().integers(-(2**31), 2**31 - 1, (8, 256), dtype=np.int32)
    out = zeros(8, 256, dtype=np.int32)
    sorted_rows[(8,)](Buffer(values), out, N=256)
    return [(out.get(), np.sort(values, axis=1), 0)]


@triton.jit
def rectify(h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(h + i, tl.maximum(tl.load(h + i, mask=i < n), 0.0), mask=i < n)


@triton.jit
def error(p, y, scale, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(p + i, (tl.load(p + i, mask=i < n) - tl.load(y + i, mask=i < n)) * scale, mask=i < n)


@triton.jit
def masked(g, h, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    keep = tl.load(h + i, mask=i < n) > 0
    tl.store(g + i, tl.where(keep, tl.load(g + i, mask=i < n), 0.0), mask=i < n)


@case
def training_step():
    x, y, w1, w2 = network()
    dx, dy, d1, d2 = map(Buffer, (x, y, w1, w2))
    h = multiply(dx, d1, 64, 48, 32, (32, 1), (48, 1))
    rectify[(6,)](h, 64 * 48, BLOCK=512)
    e = multiply(h, d2, 64, 8, 48, (48, 1), (8, 1))
    error[(1,)](e, dy, 2 / 64, 64 * 8, BLOCK=512)
    g2 = multiply(h, e, 48, 8, 64, (1, 48), (8, 1))
    back = multiply(e, d2, 64, 48, 8, (8, 1), (1, 8))
    masked[(6,)](back, h, 64 * 48, BLOCK=512)
    g1 = multiply(dx, back, 32, 48, 64, (1, 32), (48, 1))
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [(-0.5 * g1.get(), right[0] - w1, 1e-4), (-0.5 * g2.get(), right[1] - w2, 1e-4)]


@triton.jit
def heat(u, v, rows, columns, BLOCK: tl.constexpr):
    i = tl.program_id(0)
    j = tl.arange(0, BLOCK)
    inside = (i > 0) & (i < rows - 1) & (j > 0) & (j < columns - 1)
    at = u + i * columns + j
    middle = tl.load(at, mask=inside)
    around = tl.load(at + columns, mask=inside) + tl.load(at - columns, mask=inside)
    around += tl.load(at + 1, mask=inside) + tl.load(at - 1, mask=inside)
    tl.store(v + i * columns + j, middle + 0.2 * (around - 4 * middle), mask=inside)


@case
def physics_step():
    start = rng().random((65, 70), dtype=np.float32)
    u, v = Buffer(start), Buffer(start)
    for _ in range(20):
        heat[(65,)](u, v, 65, 70, BLOCK=128)
        u, v = v, u
    return [(u.get() - start, heated(start, 20) - start, 1e-5)]


run()
