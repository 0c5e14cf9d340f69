// Kernels that go on until the word at `stop` is not 0: with barriers, alone, and with barriers of the whole grid.
#include <cooperative_groups.h>

constexpr unsigned THREADS = 128;

extern "C" __global__ void __launch_bounds__(THREADS) meeting(const volatile unsigned* stop, float* out) {
    __shared__ float tile[THREADS];
    float sum = threadIdx.x;
    while (!*stop) {
        tile[threadIdx.x] = sum;
        __syncthreads();
        for (unsigned k = 0; k < 16; ++k) sum = fmaf(tile[(threadIdx.x + k) % THREADS], 0.25f, sum * 0.5f);
        __syncthreads();
    }
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) alone(const volatile unsigned* stop, float* out) {
    float sum = threadIdx.x;
    while (!*stop) {
        for (unsigned k = 0; k < 16; ++k) sum = fmaf(sum, 0.75f, float(k));
    }
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS) grid(const volatile unsigned* stop, float* out) {
    auto all = cooperative_groups::this_grid();
    float sum = threadIdx.x;
    unsigned place = blockIdx.x * THREADS + threadIdx.x;
    while (!*stop) {
        out[place] = sum;
        all.sync();
        sum = fmaf(out[(place + THREADS) % (gridDim.x * THREADS)], 0.25f, sum * 0.5f);
        all.sync();
    }
    out[place] = sum;
}
