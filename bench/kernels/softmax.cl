// The softmax of rows of 1024 numbers. One row a work-group.
#define THREADS 256
#define COLUMNS 1024
#define EACH (COLUMNS / THREADS)

// The largest and the sum over the work-group, in every work-item.
#if defined(WORK_GROUP)
#define LARGEST(value, parts) work_group_reduce_max(value)
#define SUM(value, parts) work_group_reduce_add(value)
#elif defined(SUB_GROUP)
#define LARGEST(value, parts) group_largest(value, parts)
#define SUM(value, parts) group_sum(value, parts)
float group_largest(float value, local float* parts) {
    value = sub_group_reduce_max(value);
    if (get_sub_group_local_id() == 0) parts[get_sub_group_id()] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint i = 0; i < get_num_sub_groups(); ++i) value = fmax(value, parts[i]);
    return value;
}
float group_sum(float value, local float* parts) {
    value = sub_group_reduce_add(value);
    if (get_sub_group_local_id() == 0) parts[get_sub_group_id()] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    float sum = 0;
    for (uint i = 0; i < get_num_sub_groups(); ++i) sum += parts[i];
    return sum;
}
#else
#define LARGEST(value, parts) group_largest(value, parts)
#define SUM(value, parts) group_sum(value, parts)
float group_largest(float value, local float* parts) {
    uint t = get_local_id(0);
    parts[t] = value;
    for (uint distance = THREADS / 2; distance > 0; distance /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < distance) parts[t] = fmax(parts[t], parts[t + distance]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return parts[0];
}
float group_sum(float value, local float* parts) {
    uint t = get_local_id(0);
    parts[t] = value;
    for (uint distance = THREADS / 2; distance > 0; distance /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t < distance) parts[t] += parts[t + distance];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return parts[0];
}
#endif

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void softmax(global const float* restrict in, global float* restrict out) {
    local float maxima[THREADS], sums[THREADS];
    uint t = get_local_id(0);
    global const float* row = in + get_group_id(0) * COLUMNS;
    float values[EACH], largest = -INFINITY, sum = 0;
#pragma unroll
    for (uint i = 0; i < EACH; ++i) {
        values[i] = row[t + i * THREADS];
        largest = fmax(largest, values[i]);
    }
    largest = LARGEST(largest, maxima);
#pragma unroll
    for (uint i = 0; i < EACH; ++i) {
        values[i] = exp(values[i] - largest);
        sum += values[i];
    }
    float scale = 1.0f / SUM(sum, sums);
#pragma unroll
    for (uint i = 0; i < EACH; ++i) out[get_group_id(0) * COLUMNS + t + i * THREADS] = values[i] * scale;
}
