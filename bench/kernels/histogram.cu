// Counts of the 256 values of a byte: a histogram a block by shared atomics, their sum by global ones.
constexpr unsigned BINS = 256;

extern "C" __global__ void __launch_bounds__(BINS)
histogram(unsigned words, const unsigned* __restrict__ in, unsigned* __restrict__ bins) {
    __shared__ unsigned own[BINS];
    own[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned i = blockIdx.x * BINS + threadIdx.x; i < words; i += gridDim.x * BINS) {
        unsigned word = in[i];
        atomicAdd(&own[word & 255], 1);
        atomicAdd(&own[word >> 8 & 255], 1);
        atomicAdd(&own[word >> 16 & 255], 1);
        atomicAdd(&own[word >> 24], 1);
    }
    __syncthreads();
    atomicAdd(&bins[threadIdx.x], own[threadIdx.x]);
}
