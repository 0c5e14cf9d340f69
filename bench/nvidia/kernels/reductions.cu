// Reductions: 16 bytes a load, shuffles, one result a block.
constexpr unsigned THREADS = 256, ALL = 0xffffffff;

template <class T, class Join> __device__ T block_join(T value, T nothing, Join join) {
    __shared__ T warps[THREADS / 32];
    unsigned t = threadIdx.x;
    for (int distance = 16; distance > 0; distance /= 2) value = join(value, __shfl_down_sync(ALL, value, distance));
    if (t % 32 == 0) warps[t / 32] = value;
    __syncthreads();
    if (t < 32) {
        value = t < THREADS / 32 ? warps[t] : nothing;
        for (int distance = 4; distance > 0; distance /= 2) value = join(value, __shfl_down_sync(ALL, value, distance));
    }
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS)
reduce_vector(unsigned n, const float4* __restrict__ in, float* __restrict__ out) {
    float sum = 0;
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
        float4 v = in[i];
        sum += (v.x + v.y) + (v.z + v.w);
    }
    sum = block_join(sum, 0.0f, [](float a, float b) { return a + b; });
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
dot_double(unsigned n, const double2* __restrict__ a, const double2* __restrict__ b, double* __restrict__ out) {
    double sum = 0;
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
        double2 u = a[i], v = b[i];
        sum = fma(u.x, v.x, fma(u.y, v.y, sum));
    }
    sum = block_join(sum, 0.0, [](double a, double b) { return a + b; });
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

// The largest word, by the warps' own reductions.
extern "C" __global__ void __launch_bounds__(THREADS)
largest(unsigned n, const uint4* __restrict__ in, unsigned* __restrict__ out) {
    __shared__ unsigned warps[THREADS / 32];
    unsigned best = 0;
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
        uint4 v = in[i];
        best = max(best, max(max(v.x, v.y), max(v.z, v.w)));
    }
    best = __reduce_max_sync(ALL, best);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = best;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned warp = 1; warp < THREADS / 32; ++warp) best = max(best, warps[warp]);
        out[blockIdx.x] = best;
    }
}
