// Keys in ascending order. Distances within a tile are handled in shared memory, larger ones in global memory.
constexpr unsigned TILE = 1024, THREADS = TILE / 2;

__device__ void exchange(unsigned& low, unsigned& high, bool ascending) {
    unsigned smaller = min(low, high), larger = max(low, high);
    low = ascending ? smaller : larger;
    high = ascending ? larger : smaller;
}

__device__ void merge(unsigned* tile, unsigned first, unsigned run, unsigned from) {
    for (unsigned distance = from; distance > 0; distance /= 2) {
        __syncthreads();
        unsigned i = 2 * threadIdx.x - (threadIdx.x & (distance - 1));
        exchange(tile[i], tile[i + distance], ((first + i) & run) == 0);
    }
}

// Sorts each tile: upwards and downwards in turn.
extern "C" __global__ void __launch_bounds__(THREADS) sort_tiles(unsigned* keys) {
    __shared__ unsigned tile[TILE];
    unsigned first = blockIdx.x * TILE, t = threadIdx.x;
    tile[t] = keys[first + t];
    tile[t + THREADS] = keys[first + t + THREADS];
    for (unsigned run = 2; run <= TILE; run *= 2) merge(tile, first, run, run / 2);
    __syncthreads();
    keys[first + t] = tile[t];
    keys[first + t + THREADS] = tile[t + THREADS];
}

// The steps of a run whose distances lie within a tile.
extern "C" __global__ void __launch_bounds__(THREADS) merge_tiles(unsigned run, unsigned* keys) {
    __shared__ unsigned tile[TILE];
    unsigned first = blockIdx.x * TILE, t = threadIdx.x;
    tile[t] = keys[first + t];
    tile[t + THREADS] = keys[first + t + THREADS];
    merge(tile, first, run, TILE / 2);
    __syncthreads();
    keys[first + t] = tile[t];
    keys[first + t + THREADS] = tile[t + THREADS];
}

// One step of a run with a larger distance.
extern "C" __global__ void __launch_bounds__(THREADS) merge_far(unsigned run, unsigned distance, unsigned* keys) {
    unsigned t = blockIdx.x * THREADS + threadIdx.x;
    unsigned i = 2 * t - (t & (distance - 1));
    exchange(keys[i], keys[i + distance], (i & run) == 0);
}
