// Several host threads use one device at once, each with a stream of its own and with its own default stream.
//> 8 threads ok
#include <cuda_runtime.h>
#include <thread>
#include <vector>
#include "check.h"

__global__ void step(unsigned *data, int n, unsigned factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] = data[i] * factor + i;
}

// Runs the same chain on the device and on the host.
static void work(int id, int *wrong) {
    const int n = 500 + id;
    std::vector<unsigned> in(n), out(n);
    for (int i = 0; i < n; i++) in[i] = i * id;
    cudaStream_t own;
    CHECK(cudaStreamCreate(&own));
    for (int round = 0; round < 20; round++) {
        cudaStream_t stream = round % 2 ? own : cudaStreamPerThread;
        unsigned *data;
        CHECK(cudaMalloc(&data, n * sizeof(unsigned)));
        CHECK(cudaMemcpyAsync(data, in.data(), n * sizeof(unsigned), cudaMemcpyHostToDevice, stream));
        step<<<(n + 63) / 64, 64, 0, stream>>>(data, n, id + round);
        step<<<(n + 63) / 64, 64, 0, stream>>>(data, n, 3);
        CHECK(cudaMemcpyAsync(out.data(), data, n * sizeof(unsigned), cudaMemcpyDeviceToHost, stream));
        CHECK(cudaStreamSynchronize(stream));
        CHECK(cudaFree(data));
        for (int i = 0; i < n; i++) *wrong += out[i] != (in[i] * (id + round) + i) * 3 + i;
    }
    CHECK(cudaStreamDestroy(own));
}

int main() {
    const int count = 8;
    int wrong[count] = {}, sum = 0;
    std::vector<std::thread> threads;
    for (int id = 0; id < count; id++) threads.emplace_back(work, id, &wrong[id]);
    for (std::thread &thread : threads) thread.join();
    for (int w : wrong) sum += w;
    std::printf("%d threads %s\n", count, sum == 0 ? "ok" : "WRONG");
    return 0;
}
