// What kernels print appears when the program waits for them; memory that kernels allocate; a failed assertion.
//% nvidia kernels that allocate are not printed
//> before
//> launched
//> thread 5: word, 1.50, 1234567890123, %
//> thread 6: word, 1.50, 1234567890123, %
//> waited
//> allocated 45
//> kept 77
//> assertion: device-side assert triggered
#include <cassert>
#include <cuda_runtime.h>
#include "check.h"

__global__ void print(int first) {
    if (threadIdx.x < 2)
        printf("thread %d: %s, %.2f, %lld, %%\n", first + threadIdx.x, "word", 1.5, 1234567890123ll);
}

__global__ void allocate(int *sum) {
    int *p = (int *)malloc(10 * sizeof(int));
    for (int i = 0; i < 10; i++) p[i] = i;
    *sum = 0;
    for (int i = 0; i < 10; i++) *sum += p[i];
    free(p);
}

__device__ int *kept;
__global__ void keep() {
    kept = (int *)malloc(sizeof(int));
    *kept = 77;
}
__global__ void fetch(int *value) {
    *value = *kept;
    free(kept);
}

__global__ void insist(int x) { assert(x == 3); }

int main() {
    std::printf("before\n");
    print<<<1, 4>>>(5);
    std::printf("launched\n");
    CHECK(cudaDeviceSynchronize());
    std::printf("waited\n");
    int *data, value;
    CHECK(cudaMalloc(&data, sizeof value));
    allocate<<<1, 1>>>(data);
    CHECK(cudaMemcpy(&value, data, sizeof value, cudaMemcpyDeviceToHost));
    std::printf("allocated %d\n", value);
    keep<<<1, 1>>>();
    fetch<<<1, 1>>>(data);
    CHECK(cudaMemcpy(&value, data, sizeof value, cudaMemcpyDeviceToHost));
    std::printf("kept %d\n", value);
    insist<<<1, 1>>>(3);
    insist<<<1, 1>>>(4);
    std::printf("assertion: %s\n", cudaGetErrorString(cudaDeviceSynchronize()));
    return 0;
}
