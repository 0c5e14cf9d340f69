// Keys in ascending order. Distances within a tile are handled in local memory, larger ones in global memory.
#define TILE 1024
#define THREADS (TILE / 2)

#define EXCHANGE(low, high, ascending)                                \
    {                                                                 \
        uint smaller = min(low, high), larger = max(low, high);       \
        low = (ascending) ? smaller : larger;                         \
        high = (ascending) ? larger : smaller;                        \
    }

#define MERGE(run, from)                                                     \
    for (uint distance = (from); distance > 0; distance /= 2) {              \
        barrier(CLK_LOCAL_MEM_FENCE);                                        \
        uint i = 2 * t - (t & (distance - 1));                               \
        EXCHANGE(tile[i], tile[i + distance], ((first + i) & (run)) == 0)    \
    }

// Sorts each tile: upwards and downwards in turn.
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void sort_tiles(global uint* keys) {
    local uint tile[TILE];
    uint first = get_group_id(0) * TILE, t = get_local_id(0);
    tile[t] = keys[first + t];
    tile[t + THREADS] = keys[first + t + THREADS];
    for (uint run = 2; run <= TILE; run *= 2) MERGE(run, run / 2)
    barrier(CLK_LOCAL_MEM_FENCE);
    keys[first + t] = tile[t];
    keys[first + t + THREADS] = tile[t + THREADS];
}

// The steps of a run whose distances lie within a tile.
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void merge_tiles(uint run, global uint* keys) {
    local uint tile[TILE];
    uint first = get_group_id(0) * TILE, t = get_local_id(0);
    tile[t] = keys[first + t];
    tile[t + THREADS] = keys[first + t + THREADS];
    MERGE(run, TILE / 2)
    barrier(CLK_LOCAL_MEM_FENCE);
    keys[first + t] = tile[t];
    keys[first + t + THREADS] = tile[t + THREADS];
}

// One step of a run with a larger distance.
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void merge_far(uint run, uint distance, global uint* keys) {
    uint t = get_global_id(0);
    uint i = 2 * t - (t & (distance - 1));
    EXCHANGE(keys[i], keys[i + distance], (i & run) == 0)
}
