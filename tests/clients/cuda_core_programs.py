"""cuda-core and cuda-bindings: NVRTC's PTX by way of libraries, cuLaunchKernelEx, events and graphs."""

import numpy as np
from case import case, heated, network, rng, run, trained
from cuda.bindings import driver
from cuda.core import Device, LaunchConfig, Program, ProgramOptions, launch

device = Device()
device.set_current()
stream = device.create_stream()
SOURCE = r"""
extern "C" __global__ void product(const float* a, const float* b, float* c, int m, int n, int k, int at, int bt) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= n || y >= m) return;
    float total = 0;
    for (int i = 0; i < k; ++i) total += (at ? a[i * m + y] : a[y * k + i]) * (bt ? b[x * k + i] : b[i * n + x]);
    c[y * n + x] = total;
}
extern "C" __global__ void total(const float* a, double* out, int n) {
    __shared__ double sums[256];
    double mine = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) mine += a[i];
    sums[threadIdx.x] = mine;
    for (int half = 128; half; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) atomicAdd(out, sums[0]);
}
extern "C" __global__ void exchange(int* a, int k, int j) {
    int i = blockIdx.x * blockDim.x + threadIdx.x, o = i ^ j;
    if (o > i && (a[i] > a[o]) == !(i & k)) { int t = a[i]; a[i] = a[o]; a[o] = t; }
}
extern "C" __global__ void rectify(float* h, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && h[i] < 0) h[i] = 0;
}
extern "C" __global__ void error(float* p, const float* y, float scale, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) p[i] = (p[i] - y[i]) * scale;
}
extern "C" __global__ void masked(float* g, const float* h, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && h[i] <= 0) g[i] = 0;
}
extern "C" __global__ void heat(const float* u, float* v, int rows, int columns) {
    int j = blockIdx.x * blockDim.x + threadIdx.x, i = blockIdx.y * blockDim.y + threadIdx.y;
    if (i < 1 || j < 1 || i >= rows - 1 || j >= columns - 1) return;
    const float* at = u + i * columns + j;
    v[i * columns + j] = *at + 0.2f * (at[columns] + at[-columns] + at[1] + at[-1] - 4 * *at);
}
"""
module = Program(SOURCE, "c++", ProgramOptions(std="c++17", arch="sm_80")).compile(
    "ptx", name_expressions=()
)


def check(result):
    if result[0] != driver.CUresult.CUDA_SUCCESS:
        raise RuntimeError(driver.cuGetErrorName(result[0])[1])
    return result[1] if len(result) == 2 else result[1:]


class Buffer:
    def __init__(self, array):
        self.array = np.ascontiguousarray(array)
        self.pointer = check(driver.cuMemAlloc(self.array.nbytes))
        check(driver.cuMemcpyHtoD(self.pointer, self.array.ctypes.data, self.array.nbytes))

    def get(self):
        stream.sync()
        out = np.empty_like(self.array)
        check(driver.cuMemcpyDtoH(out.ctypes.data, self.pointer, out.nbytes))
        return out

    def __del__(self):
        driver.cuMemFree(self.pointer)


def start(name, grid, block, *arguments):
    plain = [int(a.pointer) if isinstance(a, Buffer) else a for a in arguments]
    launch(stream, LaunchConfig(grid=grid, block=block), module.get_kernel(name), *plain)


def along(name, count, *arguments):
    start(name, (count + 127) // 128, 128, *arguments, np.int32(count))


def multiply(a, b, m, n, k, a_turned=0, b_turned=0):
    c = Buffer(np.zeros((m, n), np.float32))
    sizes = map(np.int32, (m, n, k, a_turned, b_turned))
    start("product", ((n + 15) // 16, (m + 15) // 16), (16, 16), a, b, c, *sizes)
    return c


@case
def matrix_product():
    random = rng()
    a = random.standard_normal((70, 50)).astype(np.float32)
    b = random.standard_normal((50, 90)).astype(np.float32)
    return [(multiply(Buffer(a), Buffer(b), 70, 90, 50).get(), a @ b, 1e-4)]


@case
def reduction():
    values = rng().random(10007, dtype=np.float32)
    on_device, out = Buffer(values), Buffer(np.zeros(1))
    start("total", 4, 256, on_device, out, np.int32(values.size))
    return [(out.get(), [values.sum(dtype=np.float64)], 1e-9)]


@case
def sort():
    values = rng().integers(-(2**31), 2**31 - 1, 2048, dtype=np.int32)
    on_device = Buffer(values)
    k = 2
    while k <= values.size:
        j = k // 2
        while j:
            start("exchange", values.size // 128, 128, on_device, np.int32(k), np.int32(j))
            j //= 2
        k *= 2
    return [(on_device.get(), np.sort(values), 0)]


@case
def training_step():
    x, y, w1, w2 = network()
    dx, dy, d1, d2 = map(Buffer, (x, y, w1, w2))
    h = multiply(dx, d1, 64, 48, 32)
    along("rectify", 64 * 48, h)
    e = multiply(h, d2, 64, 8, 48)
    along("error", 64 * 8, e, dy, np.float32(2 / 64))
    g2 = multiply(h, e, 48, 8, 64, a_turned=1)
    back = multiply(e, d2, 64, 48, 8, b_turned=1)
    along("masked", 64 * 48, back, h)
    g1 = multiply(dx, back, 32, 48, 64, a_turned=1)
    right = trained(x, y, w1, w2, np.float32(0.5))
    return [(-0.5 * g1.get(), right[0] - w1, 1e-4), (-0.5 * g2.get(), right[1] - w2, 1e-4)]


@case
def physics_step():
    begin = rng().random((65, 70), dtype=np.float32)
    u, v = Buffer(begin), Buffer(begin)
    first = stream.record()
    for _ in range(20):
        start("heat", (5, 5), (16, 16), u, v, np.int32(65), np.int32(70))
        u, v = v, u
    last = stream.record()
    last.sync()
    return [(u.get() - begin, heated(begin, 20) - begin, 1e-5), (last.is_done and first.is_done, True, 0)]


run()
