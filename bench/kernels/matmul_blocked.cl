// 4 x 4 elements a work-item in registers, tiles of 64 x 64 in local memory. n is a multiple of 64.
#define TILE 64
#define DEPTH 16
#define EACH 4
#define SIDE (TILE / EACH)

kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1)))
void matmul_blocked(uint n, global const float* restrict a, global const float* restrict b, global float* restrict c) {
    // The tile of a stands transposed, so that a work-item's four rows are adjacent.
    local float as[DEPTH][TILE] __attribute__((aligned(16)));
    local float bs[DEPTH][TILE] __attribute__((aligned(16)));
    uint x = get_local_id(0), y = get_local_id(1), t = y * SIDE + x;
    uint row = get_group_id(1) * TILE, column = get_group_id(0) * TILE;
    uint a_row = t / (DEPTH / 4), a_k = t % (DEPTH / 4) * 4;
    uint b_k = t / (TILE / 4), b_column = t % (TILE / 4) * 4;
    float4 sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    for (uint tile = 0; tile < n; tile += DEPTH) {
        float4 from_a = vload4(0, &a[(row + a_row) * n + tile + a_k]);
        as[a_k][a_row] = from_a.x;
        as[a_k + 1][a_row] = from_a.y;
        as[a_k + 2][a_row] = from_a.z;
        as[a_k + 3][a_row] = from_a.w;
        vstore4(vload4(0, &b[(tile + b_k) * n + column + b_column]), 0, &bs[b_k][b_column]);
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (int k = 0; k < DEPTH; ++k) {
            float4 rows = vload4(0, &as[k][y * EACH]);
#ifdef INTERLEAVED
            // Neighbouring work-items read neighbouring columns.
            float4 columns = (float4)(bs[k][x], bs[k][x + SIDE], bs[k][x + 2 * SIDE], bs[k][x + 3 * SIDE]);
#else
            float4 columns = vload4(0, &bs[k][x * EACH]);
#endif
            sum0 = fma((float4)(rows.x), columns, sum0);
            sum1 = fma((float4)(rows.y), columns, sum1);
            sum2 = fma((float4)(rows.z), columns, sum2);
            sum3 = fma((float4)(rows.w), columns, sum3);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    global float* out = &c[(row + y * EACH) * n + column];
#ifdef INTERLEAVED
    for (uint i = 0; i < EACH; ++i) {
        float4 sum = i == 0 ? sum0 : i == 1 ? sum1 : i == 2 ? sum2 : sum3;
        out[i * n + x] = sum.x;
        out[i * n + x + SIDE] = sum.y;
        out[i * n + x + 2 * SIDE] = sum.z;
        out[i * n + x + 3 * SIDE] = sum.w;
    }
#else
    vstore4(sum0, x, out);
    vstore4(sum1, x, out + n);
    vstore4(sum2, x, out + 2 * n);
    vstore4(sum3, x, out + 3 * n);
#endif
}
