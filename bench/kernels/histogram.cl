// Counts of the 256 values of a byte: a histogram a work-group by local atomics, their sum by global ones.
#define BINS 256

#define COUNT(from)                         \
    {                                       \
        uint word = from;                   \
        atomic_inc(&own[word & 255]);       \
        atomic_inc(&own[word >> 8 & 255]);  \
        atomic_inc(&own[word >> 16 & 255]); \
        atomic_inc(&own[word >> 24]);       \
    }

kernel __attribute__((reqd_work_group_size(BINS, 1, 1)))
void histogram(uint words, global const uint* restrict in, global uint* restrict bins) {
    local uint own[BINS];
    uint t = get_local_id(0);
    own[t] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#ifdef UNIFORM
    // All work-items but for a last turn take the same number of turns.
    uint all = get_global_size(0), id = get_global_id(0), whole = words / all * all;
    for (uint first = 0; first < whole; first += all) COUNT(in[first + id])
    if (whole + id < words) COUNT(in[whole + id])
#else
    for (uint i = get_global_id(0); i < words; i += get_global_size(0)) COUNT(in[i])
#endif
    barrier(CLK_LOCAL_MEM_FENCE);
    atomic_add(&bins[t], own[t]);
}
