// A star of radius 2, its tile with a halo in local memory; beyond the edge stands the edge's value.
#define WIDE 32
#define HIGH 8
#define HALO 2

kernel __attribute__((reqd_work_group_size(WIDE, HIGH, 1)))
void stencil(int width, int height, global const float* restrict in, global float* restrict out) {
#ifdef DIRECT
    int x = get_global_id(0), y = get_global_id(1);
    if (x >= width || y >= height) return;
    int left1 = max(x - 1, 0), left2 = max(x - 2, 0), right1 = min(x + 1, width - 1), right2 = min(x + 2, width - 1);
    int up1 = max(y - 1, 0), up2 = max(y - 2, 0), down1 = min(y + 1, height - 1), down2 = min(y + 2, height - 1);
    global const float* row = in + y * width;
    float near = row[left1] + row[right1] + in[up1 * width + x] + in[down1 * width + x];
    float far = row[left2] + row[right2] + in[up2 * width + x] + in[down2 * width + x];
    out[y * width + x] = 0.5f * row[x] + 0.09375f * near + 0.03125f * far;
#else
    local float tile[HIGH + 2 * HALO][WIDE + 2 * HALO];
    int left = get_group_id(0) * WIDE - HALO, top = get_group_id(1) * HIGH - HALO;
    for (int y = get_local_id(1); y < HIGH + 2 * HALO; y += HIGH)
        for (int x = get_local_id(0); x < WIDE + 2 * HALO; x += WIDE)
            tile[y][x] = in[clamp(top + y, 0, height - 1) * width + clamp(left + x, 0, width - 1)];
    barrier(CLK_LOCAL_MEM_FENCE);
    int x = get_local_id(0) + HALO, y = get_local_id(1) + HALO;
    float near = tile[y][x - 1] + tile[y][x + 1] + tile[y - 1][x] + tile[y + 1][x];
    float far = tile[y][x - 2] + tile[y][x + 2] + tile[y - 2][x] + tile[y + 2][x];
    if (left + x < width && top + y < height)
        out[(top + y) * width + left + x] = 0.5f * tile[y][x] + 0.09375f * near + 0.03125f * far;
#endif
}
