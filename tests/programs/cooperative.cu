// A grid whose blocks wait for each other.
//> reversed ok
//> too many blocks: too many blocks in cooperative launch
//> rounds 55
#include <cooperative_groups.h>
#include <cuda_runtime.h>
#include "check.h"
namespace cg = cooperative_groups;

__global__ void reverse(int *data, int n) {
    cg::grid_group grid = cg::this_grid();
    int i = grid.thread_rank();
    data[i] = i;
    grid.sync();
    int other = data[n - 1 - i];
    grid.sync();
    data[i] = other;
}

// In each round one block adds to what the previous one left.
__global__ void relay(int *sum) {
    cg::grid_group grid = cg::this_grid();
    for (int round = 0; round < 10; round++) {
        if (blockIdx.x == round % gridDim.x && threadIdx.x == 0) *sum += round + 1;
        grid.sync();
    }
}

int main() {
    const int blocks = 4, threads = 64;
    int n = blocks * threads, *data, host[blocks * threads];
    CHECK(cudaMalloc(&data, sizeof host));
    void *arguments[] = {&data, &n};
    CHECK(cudaLaunchCooperativeKernel((void *)reverse, blocks, threads, arguments));
    CHECK(cudaMemcpy(host, data, sizeof host, cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < n; i++) wrong += host[i] != n - 1 - i;
    std::printf("reversed %s\n", wrong == 0 ? "ok" : "WRONG");

    cudaError_t status = cudaLaunchCooperativeKernel((void *)reverse, 1000000, threads, arguments);
    std::printf("too many blocks: %s\n", cudaGetErrorString(status));
    cudaGetLastError();

    CHECK(cudaMemset(data, 0, sizeof(int)));
    void *one[] = {&data};
    CHECK(cudaLaunchCooperativeKernel((void *)relay, 3, 32, one));
    CHECK(cudaMemcpy(host, data, sizeof(int), cudaMemcpyDeviceToHost));
    std::printf("rounds %d\n", host[0]);
    return 0;
}
