// Memory pools: what they hold, what they are asked and told, where memory comes from.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> work in order: 3 5
//> pools: 181 answers
#include <unistd.h>
#include <cuda.h>
#include "driver.h"

__global__ void set(int *data, int n) { *data = n; }

static unsigned long long ask(CUmemoryPool pool, CUmemPool_attribute which) {
    unsigned long long got = 0;
    OK(cuMemPoolGetAttribute(pool, which, &got));
    return got;
}

static unsigned long long about(CUpointer_attribute which, CUdeviceptr at) {
    unsigned long long got = 0;
    OK(cuPointerGetAttribute(&got, which, at));
    return got;
}

int main() {
    start();
    const size_t M = 1 << 20, CHUNK = 32 * M;
    int supported;
    OK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED, 0));
    IS(1, supported);
    OK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_MEMPOOL_SUPPORTED_HANDLE_TYPES, 0));
    IS(1, supported & 1);

    // The default pool.
    CUmemoryPool pool, same;
    OK(cuDeviceGetDefaultMemPool(&pool, 0));
    OK(cuDeviceGetMemPool(&same, 0));
    IS(1, pool == same);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetDefaultMemPool(&same, 77));
    INVALID(cuMemPoolDestroy(pool));
    unsigned long long long_value;
    INVALID(cuMemPoolGetAttribute(pool, (CUmemPool_attribute)0, &long_value));
    INVALID(cuMemPoolGetAttribute(pool, (CUmemPool_attribute)9, &long_value));
    IS(1, ask(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES));
    IS(1, ask(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC));
    IS(1, ask(pool, CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES));
    IS(0, ask(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD));
    IS(0, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT));
    CUdeviceptr small, large, none;
    OK(cuMemAllocAsync(&small, 1000, 0));
    IS(CHUNK, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT));
    IS(1000, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
    OK(cuMemAllocAsync(&large, 40 * M, 0));
    IS(1000 + 40 * M, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
    IS(1000 + 40 * M, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
    unsigned long long reserved = ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT);
    IS(1, reserved > 40 * M);
    INVALID(cuMemFreeAsync(small + 8, 0));
    OK(cuMemFreeAsync(large, 0));
    IS(1000, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
    IS(1000 + 40 * M, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
    OK(cuCtxSynchronize());
    IS(CHUNK, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT));
    IS(reserved, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH));
    INVALID(cuMemFreeAsync(large, 0));

    // What may be set.
    unsigned long long zero = 0, five = 5, keep = 200 * M;
    INVALID(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &five));
    INVALID(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, &zero));
    OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, &zero));
    OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH, &zero));
    IS(CHUNK, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH));
    IS(1000, ask(pool, CU_MEMPOOL_ATTR_USED_MEM_HIGH));
    OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, &zero));
    IS(0, ask(pool, CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES));
    OK(cuMemPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep));
    IS(keep, ask(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD));

    // What is kept, and given back.
    OK(cuMemAllocAsync(&large, 40 * M, 0));
    OK(cuMemFreeAsync(large, 0));
    OK(cuCtxSynchronize());
    IS(1, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) > CHUNK);
    OK(cuMemPoolTrimTo(pool, 0));
    IS(CHUNK, ask(pool, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT));
    INVALID(cuMemPoolTrimTo(nullptr, 0));
    OK(cuMemAllocAsync(&none, 0, 0));
    IS(0, none);
    OK(cuMemFreeAsync(0, 0));
    ANSWERS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocAsync(&none, (size_t)1 << 45, 0));
    OK(cuMemFree(small));
    CUdeviceptr plain;
    OK(cuMemAlloc(&plain, 64));
    OK(cuMemFreeAsync(plain, 0));

    // Memory freed in a stream is there for what follows in it.
    CUstream stream;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    int results[2] = {};
    CUdeviceptr first, second;
    OK(cuMemAllocAsync(&first, 4, stream));
    set<<<1, 1, 0, (cudaStream_t)stream>>>((int *)first, 3);
    OK(cuMemcpyDtoHAsync(&results[0], first, 4, stream));
    OK(cuMemFreeAsync(first, stream));
    OK(cuMemAllocAsync(&second, 4, stream));
    IS(first, second);
    set<<<1, 1, 0, (cudaStream_t)stream>>>((int *)second, 5);
    OK(cuMemcpyDtoHAsync(&results[1], second, 4, stream));
    OK(cuMemFreeAsync(second, stream));
    OK(cuStreamSynchronize(stream));
    std::printf("work in order: %d %d\n", results[0], results[1]);

    // Pools of one's own.
    CUmemPoolProps props = {};
    props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    props.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemPoolProps wrong = props;
    wrong.handleTypes = CU_MEM_HANDLE_TYPE_WIN32;
    INVALID(cuMemPoolCreate(&same, &wrong));
    wrong = props;
    wrong.location.id = 77;
    INVALID(cuMemPoolCreate(&same, &wrong));
    wrong = props;
    wrong.allocType = CU_MEM_ALLOCATION_TYPE_INVALID;
    INVALID(cuMemPoolCreate(&same, &wrong));
    wrong = props;
    wrong.reserved[0] = 1;
    INVALID(cuMemPoolCreate(&same, &wrong));
    props.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    props.maxSize = 4 * M;
    CUmemoryPool own, imported;
    OK(cuMemPoolCreate(&own, &props));
    CUdeviceptr part;
    OK(cuMemAllocFromPoolAsync(&part, 3 * M, own, stream));
    IS(CHUNK, ask(own, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT));
    IS(3 * M, ask(own, CU_MEMPOOL_ATTR_USED_MEM_CURRENT));
    ANSWERS(CUDA_ERROR_OUT_OF_MEMORY, cuMemAllocFromPoolAsync(&none, 38 * M, own, stream));
    IS(0, about(CU_POINTER_ATTRIBUTE_CONTEXT, part));
    IS(2, about(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, part));
    IS(0, about(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, part));
    IS(part, about(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, part + 9));
    IS(3 * M, about(CU_POINTER_ATTRIBUTE_RANGE_SIZE, part + 9));
    IS(1, about(CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, part));
    IS((size_t)own, about(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, part));
    IS(CHUNK, about(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, part));
    CUmemGenericAllocationHandle handle;
    INVALID(cuMemRetainAllocationHandle(&handle, (void *)part));

    // Access.
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, there = {CU_MEM_LOCATION_TYPE_DEVICE, 77};
    CUmemAccess_flags flags;
    OK(cuMemPoolGetAccess(&flags, own, &here));
    IS(3, flags);
    INVALID(cuMemPoolGetAccess(&flags, own, &there));
    CUmemAccessDesc access = {here, CU_MEM_ACCESS_FLAGS_PROT_NONE};
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuMemPoolSetAccess(own, &access, 1));
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuMemPoolSetAccess(own, &access, 1));
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    OK(cuMemPoolSetAccess(own, &access, 1));
    access.location = there;
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuMemPoolSetAccess(own, &access, 1));
    access.location = {CU_MEM_LOCATION_TYPE_HOST, 0};
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuMemPoolSetAccess(own, &access, 1));

    // Sharing.
    int file = -1;
    CUmemPoolPtrExportData data;
    INVALID(cuMemPoolExportToShareableHandle(&file, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    INVALID(cuMemPoolExportToShareableHandle(&file, own, CU_MEM_HANDLE_TYPE_WIN32, 0));
    OK(cuMemPoolExportToShareableHandle(&file, own, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemPoolImportFromShareableHandle(&imported, (void *)(size_t)file, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    close(file);
    OK(cuMemPoolExportPointer(&data, part));
    OK(cuMemAlloc(&plain, 64));
    CUmemPoolPtrExportData unused;
    INVALID(cuMemPoolExportPointer(&unused, plain));
    OK(cuMemFree(plain));
    CUdeviceptr twin;
    OK(cuMemPoolImportPointer(&twin, imported, &data));
    INVALID(cuMemAllocFromPoolAsync(&none, 64, imported, stream));
    OK(cuMemsetD32(part + 4096, 0x1234, 1));
    unsigned word = 0;
    OK(cuMemcpyDtoH(&word, twin + 4096, sizeof word));
    IS(0x1234, word);
    OK(cuMemFreeAsync(twin, stream));
    OK(cuMemPoolDestroy(imported));

    // The pool in use.
    OK(cuDeviceSetMemPool(0, own));
    OK(cuDeviceGetMemPool(&same, 0));
    IS(1, same == own);
    OK(cuMemAllocAsync(&small, 64, stream));
    IS((size_t)own, about(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, small));
    OK(cuMemFreeAsync(small, stream));
    OK(cuMemPoolDestroy(own));
    INVALID(cuMemPoolDestroy(own));
    OK(cuDeviceGetMemPool(&same, 0));
    IS(1, same == pool);
    OK(cuMemsetD8(part, 1, 9));
    OK(cuMemFreeAsync(part, stream));
    INVALID(cuDeviceSetMemPool(0, nullptr));

    // Pools by place and type.
    CUmemLocation host = {CU_MEM_LOCATION_TYPE_HOST, 0}, nowhere = {CU_MEM_LOCATION_TYPE_NONE, 0};
    OK(cuMemGetDefaultMemPool(&same, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    IS(1, same == pool);
    OK(cuMemGetMemPool(&same, &here, CU_MEM_ALLOCATION_TYPE_PINNED));
    IS(1, same == pool);
    INVALID(cuMemGetDefaultMemPool(&same, &here, CU_MEM_ALLOCATION_TYPE_INVALID));
    INVALID(cuMemGetDefaultMemPool(&same, &nowhere, CU_MEM_ALLOCATION_TYPE_PINNED));
    OK(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_PINNED, pool));
    INVALID(cuMemSetMemPool(&here, CU_MEM_ALLOCATION_TYPE_MANAGED, pool));
    CUmemoryPool on_host, managed;
    OK(cuMemGetDefaultMemPool(&on_host, &host, CU_MEM_ALLOCATION_TYPE_PINNED));
    OK(cuMemGetMemPool(&managed, &nowhere, CU_MEM_ALLOCATION_TYPE_MANAGED));
    IS(1, on_host != pool && managed != pool && on_host != managed);
    CUmemoryPool pools[2] = {on_host, managed};
    CUmemAccess_flags allowed;
    OK(cuMemPoolGetAccess(&allowed, on_host, &here));
    IS(0, allowed);
    CUmemAccessDesc reach = {here, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
    OK(cuMemPoolSetAccess(on_host, &reach, 1));
    OK(cuMemPoolGetAccess(&allowed, on_host, &here));
    IS(3, allowed);
    for (int i = 0; i < 2; i++) {
        OK(cuMemAllocFromPoolAsync(&part, 64, pools[i], stream));
        set<<<1, 1, 0, (cudaStream_t)stream>>>((int *)part, 70 + i);
        OK(cuStreamSynchronize(stream));
        IS(70 + i, *(int *)part);
        IS(i, about(CU_POINTER_ATTRIBUTE_IS_MANAGED, part));
        OK(cuMemFreeAsync(part, stream));
    }
    OK(cuStreamSynchronize(stream));
    return done("pools");
}
