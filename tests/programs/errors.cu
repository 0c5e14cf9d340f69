// What goes wrong is reported as on hardware: which error, from which call, and what still works after it. Older runtime
// libraries word it otherwise.
//- 12.4 its runtime library has other errors for wrong launches
//- 12.9 its runtime library has other errors for wrong launches
//- 11.8 its runtime library has other errors for wrong launches
//> too many threads: invalid argument
//> too many threads in a bounded kernel: invalid argument
//> empty grid: invalid argument
//> too much shared memory: invalid argument
//> good launch after bad ones: no error, value 5
//> copy past the end: invalid argument
//> copy to a freed pointer: invalid argument
//> free of a wrong pointer: invalid argument
//> too much memory: out of memory
//> no such device: invalid device ordinal
//> event that was not recorded: no error
//> elapsed time of an unrecorded event: invalid resource handle
//> unknown attribute: invalid argument
//> bad access, at the launch: no error
//> bad access, at the next synchronisation: an illegal memory access was encountered
//> bad access, afterwards: an illegal memory access was encountered
#include <cuda_runtime.h>
#include "check.h"

__global__ void store(int *at, int value) { *at = value; }
__global__ void __launch_bounds__(64) bounded(int *at) { *at = blockDim.x; }

void report(const char *what, cudaError_t status) { std::printf("%s: %s\n", what, cudaGetErrorString(status)); }

// The status of the last launch, which is then forgotten.
void report_launch(const char *what) { report(what, cudaGetLastError()); }

int main() {
    int *data, value = 0;
    CHECK(cudaMalloc(&data, 64));

    store<<<1, 2048>>>(data, 1);
    report_launch("too many threads");
    bounded<<<1, 128>>>(data);
    report_launch("too many threads in a bounded kernel");
    store<<<0, 1>>>(data, 1);
    report_launch("empty grid");
    store<<<1, 1, 64 << 10>>>(data, 1);
    report_launch("too much shared memory");
    store<<<1, 1>>>(data, 5);
    cudaError_t status = cudaMemcpy(&value, data, sizeof value, cudaMemcpyDeviceToHost);
    std::printf("good launch after bad ones: %s, value %d\n", cudaGetErrorString(status), value);

    static char big[1 << 22];
    report("copy past the end", cudaMemcpy(data, big, sizeof big, cudaMemcpyHostToDevice));
    int *freed;
    CHECK(cudaMalloc(&freed, 4 << 20));
    CHECK(cudaFree(freed));
    report("copy to a freed pointer", cudaMemcpy(freed, big, 16, cudaMemcpyHostToDevice));
    report("free of a wrong pointer", cudaFree(data + 1));
    void *huge;
    report("too much memory", cudaMalloc(&huge, (size_t)1 << 46));
    report("no such device", cudaSetDevice(99));
    cudaEvent_t first, second;
    CHECK(cudaEventCreate(&first));
    CHECK(cudaEventCreate(&second));
    report("event that was not recorded", cudaEventSynchronize(first));
    float milliseconds;
    report("elapsed time of an unrecorded event", cudaEventElapsedTime(&milliseconds, first, second));
    report("unknown attribute", cudaDeviceGetAttribute(&value, (cudaDeviceAttr)9999, 0));
    cudaGetLastError();

    store<<<1, 1>>>((int *)0x10, 1);
    report_launch("bad access, at the launch");
    report("bad access, at the next synchronisation", cudaDeviceSynchronize());
    report("bad access, afterwards", cudaMalloc(&freed, 16));
    return 0;
}
