// Tiles of 32 x 32 in local memory; the extra column keeps a column's elements in different banks.
#define TILE 32
#define ROWS 8

kernel __attribute__((reqd_work_group_size(TILE, ROWS, 1)))
void transpose(uint width, uint height, global const float* restrict in, global float* restrict out) {
    uint lx = get_local_id(0), ly = get_local_id(1);
#ifdef DIRECT
    uint x = get_group_id(0) * TILE + lx, y = get_group_id(1) * TILE + ly;
#pragma unroll
    for (uint i = 0; i < TILE; i += ROWS) out[x * height + y + i] = in[(y + i) * width + x];
#else
    local float tile[TILE][TILE + 1];
    uint x = get_group_id(0) * TILE + lx, y = get_group_id(1) * TILE + ly;
#pragma unroll
    for (uint i = 0; i < TILE; i += ROWS) tile[ly + i][lx] = in[(y + i) * width + x];
    barrier(CLK_LOCAL_MEM_FENCE);
    x = get_group_id(1) * TILE + lx;
    y = get_group_id(0) * TILE + ly;
#pragma unroll
    for (uint i = 0; i < TILE; i += ROWS) out[(y + i) * height + x] = tile[lx][ly + i];
#endif
}
