// One element a thread, tiles of 16 x 16 in shared memory. n is a multiple of 16.
constexpr int TILE = 16;

extern "C" __global__ void __launch_bounds__(TILE * TILE)
matmul_tiled(unsigned n, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    __shared__ float as[TILE][TILE];
    __shared__ float bs[TILE][TILE];
    unsigned x = threadIdx.x, y = threadIdx.y;
    unsigned column = blockIdx.x * TILE + x, row = blockIdx.y * TILE + y;
    float sum = 0;
    for (unsigned tile = 0; tile < n; tile += TILE) {
        as[y][x] = a[row * n + tile + x];
        bs[y][x] = b[(tile + y) * n + column];
        __syncthreads();
#pragma unroll
        for (int k = 0; k < TILE; ++k) sum = fmaf(as[y][k], bs[k][x], sum);
        __syncthreads();
    }
    c[row * n + column] = sum;
}
