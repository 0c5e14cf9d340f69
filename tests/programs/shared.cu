// Shared memory, static and dynamic, barriers, and more than the 48 KiB that a block has without asking.
//> reduction 2001000
//> transpose ok
//> large 1
#include <vector>
#include <cuda_runtime.h>
#include "check.h"

__global__ void reduce(const int *in, int *out, int n) {
    extern __shared__ int partial[];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    partial[threadIdx.x] = i < n ? in[i] : 0;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) out[blockIdx.x] = partial[0];
}

const int tile = 16;

__global__ void transpose(const int *in, int *out, int rows, int columns) {
    __shared__ int block[tile][tile + 1];
    int x = blockIdx.x * tile + threadIdx.x, y = blockIdx.y * tile + threadIdx.y;
    if (x < columns && y < rows) block[threadIdx.y][threadIdx.x] = in[y * columns + x];
    __syncthreads();
    x = blockIdx.y * tile + threadIdx.x;
    y = blockIdx.x * tile + threadIdx.y;
    if (x < rows && y < columns) out[y * rows + x] = block[threadIdx.x][threadIdx.y];
}

// Each thread leaves a mark far apart from the others; its neighbour reads it.
__global__ void large(int *ok, int words) {
    extern __shared__ int partial[];
    int stride = words / blockDim.x;
    partial[threadIdx.x * stride] = threadIdx.x + 7;
    __syncthreads();
    int next = (threadIdx.x + 1) % blockDim.x;
    if (partial[next * stride] != next + 7) atomicAnd(ok, 0);
}

int main() {
    const int n = 2000;
    std::vector<int> in(n);
    for (int i = 0; i < n; i++) in[i] = i + 1;
    int *d_in, *d_out, sums[16];
    CHECK(cudaMalloc(&d_in, n * sizeof(int)));
    CHECK(cudaMalloc(&d_out, sizeof sums));
    CHECK(cudaMemcpy(d_in, in.data(), n * sizeof(int), cudaMemcpyHostToDevice));
    reduce<<<16, 128, 128 * sizeof(int)>>>(d_in, d_out, n);
    CHECK(cudaMemcpy(sums, d_out, sizeof sums, cudaMemcpyDeviceToHost));
    int sum = 0;
    for (int s : sums) sum += s;
    std::printf("reduction %d\n", sum);

    const int rows = 37, columns = 50;
    std::vector<int> matrix(rows * columns), turned(rows * columns);
    for (int i = 0; i < rows * columns; i++) matrix[i] = i * i;
    int *d_matrix, *d_turned;
    CHECK(cudaMalloc(&d_matrix, rows * columns * sizeof(int)));
    CHECK(cudaMalloc(&d_turned, rows * columns * sizeof(int)));
    CHECK(cudaMemcpy(d_matrix, matrix.data(), rows * columns * sizeof(int), cudaMemcpyHostToDevice));
    transpose<<<dim3(4, 3), dim3(tile, tile)>>>(d_matrix, d_turned, rows, columns);
    CHECK(cudaMemcpy(turned.data(), d_turned, rows * columns * sizeof(int), cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++) wrong += turned[x * rows + y] != matrix[y * columns + x];
    std::printf("transpose %s\n", wrong == 0 ? "ok" : "WRONG");

    const int bytes = 64 << 10;
    int one = 1, *d_ok;
    CHECK(cudaFuncSetAttribute(large, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
    CHECK(cudaMalloc(&d_ok, sizeof(int)));
    CHECK(cudaMemcpy(d_ok, &one, sizeof one, cudaMemcpyHostToDevice));
    large<<<1, 256, bytes>>>(d_ok, bytes / 4);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(&one, d_ok, sizeof one, cudaMemcpyDeviceToHost));
    std::printf("large %d\n", one);
    return 0;
}
