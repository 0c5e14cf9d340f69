// A star of radius 2, its tile with a halo in shared memory; beyond the edge stands the edge's value.
constexpr int WIDE = 32, HIGH = 8, HALO = 2;

extern "C" __global__ void __launch_bounds__(WIDE * HIGH)
stencil(int width, int height, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float tile[HIGH + 2 * HALO][WIDE + 2 * HALO];
    int left = blockIdx.x * WIDE - HALO, top = blockIdx.y * HIGH - HALO;
    for (int y = threadIdx.y; y < HIGH + 2 * HALO; y += HIGH)
        for (int x = threadIdx.x; x < WIDE + 2 * HALO; x += WIDE)
            tile[y][x] = in[min(max(top + y, 0), height - 1) * width + min(max(left + x, 0), width - 1)];
    __syncthreads();
    int x = threadIdx.x + HALO, y = threadIdx.y + HALO;
    float near = tile[y][x - 1] + tile[y][x + 1] + tile[y - 1][x] + tile[y + 1][x];
    float far = tile[y][x - 2] + tile[y][x + 2] + tile[y - 2][x] + tile[y + 2][x];
    if (left + x < width && top + y < height)
        out[(top + y) * width + left + x] = 0.5f * tile[y][x] + 0.09375f * near + 0.03125f * far;
}
