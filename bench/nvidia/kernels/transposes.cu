// Transposes of a square matrix without shared memory, and with tiles whose columns lie in one bank.
constexpr unsigned TILE = 32, ROWS = 8;

extern "C" __global__ void __launch_bounds__(TILE * ROWS)
transpose_plain(unsigned n, const float* __restrict__ in, float* __restrict__ out) {
    unsigned x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
#pragma unroll
    for (unsigned i = 0; i < TILE; i += ROWS) out[x * n + y + i] = in[(y + i) * n + x];
}

extern "C" __global__ void __launch_bounds__(TILE * ROWS)
transpose_banks(unsigned n, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float tile[TILE][TILE];
    unsigned x = blockIdx.x * TILE + threadIdx.x, y = blockIdx.y * TILE + threadIdx.y;
#pragma unroll
    for (unsigned i = 0; i < TILE; i += ROWS) tile[threadIdx.y + i][threadIdx.x] = in[(y + i) * n + x];
    __syncthreads();
    x = blockIdx.y * TILE + threadIdx.x;
    y = blockIdx.x * TILE + threadIdx.y;
#pragma unroll
    for (unsigned i = 0; i < TILE; i += ROWS) out[(y + i) * n + x] = tile[threadIdx.x][threadIdx.y + i];
}
