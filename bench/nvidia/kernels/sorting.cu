// One pass of a radix sort over 4 bits: counts of each block's digits, places by a scan of one block, and the keys put
// there in order. And each warp's chosen words packed together.
constexpr unsigned THREADS = 256, EACH = 16, TILE = THREADS * EACH, DIGITS = 16, WARPS = THREADS / 32, ALL = 0xffffffff;

extern "C" __global__ void __launch_bounds__(THREADS)
radix_count(unsigned shift, const unsigned* __restrict__ keys, unsigned* __restrict__ counts) {
    __shared__ unsigned own[DIGITS];
    unsigned t = threadIdx.x;
    if (t < DIGITS) own[t] = 0;
    __syncthreads();
    for (unsigned k = 0; k < EACH; ++k) {
        unsigned digit = keys[blockIdx.x * TILE + k * THREADS + t] >> shift & (DIGITS - 1);
        unsigned same = __match_any_sync(ALL, digit);
        if (t % 32 == __ffs(same) - 1) atomicAdd(&own[digit], __popc(same));
    }
    __syncthreads();
    if (t < DIGITS) counts[t * gridDim.x + blockIdx.x] = own[t];
}

// Exclusive sums of so many counts, by one block.
extern "C" __global__ void __launch_bounds__(1024) radix_places(unsigned count, unsigned* counts) {
    __shared__ unsigned warps[32];
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32, each = (count + 1023) / 1024, first = t * each, sum = 0;
    for (unsigned i = first; i < min(first + each, count); ++i) sum += counts[i];
    unsigned upto = sum;
    for (unsigned distance = 1; distance < 32; distance *= 2) {
        unsigned left = __shfl_up_sync(ALL, upto, distance);
        if (lane >= distance) upto += left;
    }
    if (lane == 31) warps[warp] = upto;
    __syncthreads();
    unsigned before = upto - sum;
    for (unsigned i = 0; i < warp; ++i) before += warps[i];
    for (unsigned i = first; i < min(first + each, count); ++i) {
        unsigned value = counts[i];
        counts[i] = before;
        before += value;
    }
}

// A warp's keys are neighbours, so that equal digits keep their order.
extern "C" __global__ void __launch_bounds__(THREADS)
radix_move(unsigned shift, const unsigned* __restrict__ keys, const unsigned* __restrict__ places, unsigned* __restrict__ out) {
    __shared__ unsigned next[WARPS][DIGITS];
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32;
    for (unsigned i = t; i < WARPS * DIGITS; i += THREADS) next[i / DIGITS][i % DIGITS] = 0;
    __syncthreads();
    unsigned own[EACH], rank[EACH];
#pragma unroll
    for (unsigned k = 0; k < EACH; ++k) {
        own[k] = keys[blockIdx.x * TILE + warp * EACH * 32 + k * 32 + lane];
        unsigned digit = own[k] >> shift & (DIGITS - 1), same = __match_any_sync(ALL, digit);
        unsigned before = next[warp][digit];
        __syncwarp();
        rank[k] = before + __popc(same & ((1u << lane) - 1));
        if (lane == __ffs(same) - 1) next[warp][digit] = before + __popc(same);
        __syncwarp();
    }
    __syncthreads();
    if (t < DIGITS) {
        unsigned place = places[t * gridDim.x + blockIdx.x];
        for (unsigned i = 0; i < WARPS; ++i) {
            unsigned count = next[i][t];
            next[i][t] = place;
            place += count;
        }
    }
    __syncthreads();
#pragma unroll
    for (unsigned k = 0; k < EACH; ++k) out[next[warp][own[k] >> shift & (DIGITS - 1)] + rank[k]] = own[k];
}

// Each warp looks at 32 times 32 words, and packs those below a bound at the beginning of its place.
extern "C" __global__ void __launch_bounds__(THREADS)
pack(unsigned bound, const unsigned* __restrict__ in, unsigned* __restrict__ out, unsigned* __restrict__ counts) {
    unsigned lane = threadIdx.x % 32, warp = (blockIdx.x * THREADS + threadIdx.x) / 32, count = 0;
    const unsigned* from = in + warp * 1024;
#pragma unroll 4
    for (unsigned k = 0; k < 32; ++k) {
        unsigned value = from[k * 32 + lane], chosen = __ballot_sync(ALL, value < bound);
        if (value < bound) out[warp * 1024 + count + __popc(chosen & ((1u << lane) - 1))] = value;
        count += __popc(chosen);
    }
    if (lane == 0) counts[warp] = count;
}

// How many of a warp's lanes agree with each: by match of words and by votes of bits.
extern "C" __global__ void __launch_bounds__(THREADS)
agree(unsigned n, const unsigned* __restrict__ in, unsigned* __restrict__ out) {
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
        unsigned value = in[i], equal = __match_any_sync(ALL, value & 7), odd = __ballot_sync(ALL, value & 8);
        unsigned all = __all_sync(ALL, value != 0), any = __any_sync(ALL, value > 0xfffffff0);
        out[i] = __popc(equal) << 16 | __popc(odd) << 8 | all << 1 | any;
    }
}
