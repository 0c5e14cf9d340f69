// Two devices of one process that reach each other's memory once they are let: kernels, fills, words, pools, mapped memory, and
// streams that wait for the other device. Two H200s have such access from the start where their link allows it.
//$ HETGPU_DEVICE=cpu,cpu
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> a kernel here saw 256 numbers there
//> peers: 99 answers
#include <cuda.h>
#include <cstring>
#include "driver.h"

static const char *text = R"(
.version 7.0
.target sm_75
.address_size 64
.visible .entry twice(.param .u64 to, .param .u64 from)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<6>;
    ld.param.u64 %rd1, [to];
    ld.param.u64 %rd2, [from];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    mov.u32 %r1, %tid.x;
    mul.wide.u32 %rd3, %r1, 4;
    add.s64 %rd4, %rd1, %rd3;
    add.s64 %rd5, %rd2, %rd3;
    ld.global.u32 %r2, [%rd5];
    shl.b32 %r3, %r2, 1;
    st.global.u32 [%rd4], %r3;
    ret;
}
)";

static const int N = 256;

static int right(CUdeviceptr memory, int factor) {
    int found[N], count = 0;
    OK(cuMemcpyDtoH(found, memory, sizeof found));
    for (int i = 0; i < N; i++) count += found[i] == factor * i;
    return count;
}

int main() {
    CUcontext one, two;
    int can, numbers[N];
    OK(cuInit(0));
    OK(cuDeviceCanAccessPeer(&can, 0, 1));
    IS(1, can);
    OK(cuDevicePrimaryCtxRetain(&one, 0));
    OK(cuDevicePrimaryCtxRetain(&two, 1));
    for (int i = 0; i < N; i++) numbers[i] = i;
    CUuuid uuids[2];
    for (int i = 0; i < 2; i++) OK(cuDeviceGetUuid(&uuids[i], i));
    IS(1, std::memcmp(&uuids[0], &uuids[1], sizeof(CUuuid)) != 0);
    OK(cuDeviceCanAccessPeer(&can, 1, 1));
    IS(0, can);
    OK(cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED, 0, 1));
    IS(1, can);
    OK(cuDeviceGetP2PAttribute(&can, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 1, 0));
    IS(1, can);
    CUatomicOperation operations[2] = {CU_ATOMIC_OPERATION_INTEGER_ADD, CU_ATOMIC_OPERATION_CAS};
    unsigned capabilities[2];
    OK(cuDeviceGetP2PAtomicCapabilities(capabilities, operations, 2, 0, 1));
    IS(1, (capabilities[0] & CU_ATOMIC_CAPABILITY_SCALAR_64) != 0);
    IS(0, capabilities[1] & CU_ATOMIC_CAPABILITY_REDUCTION);
    OK(cuDeviceGetHostAtomicCapabilities(capabilities, operations, 1, 0));
    operations[0] = CU_ATOMIC_OPERATION_MAX;
    INVALID(cuDeviceGetHostAtomicCapabilities(capabilities, operations, 1, 0));
    INVALID(cuDeviceGetP2PAtomicCapabilities(capabilities, operations, 0, 0, 1));

    // Memory there, of before and after access was given, and a kernel here.
    CUdeviceptr before, after, here;
    OK(cuCtxSetCurrent(two));
    OK(cuMemAlloc(&before, sizeof numbers));
    OK(cuMemcpyHtoD(before, numbers, sizeof numbers));
    CUstream there;
    OK(cuStreamCreate(&there, CU_STREAM_NON_BLOCKING));
    OK(cuCtxSetCurrent(one));
    OK(cuMemAlloc(&here, sizeof numbers));
    INVALID(cuMemsetD32(before, 0, 4));
    ANSWERS(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, cuCtxDisablePeerAccess(two));
    OK(cuCtxEnablePeerAccess(two, 0));
    ANSWERS(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, cuCtxEnablePeerAccess(two, 0));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxEnablePeerAccess(one, 0));
    INVALID(cuCtxEnablePeerAccess(two, 1));
    CUmodule module;
    CUfunction twice;
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&twice, module, "twice"));
    void *read[] = {&here, &before};
    OK(cuLaunchKernel(twice, 1, 1, 1, N, 1, 1, 0, nullptr, read, nullptr));
    OK(cuCtxSynchronize());
    std::printf("a kernel here saw %d numbers there\n", right(here, 2));
    OK(cuCtxSetCurrent(two));
    OK(cuMemAlloc(&after, sizeof numbers));
    OK(cuCtxSetCurrent(one));
    void *write[] = {&after, &here};
    OK(cuLaunchKernel(twice, 1, 1, 1, N, 1, 1, 0, nullptr, write, nullptr));
    OK(cuCtxSynchronize());
    IS(N, right(after, 4));
    OK(cuMemsetD32(after, 0, N));
    IS(1, right(after, 4));

    // A stream there waits for work here, and the other way round.
    CUstream stream;
    CUevent event;
    CUdeviceptr word;
    volatile unsigned *gate;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    OK(cuMemHostAlloc((void **)&gate, 64, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
    OK(cuMemHostGetDevicePointer(&word, (void *)gate, 0));
    gate[0] = 0;
    OK(cuStreamWaitValue32(stream, word, 1, CU_STREAM_WAIT_VALUE_EQ));
    OK(cuLaunchKernel(twice, 1, 1, 1, N, 1, 1, 0, stream, write, nullptr));
    OK(cuEventRecord(event, stream));
    OK(cuStreamWaitEvent(there, event, 0));
    int *back;
    OK(cuMemAllocHost((void **)&back, sizeof numbers));
    OK(cuMemcpyDtoHAsync(back, after, sizeof numbers, there));
    ANSWERS(CUDA_ERROR_NOT_READY, cuStreamQuery(there));
    gate[0] = 1;
    OK(cuStreamSynchronize(there));
    IS(4 * 77, back[77]);

    // A word there, written from here.
    OK(cuStreamWriteValue32(stream, after, 99, 0));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(numbers, after, 4));
    IS(99, numbers[0]);
    numbers[0] = 0;

    // No more of it.
    OK(cuCtxDisablePeerAccess(two));
    INVALID(cuMemsetD32(before, 0, 4));
    OK(cuMemcpyDtoD(here, before, sizeof numbers));
    IS(N, right(here, 1));

    // A pool there, whose memory this device is let reach.
    CUmemPoolProps props = {};
    props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    props.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    props.location.id = 1;
    CUmemoryPool pool;
    CUdeviceptr pooled;
    CUmemAccessDesc access = {};
    CUmemAccess_flags flags;
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.location.id = 0;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    OK(cuMemPoolCreate(&pool, &props));
    OK(cuMemPoolGetAccess(&flags, pool, &access.location));
    IS(CU_MEM_ACCESS_FLAGS_PROT_NONE, flags);
    OK(cuMemPoolSetAccess(pool, &access, 1));
    OK(cuMemPoolGetAccess(&flags, pool, &access.location));
    IS(CU_MEM_ACCESS_FLAGS_PROT_READWRITE, flags);
    OK(cuMemAllocFromPoolAsync(&pooled, sizeof numbers, pool, there));
    OK(cuStreamSynchronize(there));
    void *pool_params[] = {&pooled, &here};
    OK(cuLaunchKernel(twice, 1, 1, 1, N, 1, 1, 0, nullptr, pool_params, nullptr));
    OK(cuMemsetD32(pooled + 4, 2, 1));
    OK(cuCtxSynchronize());
    IS(N, right(pooled, 2));
    OK(cuMemFreeAsync(pooled, there));
    OK(cuStreamSynchronize(there));
    OK(cuMemPoolDestroy(pool));

    // Memory there that is mapped, and this device let reach it.
    CUmemAllocationProp made = {};
    made.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    made.location = props.location;
    CUmemGenericAllocationHandle physical;
    CUdeviceptr mapped;
    size_t bytes = 2 << 20;
    OK(cuMemCreate(&physical, bytes, &made, 0));
    OK(cuMemAddressReserve(&mapped, bytes, 0, 0, 0));
    OK(cuMemMap(mapped, bytes, 0, physical, 0));
    OK(cuMemSetAccess(mapped, bytes, &access, 1));
    void *mapped_params[] = {&mapped, &here};
    OK(cuLaunchKernel(twice, 1, 1, 1, N, 1, 1, 0, nullptr, mapped_params, nullptr));
    OK(cuCtxSynchronize());
    IS(N, right(mapped, 2));
    OK(cuMemUnmap(mapped, bytes));
    OK(cuMemRelease(physical));
    OK(cuMemAddressFree(mapped, bytes));
    OK(cuMemFree(here));
    OK(cuMemFree(before));
    OK(cuMemFree(after));
    return done("peers");
}
