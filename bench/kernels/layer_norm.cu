// Rows of 1024 numbers to mean 0 and variance 1, times gamma, plus beta. One row a block.
constexpr unsigned THREADS = 256, COLUMNS = 1024, EACH = COLUMNS / THREADS, ALL = 0xffffffff;

// The sum over the block, in every thread.
__device__ float block_sum(float value, float* warps) {
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(ALL, value, distance);
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (unsigned i = 0; i < THREADS / 32; ++i) sum += warps[i];
    return sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
layer_norm(const float* __restrict__ in, const float* __restrict__ gamma, const float* __restrict__ beta,
           float* __restrict__ out) {
    __shared__ float first[THREADS / 32], second[THREADS / 32];
    unsigned t = threadIdx.x;
    const float* row = in + blockIdx.x * COLUMNS;
    float values[EACH], sum = 0, squares = 0;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        values[i] = row[t + i * THREADS];
        sum += values[i];
    }
    float mean = block_sum(sum, first) / COLUMNS;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) squares += (values[i] - mean) * (values[i] - mean);
    float scale = rsqrtf(block_sum(squares, second) / COLUMNS + 1e-5f);
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        unsigned column = t + i * THREADS;
        out[blockIdx.x * COLUMNS + column] = (values[i] - mean) * scale * gamma[column] + beta[column];
    }
}
