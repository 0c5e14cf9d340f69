// A sparse matrix in compressed rows times a vector, one row a work-item.
kernel void spmv(uint rows, global const uint* restrict starts, global const uint* restrict columns,
                 global const float* restrict values, global const float* restrict x, global float* restrict y) {
    uint row = get_global_id(0);
    if (row >= rows) return;
    float sum = 0;
    uint end = starts[row + 1];
    for (uint i = starts[row]; i < end; ++i) sum = fma(values[i], x[columns[i]], sum);
    y[row] = sum;
}
