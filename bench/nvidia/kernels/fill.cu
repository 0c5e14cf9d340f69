// Random contents of buffers, and sums that tell contents apart.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ unsigned mix(unsigned long long i, unsigned seed) {
    unsigned long long z = i + (unsigned long long)seed * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (unsigned)((z ^ z >> 31) >> 32);
}

// At least low, below high.
__device__ float number(unsigned long long i, unsigned seed, float low, float high) {
    return __fmaf_rn(high - low, (float)(mix(i, seed) >> 8) * 0x1p-24f, low);
}

#define EACH(i, n) \
    for (unsigned long long i = blockIdx.x * (unsigned long long)blockDim.x + threadIdx.x; i < n; \
         i += (unsigned long long)gridDim.x * blockDim.x)

extern "C" __global__ void fill_f32(unsigned long long n, unsigned seed, float low, float high, float* out) {
    EACH(i, n) out[i] = number(i, seed, low, high);
}
extern "C" __global__ void fill_f64(unsigned long long n, unsigned seed, float low, float high, double* out) {
    EACH(i, n) out[i] = number(i, seed, low, high);
}
extern "C" __global__ void fill_f16(unsigned long long n, unsigned seed, float low, float high, __half* out) {
    EACH(i, n) out[i] = __float2half_rn(number(i, seed, low, high));
}
extern "C" __global__ void fill_bf16(unsigned long long n, unsigned seed, float low, float high, __nv_bfloat16* out) {
    EACH(i, n) out[i] = __float2bfloat16_rn(number(i, seed, low, high));
}
// Words below a bound; a bound of 0 is none.
extern "C" __global__ void fill_u32(unsigned long long n, unsigned seed, unsigned bound, unsigned* out) {
    EACH(i, n) out[i] = bound ? __umulhi(mix(i, seed), bound) : mix(i, seed);
}
// The sum of all words, each mixed with its place.
extern "C" __global__ void checksum(unsigned long long n, const unsigned* in, unsigned long long* sum) {
    unsigned long long own = 0;
    EACH(i, n) own += mix(i ^ (unsigned long long)in[i] << 32, 1) + ((unsigned long long)mix(i + in[i], 2) << 32);
    atomicAdd(sum, own);
}
