// Sums of n numbers, one a block; a second launch of one block sums those.
constexpr unsigned THREADS = 256, ALL = 0xffffffff;

extern "C" __global__ void __launch_bounds__(THREADS)
reduce(unsigned n, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float warps[THREADS / 32];
    unsigned t = threadIdx.x;
    float sum = 0;
    for (unsigned i = blockIdx.x * THREADS + t; i < n; i += gridDim.x * THREADS) sum += in[i];
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_down_sync(ALL, sum, distance);
    if (t % 32 == 0) warps[t / 32] = sum;
    __syncthreads();
    if (t < 32) {
        sum = t < THREADS / 32 ? warps[t] : 0;
        for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_down_sync(ALL, sum, distance);
        if (t == 0) out[blockIdx.x] = sum;
    }
}
