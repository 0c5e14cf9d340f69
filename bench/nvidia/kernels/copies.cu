// Copies of words, of 16 bytes with and without hints for the caches, and of every so-many-th word.
extern "C" __global__ void copy_words(unsigned n, const unsigned* __restrict__ in, unsigned* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i];
}

extern "C" __global__ void copy_vectors(unsigned n, const uint4* __restrict__ in, uint4* __restrict__ out) {
    unsigned i = (blockIdx.x * blockDim.x) * 4 + threadIdx.x;
    uint4 v[4];
#pragma unroll
    for (unsigned k = 0; k < 4; ++k)
        if (i + k * blockDim.x < n) v[k] = in[i + k * blockDim.x];
#pragma unroll
    for (unsigned k = 0; k < 4; ++k)
        if (i + k * blockDim.x < n) out[i + k * blockDim.x] = v[k];
}

extern "C" __global__ void copy_streaming(unsigned n, const uint4* in, uint4* out) {
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        __stcs(&out[i], __ldcs(&in[i]));
}

extern "C" __global__ void copy_strided(unsigned n, unsigned stride, const float* __restrict__ in,
                                        float* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[i * stride];
}

extern "C" __global__ void gather(unsigned n, const unsigned* __restrict__ places, const float* __restrict__ in,
                                  float* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = in[places[i]];
}

// Adds, so that what arrives at one place does not depend on who comes last.
extern "C" __global__ void scatter_add(unsigned n, const unsigned* __restrict__ places, const unsigned* __restrict__ in,
                                       unsigned* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) atomicAdd(&out[places[i]], in[i]);
}
