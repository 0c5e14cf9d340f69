// Sums of n numbers, one a work-group; a second launch of one work-group sums those.
#define THREADS 256

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void reduce(uint n, global const float* restrict in, global float* restrict out) {
    uint t = get_local_id(0);
    float sum = 0;
#ifdef UNIFORM
    // All work-items but for a last turn take the same number of turns.
    uint all = get_global_size(0), own = get_global_id(0), whole = n / all * all;
    for (uint first = 0; first < whole; first += all) sum += in[first + own];
    if (whole + own < n) sum += in[whole + own];
#else
    for (uint i = get_global_id(0); i < n; i += get_global_size(0)) sum += in[i];
#endif
#if defined(WORK_GROUP)
    sum = work_group_reduce_add(sum);
#elif defined(SUB_GROUP)
    local float parts[THREADS];
    sum = sub_group_reduce_add(sum);
    if (get_sub_group_local_id() == 0) parts[get_sub_group_id()] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (t == 0)
        for (uint i = 1; i < get_num_sub_groups(); ++i) sum += parts[i];
#else
    local float parts[THREADS];
    parts[t] = sum;
    for (uint distance = THREADS / 2; distance > 0; distance /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < distance) parts[t] += parts[t + distance];
    }
    sum = parts[0];
#endif
    if (t == 0) out[get_group_id(0)] = sum;
}
