// Counts by atomics: in global memory with many and with few places, and in shared memory with a histogram a warp.
constexpr unsigned THREADS = 256, BINS = 64;

extern "C" __global__ void __launch_bounds__(THREADS)
count_global(unsigned n, unsigned places, const unsigned* __restrict__ in, unsigned* __restrict__ counts) {
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS)
        atomicAdd(&counts[__umulhi(in[i], places)], 1);
}

extern "C" __global__ void __launch_bounds__(THREADS)
count_warps(unsigned n, const unsigned* __restrict__ in, unsigned* __restrict__ counts) {
    __shared__ unsigned own[THREADS / 32][BINS];
    unsigned t = threadIdx.x, warp = t / 32;
    for (unsigned i = t; i < THREADS / 32 * BINS; i += THREADS) own[i / BINS][i % BINS] = 0;
    __syncthreads();
    for (unsigned i = blockIdx.x * THREADS + t; i < n; i += gridDim.x * THREADS) atomicAdd(&own[warp][in[i] >> 26], 1);
    __syncthreads();
    if (t < BINS) {
        unsigned sum = 0;
        for (unsigned i = 0; i < THREADS / 32; ++i) sum += own[i][t];
        atomicAdd(&counts[t], sum);
    }
}
