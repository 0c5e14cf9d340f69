// 4 x 4 elements a thread in registers, tiles of 64 x 64 in shared memory. n is a multiple of 64.
constexpr int TILE = 64, DEPTH = 16, EACH = 4, SIDE = TILE / EACH;

extern "C" __global__ void __launch_bounds__(SIDE * SIDE)
matmul_blocked(unsigned n, const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c) {
    // The tile of a stands transposed, so that a thread's four rows are adjacent.
    __shared__ __align__(16) float as[DEPTH][TILE];
    __shared__ __align__(16) float bs[DEPTH][TILE];
    unsigned x = threadIdx.x, y = threadIdx.y, t = y * SIDE + x;
    unsigned row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    unsigned a_row = t / (DEPTH / 4), a_k = t % (DEPTH / 4) * 4;
    unsigned b_k = t / (TILE / 4), b_column = t % (TILE / 4) * 4;
    float sum[EACH][EACH] = {};
    for (unsigned tile = 0; tile < n; tile += DEPTH) {
        float4 from_a = *reinterpret_cast<const float4*>(&a[(row + a_row) * n + tile + a_k]);
        as[a_k][a_row] = from_a.x;
        as[a_k + 1][a_row] = from_a.y;
        as[a_k + 2][a_row] = from_a.z;
        as[a_k + 3][a_row] = from_a.w;
        *reinterpret_cast<float4*>(&bs[b_k][b_column]) =
            *reinterpret_cast<const float4*>(&b[(tile + b_k) * n + column + b_column]);
        __syncthreads();
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            float4 av = *reinterpret_cast<const float4*>(&as[k][y * EACH]);
            float4 bv = *reinterpret_cast<const float4*>(&bs[k][x * EACH]);
            float rows[EACH] = {av.x, av.y, av.z, av.w}, columns[EACH] = {bv.x, bv.y, bv.z, bv.w};
#pragma unroll
            for (int i = 0; i < EACH; ++i)
#pragma unroll
                for (int j = 0; j < EACH; ++j) sum[i][j] = fmaf(rows[i], columns[j], sum[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < EACH; ++i)
        *reinterpret_cast<float4*>(&c[(row + y * EACH + i) * n + column + x * EACH]) =
            make_float4(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
}
