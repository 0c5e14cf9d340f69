// Inclusive sums within tiles of 1024 numbers, and each tile's total.
constexpr unsigned THREADS = 256, ALL = 0xffffffff;

extern "C" __global__ void __launch_bounds__(THREADS)
block_scan(const uint4* __restrict__ in, uint4* __restrict__ out, unsigned* __restrict__ totals) {
    __shared__ unsigned warps[THREADS / 32];
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32, i = blockIdx.x * THREADS + t;
    uint4 v = in[i];
    v.y += v.x;
    v.z += v.y;
    v.w += v.z;
    unsigned sum = v.w;
    for (unsigned distance = 1; distance < 32; distance *= 2) {
        unsigned before = __shfl_up_sync(ALL, sum, distance);
        if (lane >= distance) sum += before;
    }
    if (lane == 31) warps[warp] = sum;
    __syncthreads();
    if (warp == 0) {
        unsigned total = lane < THREADS / 32 ? warps[lane] : 0;
        for (unsigned distance = 1; distance < THREADS / 32; distance *= 2) {
            unsigned before = __shfl_up_sync(ALL, total, distance);
            if (lane >= distance) total += before;
        }
        if (lane < THREADS / 32) warps[lane] = total;
    }
    __syncthreads();
    unsigned before = sum - v.w + (warp > 0 ? warps[warp - 1] : 0);
    out[i] = make_uint4(v.x + before, v.y + before, v.z + before, v.w + before);
    if (t == THREADS - 1) totals[blockIdx.x] = v.w + before;
}
