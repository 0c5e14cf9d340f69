// Memory that host and device share: pinned, registered, managed; and what the runtime says of a pointer.
//> pinned 30
//> registered 300
//> managed 3000, then 3001
//> managed variable 12
//> kinds 2 1 3 0
//> stream-ordered 99
#include <vector>
#include <cuda_runtime.h>
#include "check.h"

__global__ void scale(int *data, int n, int factor) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] *= factor;
}

__managed__ int shared_counter = 11;
__global__ void count() { shared_counter++; }

int main() {
    const int n = 300;
    int *pinned, *mapped;
    CHECK(cudaHostAlloc(&pinned, n * sizeof(int), cudaHostAllocMapped));
    for (int i = 0; i < n; i++) pinned[i] = i;
    CHECK(cudaHostGetDevicePointer(&mapped, pinned, 0));
    scale<<<2, 256>>>(mapped, n, 10);
    CHECK(cudaDeviceSynchronize());
    std::printf("pinned %d\n", pinned[3]);

    std::vector<int> own(n, 3);
    CHECK(cudaHostRegister(own.data(), n * sizeof(int), cudaHostRegisterMapped));
    CHECK(cudaHostGetDevicePointer(&mapped, own.data(), 0));
    scale<<<2, 256>>>(mapped, n, 100);
    CHECK(cudaDeviceSynchronize());
    std::printf("registered %d\n", own[299]);
    CHECK(cudaHostUnregister(own.data()));

    int *managed;
    CHECK(cudaMallocManaged(&managed, n * sizeof(int)));
    for (int i = 0; i < n; i++) managed[i] = 3;
    scale<<<2, 256>>>(managed, n, 1000);
    CHECK(cudaDeviceSynchronize());
    int before = managed[7];
    managed[7]++;
    scale<<<2, 256>>>(managed, n, 1);
    CHECK(cudaDeviceSynchronize());
    std::printf("managed %d, then %d\n", before, managed[7]);

    count<<<1, 1>>>();
    CHECK(cudaDeviceSynchronize());
    std::printf("managed variable %d\n", shared_counter);

    int *device;
    CHECK(cudaMalloc(&device, 64));
    cudaPointerAttributes of[4];
    CHECK(cudaPointerGetAttributes(&of[0], device));
    CHECK(cudaPointerGetAttributes(&of[1], pinned));
    CHECK(cudaPointerGetAttributes(&of[2], managed));
    CHECK(cudaPointerGetAttributes(&of[3], &before));
    std::printf("kinds %d %d %d %d\n", of[0].type, of[1].type, of[2].type, of[3].type);

    int *ordered, value = 33;
    CHECK(cudaMallocAsync(&ordered, sizeof(int), 0));
    CHECK(cudaMemcpyAsync(ordered, &value, sizeof value, cudaMemcpyHostToDevice, 0));
    scale<<<1, 1>>>(ordered, 1, 3);
    CHECK(cudaMemcpyAsync(&value, ordered, sizeof value, cudaMemcpyDeviceToHost, 0));
    CHECK(cudaFreeAsync(ordered, 0));
    CHECK(cudaDeviceSynchronize());
    std::printf("stream-ordered %d\n", value);

    CHECK(cudaFree(managed));
    CHECK(cudaFreeHost(pinned));
    return 0;
}
