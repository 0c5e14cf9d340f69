// Two devices of one process that do not reach each other (two H200s do): copies between them, and access that they do not have.
//$ HETGPU_DEVICE=cpu,interp
//> 0 to 1 and back: 256 numbers
//> peer: 54 answers
#include <vector>
#include <cuda.h>
#include "driver.h"

__global__ void add(int *data, int n, int value) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] += value;
}

int main() {
    const int N = 256;
    int devices;
    CUcontext one, two;
    OK(cuInit(0));
    OK(cuDeviceGetCount(&devices));
    IS(2, devices);
    OK(cuDevicePrimaryCtxRetain(&one, 0));
    OK(cuDevicePrimaryCtxRetain(&two, 1));
    std::vector<int> numbers(N), back(N);
    for (int i = 0; i < N; i++) numbers[i] = i;
    CUdeviceptr a, b;
    OK(cuCtxSetCurrent(two));
    OK(cuMemAlloc(&b, 4096));
    OK(cuCtxSetCurrent(one));
    OK(cuMemAlloc(&a, 4096));
    OK(cuMemcpyHtoD(a, numbers.data(), N * sizeof(int)));
    int ordinal = -1;
    OK(cuPointerGetAttribute(&ordinal, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, b));
    IS(1, ordinal);

    // There and back, with a kernel at each end.
    cudaSetDevice(0);
    add<<<1, N>>>((int *)a, N, 1);
    OK(cuMemcpyPeer(b, two, a, one, N * sizeof(int)));
    cudaSetDevice(1);
    add<<<1, N>>>((int *)b, N, 10);
    CUstream stream;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuCtxSynchronize());
    OK(cuMemcpyPeerAsync(a, one, b, two, N * sizeof(int), stream));
    OK(cuStreamSynchronize(stream));
    OK(cuCtxSetCurrent(one));
    OK(cuMemcpyDtoH(back.data(), a, N * sizeof(int)));
    int right = 0;
    for (int i = 0; i < N; i++) right += back[i] == i + 11;
    std::printf("0 to 1 and back: %d numbers\n", right);

    // By address alone, in rows, and to and from the host.
    OK(cuMemcpy(b, a, 8));
    OK(cuMemcpyDtoD(b + 8, a + 8, 8));
    OK(cuMemcpyHtoD(b + 16, numbers.data(), 8));
    OK(cuMemcpyDtoH(back.data(), b, 24));
    IS(11, back[0]);
    IS(13, back[2]);
    IS(1, back[5]);
    CUDA_MEMCPY2D rows = {};
    rows.srcMemoryType = rows.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    rows.srcDevice = a, rows.dstDevice = b;
    rows.srcPitch = 64, rows.dstPitch = 32;
    rows.WidthInBytes = 8, rows.Height = 3;
    OK(cuMemcpy2D(&rows));
    OK(cuMemcpyDtoH(back.data(), b + 64, 8));
    IS(32 + 11, back[0]);
    INVALID(cuMemsetD32(b + 100, 77, 5));
    CUcontext back_to;
    OK(cuCtxPushCurrent(two));
    OK(cuMemsetD32(b + 100, 77, 5));
    OK(cuCtxPopCurrent(&back_to));
    OK(cuMemcpyDtoH(back.data(), b + 96, 28));
    IS(77, back[1]);
    IS(77, back[5]);
    IS(1, back[6] != 77);
    INVALID(cuMemcpy(b, a, 5000));
    INVALID(cuMemcpyPeer(b + 4000, two, a, one, 200));

    // Access of one to the other's memory.
    int can = 9;
    OK(cuDeviceCanAccessPeer(&can, 0, 1));
    IS(0, can);
    OK(cuDeviceCanAccessPeer(&can, 0, 0));
    IS(0, can);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceCanAccessPeer(&can, 0, 9));
    OK(cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1));
    IS(0, can);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 0));
    ANSWERS(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, cuCtxEnablePeerAccess(two, 0));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxEnablePeerAccess(one, 0));
    INVALID(cuCtxEnablePeerAccess(two, 1));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxEnablePeerAccess(nullptr, 0));
    ANSWERS(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, cuCtxDisablePeerAccess(two));
    OK(cuMemFree(a));
    OK(cuMemFree(b));
    return done("peer");
}
