// Rows of 1024 numbers to mean 0 and variance 1, times gamma, plus beta. One row a work-group.
#define THREADS 256
#define COLUMNS 1024
#define EACH (COLUMNS / THREADS)

// The sum over the work-group, in every work-item.
#if defined(WORK_GROUP)
#define SUM(value, parts) work_group_reduce_add(value)
#else
#define SUM(value, parts) group_sum(value, parts)
float group_sum(float value, local float* parts) {
    uint t = get_local_id(0);
#if defined(SUB_GROUP)
    value = sub_group_reduce_add(value);
    if (get_sub_group_local_id() == 0) parts[get_sub_group_id()] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0;
    for (uint i = 0; i < get_num_sub_groups(); ++i) sum += parts[i];
    return sum;
#else
    parts[t] = value;
    for (uint distance = THREADS / 2; distance > 0; distance /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < distance) parts[t] += parts[t + distance];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return parts[0];
#endif
}
#endif

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void layer_norm(global const float* restrict in, global const float* restrict gamma, global const float* restrict beta,
                global float* restrict out) {
    local float first[THREADS], second[THREADS];
    uint t = get_local_id(0);
    global const float* row = in + get_group_id(0) * COLUMNS;
    float values[EACH], sum = 0, squares = 0;
#pragma unroll
    for (uint i = 0; i < EACH; ++i) {
        values[i] = row[t + i * THREADS];
        sum += values[i];
    }
    float mean = SUM(sum, first) / COLUMNS;
#pragma unroll
    for (uint i = 0; i < EACH; ++i) squares += (values[i] - mean) * (values[i] - mean);
    float scale = rsqrt(SUM(squares, second) / COLUMNS + 1e-5f);
#pragma unroll
    for (uint i = 0; i < EACH; ++i) {
        uint column = t + i * THREADS;
        out[get_group_id(0) * COLUMNS + column] = (values[i] - mean) * scale * gamma[column] + beta[column];
    }
}
