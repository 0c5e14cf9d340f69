// Counts of the 256 values of a byte: a histogram a work-group by local atomics, their sum by global ones.
#define BINS 256

kernel __attribute__((reqd_work_group_size(BINS, 1, 1)))
void histogram(uint words, global const uint* restrict in, global uint* restrict bins) {
    local uint own[BINS];
    uint t = get_local_id(0);
    own[t] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = get_global_id(0); i < words; i += get_global_size(0)) {
        uint word = in[i];
        atomic_inc(&own[word & 255]);
        atomic_inc(&own[word >> 8 & 255]);
        atomic_inc(&own[word >> 16 & 255]);
        atomic_inc(&own[word >> 24]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    atomic_add(&bins[t], own[t]);
}
