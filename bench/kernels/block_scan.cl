// Inclusive sums within tiles of 1024 numbers, and each tile's total.
#define THREADS 256

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void block_scan(global const uint4* restrict in, global uint4* restrict out, global uint* restrict totals) {
    uint t = get_local_id(0), i = get_global_id(0);
    uint4 v = in[i];
    v.y += v.x;
    v.z += v.y;
    v.w += v.z;
#if defined(WORK_GROUP)
    uint before = work_group_scan_exclusive_add(v.w);
#elif defined(SUB_GROUP)
    local uint parts[THREADS];
    uint before = sub_group_scan_exclusive_add(v.w);
    if (get_sub_group_local_id() == get_sub_group_size() - 1) parts[get_sub_group_id()] = before + v.w;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint k = 0; k < get_sub_group_id(); ++k) before += parts[k];
#else
    local uint sums[2][THREADS];
    uint from = 0;
    sums[0][t] = v.w;
    for (uint distance = 1; distance < THREADS; distance *= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        sums[1 - from][t] = sums[from][t] + (t >= distance ? sums[from][t - distance] : 0);
        from = 1 - from;
    }
    uint before = sums[from][t] - v.w;
#endif
    v += before;
    out[i] = v;
    if (t == THREADS - 1) totals[get_group_id(0)] = v.w;
}
