// Stencils that read their neighbours through the caches, and one that marches through planes with a tile in shared memory.
extern "C" __global__ void jacobi(unsigned n, const float* __restrict__ in, float* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x == 0 || y == 0 || x >= n - 1 || y >= n - 1) return;
    const float* at = in + y * n + x;
    out[y * n + x] = 0.25f * ((at[-1] + at[1]) + (at[-int(n)] + at[n]));
}

extern "C" __global__ void heat3d(unsigned n, float share, const float* __restrict__ in, float* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
    if (x == 0 || y == 0 || z == 0 || x >= n - 1 || y >= n - 1 || z >= n - 1) return;
    const float* at = in + ((size_t)z * n + y) * n + x;
    size_t plane = (size_t)n * n;
    float around = at[-1] + at[1] + *(at - n) + at[n] + *(at - plane) + at[plane];
    out[((size_t)z * n + y) * n + x] = fmaf(share, around - 6.0f * at[0], at[0]);
}

// Without its border, the edge is a multiple of the block's.
constexpr unsigned WIDE = 32, HIGH = 16;

extern "C" __global__ void __launch_bounds__(WIDE * HIGH)
march3d(unsigned n, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float tile[HIGH + 2][WIDE + 2];
    unsigned tx = threadIdx.x + 1, ty = threadIdx.y + 1;
    unsigned x = blockIdx.x * WIDE + tx, y = blockIdx.y * HIGH + ty;
    size_t plane = (size_t)n * n, at = (size_t)y * n + x;
    float below = in[at], here = in[at + plane];
    for (unsigned z = 1; z < n - 1; ++z) {
        float above = in[at + 2 * plane];
        const float* middle = in + at + plane;
        tile[ty][tx] = here;
        if (threadIdx.x == 0) tile[ty][0] = middle[-1];
        if (threadIdx.x == WIDE - 1) tile[ty][WIDE + 1] = middle[1];
        if (threadIdx.y == 0) tile[0][tx] = *(middle - n);
        if (threadIdx.y == HIGH - 1) tile[HIGH + 1][tx] = middle[n];
        __syncthreads();
        float around = (tile[ty][tx - 1] + tile[ty][tx + 1]) + (tile[ty - 1][tx] + tile[ty + 1][tx]);
        out[at + plane] = 0.4f * here + 0.1f * (around + (below + above));
        __syncthreads();
        below = here, here = above, at += plane;
    }
}

// A cell of the game of life, 32 in a word, by bitwise sums.
extern "C" __global__ void life(unsigned words, unsigned rows, const unsigned* __restrict__ in, unsigned* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    if (x >= words) return;
    unsigned one = 0, two = 0, four = 0;
    auto add = [&](unsigned bits) {
        unsigned carry = one & bits;
        one ^= bits;
        unsigned more = two & carry;
        two ^= carry;
        four |= more;
    };
    unsigned own = 0;
    for (int dy = -1; dy <= 1; ++dy) {
        const unsigned* row = in + (size_t)((y + rows + dy) % rows) * words;
        unsigned here = row[x], left = row[(x + words - 1) % words], right = row[(x + 1) % words];
        add(__funnelshift_l(left, here, 1));
        add(__funnelshift_r(here, right, 1));
        if (dy) add(here);
        else own = here;
    }
    out[(size_t)y * words + x] = two & ~four & (one | own);
}
