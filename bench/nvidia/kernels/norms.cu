// Norms and softmax of rows as language models have them: bf16 in pairs, and rows too long for registers.
#include <cuda_bf16.h>

constexpr unsigned THREADS = 256, ALL = 0xffffffff;

// Rows of 4096 numbers divided by the root of their mean square, times a weight.
extern "C" __global__ void __launch_bounds__(THREADS)
rms_norm(const uint4* __restrict__ in, const uint4* __restrict__ weights, uint4* __restrict__ out) {
    constexpr unsigned VECTORS = 4096 / 8, EACH = VECTORS / THREADS;
    __shared__ float warps[THREADS / 32];
    unsigned t = threadIdx.x;
    uint4 kept[EACH];
    float squares = 0;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        kept[i] = in[blockIdx.x * VECTORS + t + i * THREADS];
        auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&kept[i]);
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) {
            float2 pair = __bfloat1622float2(pairs[k]);
            squares = fmaf(pair.x, pair.x, fmaf(pair.y, pair.y, squares));
        }
    }
    for (int distance = 16; distance > 0; distance /= 2) squares += __shfl_xor_sync(ALL, squares, distance);
    if (t % 32 == 0) warps[t / 32] = squares;
    __syncthreads();
    squares = 0;
#pragma unroll
    for (unsigned i = 0; i < THREADS / 32; ++i) squares += warps[i];
    float scale = rsqrtf(squares / 4096 + 1e-5f);
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        uint4 weight = weights[t + i * THREADS], result;
        auto *pairs = reinterpret_cast<const __nv_bfloat162*>(&kept[i]), *by = reinterpret_cast<const __nv_bfloat162*>(&weight);
        auto* to = reinterpret_cast<__nv_bfloat162*>(&result);
#pragma unroll
        for (unsigned k = 0; k < 4; ++k) {
            float2 pair = __bfloat1622float2(pairs[k]), factor = __bfloat1622float2(by[k]);
            to[k] = __floats2bfloat162_rn(pair.x * scale * factor.x, pair.y * scale * factor.y);
        }
        out[blockIdx.x * VECTORS + t + i * THREADS] = result;
    }
}

// Two passes over a row: the largest number and the sum together, then the results.
extern "C" __global__ void __launch_bounds__(THREADS)
softmax_long(unsigned columns, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float maxima[THREADS / 32], sums[THREADS / 32];
    const float* row = in + (size_t)blockIdx.x * columns;
    float largest = -INFINITY, sum = 0;
    for (unsigned i = threadIdx.x; i < columns; i += THREADS) {
        float value = row[i], most = fmaxf(largest, value);
        sum = sum * __expf(largest - most) + __expf(value - most);
        largest = most;
    }
    for (int distance = 16; distance > 0; distance /= 2) {
        float other = __shfl_xor_sync(ALL, largest, distance), more = __shfl_xor_sync(ALL, sum, distance);
        float most = fmaxf(largest, other);
        sum = sum * __expf(largest - most) + more * __expf(other - most);
        largest = most;
    }
    if (threadIdx.x % 32 == 0) maxima[threadIdx.x / 32] = largest, sums[threadIdx.x / 32] = sum;
    __syncthreads();
    float most = maxima[0], total = 0;
#pragma unroll
    for (unsigned i = 1; i < THREADS / 32; ++i) most = fmaxf(most, maxima[i]);
#pragma unroll
    for (unsigned i = 0; i < THREADS / 32; ++i) total += sums[i] * __expf(maxima[i] - most);
    float scale = 1.0f / total;
    float* to = out + (size_t)blockIdx.x * columns;
    for (unsigned i = threadIdx.x; i < columns; i += THREADS) to[i] = __expf(row[i] - most) * scale;
}
