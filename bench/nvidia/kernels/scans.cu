// Scans: one pass over all tiles, each of which looks back at those before it, and tiles by themselves in shared memory.
constexpr unsigned THREADS = 256, EACH = 8, TILE = THREADS * EACH, ALL = 0xffffffff;

// A tile's word in the table: what it is in the upper half, a sum in the lower.
constexpr unsigned long long OWN = 1ull << 32, WHOLE = 2ull << 32;

extern "C" __global__ void clear_tiles(unsigned tiles, unsigned long long* table, unsigned* next) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < tiles) table[i] = 0;
    if (i == 0) *next = 0;
}

extern "C" __global__ void __launch_bounds__(THREADS)
scan_lookback(const uint4* __restrict__ in, uint4* __restrict__ out, volatile unsigned long long* table, unsigned* next) {
    __shared__ unsigned warps[THREADS / 32], tile_of_block, before_tile;
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32;
    // Tiles are taken in the order in which blocks begin, so that those before have begun.
    if (t == 0) tile_of_block = atomicAdd(next, 1);
    __syncthreads();
    unsigned tile = tile_of_block, at = (tile * TILE + t * EACH) / 4;
    unsigned values[EACH];
    for (unsigned k = 0; k < EACH / 4; ++k) {
        uint4 v = in[at + k];
        values[4 * k] = v.x, values[4 * k + 1] = v.y, values[4 * k + 2] = v.z, values[4 * k + 3] = v.w;
    }
#pragma unroll
    for (unsigned k = 1; k < EACH; ++k) values[k] += values[k - 1];
    unsigned sum = values[EACH - 1];
    for (unsigned distance = 1; distance < 32; distance *= 2) {
        unsigned left = __shfl_up_sync(ALL, sum, distance);
        if (lane >= distance) sum += left;
    }
    if (lane == 31) warps[warp] = sum;
    __syncthreads();
    unsigned before = sum - values[EACH - 1], total = 0;
    for (unsigned k = 0; k < THREADS / 32; ++k) {
        if (k < warp) before += warps[k];
        total += warps[k];
    }
    if (warp == 0) {
        if (lane == 0) table[tile] = (tile == 0 ? WHOLE : OWN) | total;
        unsigned back = 0;
        for (int last = int(tile) - 1; last >= 0; last -= 32) {
            int from = last - int(lane);
            unsigned long long word = from >= 0 ? 0 : WHOLE;
            while (__any_sync(ALL, word == 0))
                if (word == 0) word = table[from];
            unsigned whole = __ballot_sync(ALL, word >= WHOLE);
            unsigned nearest = whole ? __ffs(whole) - 1 : 31;
            back += __reduce_add_sync(ALL, lane <= nearest ? unsigned(word) : 0);
            if (whole) break;
        }
        if (lane == 0) {
            if (tile > 0) table[tile] = WHOLE | (unsigned)(back + total);
            before_tile = back;
        }
    }
    __syncthreads();
    before += before_tile;
    for (unsigned k = 0; k < EACH / 4; ++k)
        out[at + k] = make_uint4(values[4 * k] + before, values[4 * k + 1] + before, values[4 * k + 2] + before,
                                 values[4 * k + 3] + before);
}

// Sums within tiles of 512, by doubling distances between two halves of shared memory.
extern "C" __global__ void __launch_bounds__(512) scan_shared(const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float halves[2][512];
    unsigned t = threadIdx.x, i = blockIdx.x * 512 + t, now = 0;
    halves[0][t] = in[i];
    __syncthreads();
#pragma unroll
    for (unsigned distance = 1; distance < 512; distance *= 2) {
        halves[1 - now][t] = halves[now][t] + (t >= distance ? halves[now][t - distance] : 0);
        now = 1 - now;
        __syncthreads();
    }
    out[i] = halves[now][t];
}
