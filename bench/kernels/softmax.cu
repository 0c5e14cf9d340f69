// The softmax of rows of 1024 numbers. One row a block.
constexpr unsigned THREADS = 256, COLUMNS = 1024, EACH = COLUMNS / THREADS, ALL = 0xffffffff;

extern "C" __global__ void __launch_bounds__(THREADS)
softmax(const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float maxima[THREADS / 32], sums[THREADS / 32];
    unsigned t = threadIdx.x;
    const float* row = in + blockIdx.x * COLUMNS;
    float values[EACH], largest = -INFINITY, sum = 0;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        values[i] = row[t + i * THREADS];
        largest = fmaxf(largest, values[i]);
    }
    for (int distance = 16; distance > 0; distance /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(ALL, largest, distance));
    if (t % 32 == 0) maxima[t / 32] = largest;
    __syncthreads();
#pragma unroll
    for (unsigned i = 0; i < THREADS / 32; ++i) largest = fmaxf(largest, maxima[i]);
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) {
        values[i] = expf(values[i] - largest);
        sum += values[i];
    }
    for (int distance = 16; distance > 0; distance /= 2) sum += __shfl_xor_sync(ALL, sum, distance);
    if (t % 32 == 0) sums[t / 32] = sum;
    __syncthreads();
    sum = 0;
#pragma unroll
    for (unsigned i = 0; i < THREADS / 32; ++i) sum += sums[i];
    float scale = 1.0f / sum;
#pragma unroll
    for (unsigned i = 0; i < EACH; ++i) out[blockIdx.x * COLUMNS + t + i * THREADS] = values[i] * scale;
}
