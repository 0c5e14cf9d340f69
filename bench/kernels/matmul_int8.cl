// Bytes times bytes into 32 bits. A work-group of 128 makes a tile of 64 x 64, 8 x 4 each. n is a multiple of 64;
// b stands transposed.
#define TILE 64
#define DEPTH 32

kernel __attribute__((reqd_work_group_size(128, 1, 1)))
void matmul_int8(uint n, global const char* restrict a, global const char* restrict b, global int* restrict c) {
    local int as[DEPTH][TILE];
    local int bs[DEPTH][TILE];
    uint t = get_local_id(0), x = t % 16, y = t / 16;
    uint row = get_group_id(1) * TILE, column = get_group_id(0) * TILE;
#ifdef ADJACENT
    int4 sum[8] = {0};
#else
    int sum[8][4] = {{0}};
#endif
    for (uint step = 0; step < n; step += DEPTH) {
        for (uint i = t; i < TILE * DEPTH / 8; i += 128) {
            uint r = i % TILE, k = i / TILE * 8;
            int8 of_a = convert_int8(vload8(0, a + ((row + r) * n + step + k)));
            int8 of_b = convert_int8(vload8(0, b + ((column + r) * n + step + k)));
            as[k][r] = of_a.s0;
            as[k + 1][r] = of_a.s1;
            as[k + 2][r] = of_a.s2;
            as[k + 3][r] = of_a.s3;
            as[k + 4][r] = of_a.s4;
            as[k + 5][r] = of_a.s5;
            as[k + 6][r] = of_a.s6;
            as[k + 7][r] = of_a.s7;
            bs[k][r] = of_b.s0;
            bs[k + 1][r] = of_b.s1;
            bs[k + 2][r] = of_b.s2;
            bs[k + 3][r] = of_b.s3;
            bs[k + 4][r] = of_b.s4;
            bs[k + 5][r] = of_b.s5;
            bs[k + 6][r] = of_b.s6;
            bs[k + 7][r] = of_b.s7;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#ifdef ADJACENT
        // A work-item's four columns are neighbours.
        for (uint k = 0; k < DEPTH; ++k) {
            int4 columns = vload4(x, bs[k]);
#pragma unroll
            for (uint i = 0; i < 8; ++i) sum[i] = sum[i] + as[k][y * 8 + i] * columns;
        }
#else
        for (uint k = 0; k < DEPTH; ++k) {
            int columns[4];
#pragma unroll
            for (uint j = 0; j < 4; ++j) columns[j] = bs[k][x + 16 * j];
#pragma unroll
            for (uint i = 0; i < 8; ++i) {
                int of_row = as[k][y * 8 + i];
#pragma unroll
                for (uint j = 0; j < 4; ++j) sum[i][j] = sum[i][j] + of_row * columns[j];
            }
        }
#endif
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#ifdef ADJACENT
#pragma unroll
    for (uint i = 0; i < 8; ++i) vstore4(sum[i], x, &c[(row + y * 8 + i) * n + column]);
#else
#pragma unroll
    for (uint i = 0; i < 8; ++i)
#pragma unroll
        for (uint j = 0; j < 4; ++j) c[(row + y * 8 + i) * n + column + x + 16 * j] = sum[i][j];
#endif
}
