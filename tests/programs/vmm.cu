// Virtual memory management: addresses, physical memory, mappings, access, handles.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> kernel through another address: 40 41 42 43
//> a write without access: CUDA_ERROR_ILLEGAL_ADDRESS
//> vmm: 127 answers
#include <cstring>
#include <unistd.h>
#include <cuda.h>
#include "driver.h"

__global__ void add(int *data, int n) { data[threadIdx.x] += n; }

static CUmemAllocationProp on_device(int device = 0) {
    CUmemAllocationProp prop = {};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, device};
    return prop;
}

static CUmemAccessDesc access(int flags, int device = 0) {
    return {{CU_MEM_LOCATION_TYPE_DEVICE, device}, (CUmemAccess_flags)flags};
}

static unsigned long long access_at(CUdeviceptr at) {
    unsigned long long flags = 99;
    CUmemLocation location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    OK(cuMemGetAccess(&flags, &location, at));
    return flags;
}

static unsigned long long attribute(CUpointer_attribute which, CUdeviceptr at) {
    unsigned long long got = 0;
    OK(cuPointerGetAttribute(&got, which, at));
    return got;
}

int main() {
    start();
    const size_t T = 2 << 20;
    int supported;
    OK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
    IS(1, supported);
    OK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED, 0));
    IS(1, supported);

    // Sizes.
    CUmemAllocationProp prop = on_device();
    size_t unit = 0;
    OK(cuMemGetAllocationGranularity(&unit, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    IS(T, unit);
    OK(cuMemGetAllocationGranularity(&unit, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    IS(T, unit);
    INVALID(cuMemGetAllocationGranularity(&unit, &prop, (CUmemAllocationGranularity_flags)2));

    // Addresses.
    CUdeviceptr range, other;
    INVALID(cuMemAddressReserve(&range, 4096, 0, 0, 0));
    INVALID(cuMemAddressReserve(&range, 0, 0, 0, 0));
    INVALID(cuMemAddressReserve(&range, T, 3, 0, 0));
    INVALID(cuMemAddressReserve(&range, T, 0, 0, 1));
    OK(cuMemAddressReserve(&range, T, 1 << 30, 0, 0));
    IS(0, range % (1 << 30));
    OK(cuMemAddressReserve(&other, T, 0, range, 0));
    IS(1, other != range);
    INVALID(cuMemAddressFree(range + T, 3 * T));
    INVALID(cuMemAddressFree(range, 2 * T));
    OK(cuMemAddressFree(other, T));
    OK(cuMemAddressFree(range, T));
    INVALID(cuMemAddressFree(range, T));
    OK(cuMemAddressReserve(&range, 8 * T, 0, 0, 0));

    // Memory.
    CUmemGenericAllocationHandle two, one, bad;
    INVALID(cuMemCreate(&bad, T + 1, &prop, 0));
    INVALID(cuMemCreate(&bad, 0, &prop, 0));
    INVALID(cuMemCreate(&bad, T, &prop, 1));
    ANSWERS(CUDA_ERROR_OUT_OF_MEMORY, cuMemCreate(&bad, (size_t)1 << 45, &prop, 0));
    CUmemAllocationProp nowhere = on_device(77);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuMemCreate(&bad, T, &nowhere, 0));
    CUmemAllocationProp windows = prop;
    windows.requestedHandleTypes = CU_MEM_HANDLE_TYPE_WIN32;
    INVALID(cuMemCreate(&bad, T, &windows, 0));
    CUmemAllocationProp typeless = prop;
    typeless.type = CU_MEM_ALLOCATION_TYPE_MANAGED;
    INVALID(cuMemCreate(&bad, T, &typeless, 0));
    size_t free_before, free_now, total;
    OK(cuMemGetInfo(&free_before, &total));
    OK(cuMemCreate(&two, 2 * T, &prop, 0));
    OK(cuMemCreate(&one, T, &prop, 0));
    OK(cuMemGetInfo(&free_now, &total));
    // Drivers of several devices take small ones from what they hold already.
    IS(1, free_before >= free_now);
    CUmemAllocationProp got = {};
    OK(cuMemGetAllocationPropertiesFromHandle(&got, two));
    IS(0, std::memcmp(&got, &prop, sizeof got));

    // Mappings.
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuMemMap(range, T, T, two, 0));
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuMemMap(range, T, 0, two, 0));
    INVALID(cuMemMap(range, 0, 0, two, 0));
    INVALID(cuMemMap(range, 2 * T, 0, two, 1));
    OK(cuMemMap(range, 2 * T, 0, two, 0));
    INVALID(cuMemMap(range + T, T, 0, one, 0));
    OK(cuMemMap(range + 2 * T, T, 0, one, 0));
    OK(cuMemMap(range + 4 * T, T, 0, one, 0));
    INVALID(cuMemFree(range));
    INVALID(cuMemAddressFree(range, 8 * T));
    INVALID(cuMemUnmap(range, T));
    OK(cuMemUnmap(range + 3 * T, T));

    // Access.
    unsigned data[4] = {};
    IS(0, access_at(range));
    INVALID(cuMemcpyDtoH(data, range, sizeof data));
    INVALID(cuMemsetD32(range, 1, 4));
    CUmemAccessDesc none = access(0), read = access(1), write = access(3), wrong = access(2), far = access(3, 77);
    CUmemAccessDesc host = write;
    host.location = {CU_MEM_LOCATION_TYPE_HOST, 0};
    INVALID(cuMemSetAccess(range, 2 * T, &write, 0));
    INVALID(cuMemSetAccess(range, 2 * T, &wrong, 1));
    INVALID(cuMemSetAccess(range, 2 * T, &far, 1));
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuMemSetAccess(range, 2 * T, &host, 1));
    INVALID(cuMemSetAccess(range, T, &write, 1));
    INVALID(cuMemSetAccess(range + 3 * T, T, &write, 1));
    INVALID(cuMemSetAccess(range + 2 * T, 2 * T, &write, 1));
    OK(cuMemSetAccess(range, 3 * T, &read, 1));
    IS(1, access_at(range + T));
    IS(1, access_at(range + 2 * T));
    OK(cuMemcpyDtoH(data, range, sizeof data));
    OK(cuMemSetAccess(range, 3 * T, &write, 1));
    OK(cuMemSetAccess(range + 4 * T, T, &write, 1));
    IS(3, access_at(range));
    unsigned long long flags;
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, there = {CU_MEM_LOCATION_TYPE_DEVICE, 77};
    INVALID(cuMemGetAccess(&flags, &here, range + 3 * T));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuMemGetAccess(&flags, &there, range));
    INVALID(cuMemGetAccess(&flags, &here, (CUdeviceptr)data));

    // One memory at two addresses, and copies from one mapping into the next.
    const int numbers[4] = {30, 31, 32, 33};
    OK(cuMemcpyHtoD(range + 2 * T, numbers, sizeof numbers));
    add<<<1, 4>>>((int *)(range + 4 * T), 10);
    OK(cuCtxSynchronize());
    OK(cuMemcpyDtoH(data, range + 2 * T, sizeof data));
    std::printf("kernel through another address: %u %u %u %u\n", data[0], data[1], data[2], data[3]);
    OK(cuMemcpyHtoD(range + 2 * T - 8, numbers, sizeof numbers));
    OK(cuMemcpyDtoH(data, range + 4 * T, 8));
    IS(32, data[0]);
    IS(33, data[1]);
    INVALID(cuMemcpyDtoH(data, range + 3 * T - 8, sizeof data));

    // What is known about the addresses.
    IS(0, attribute(CU_POINTER_ATTRIBUTE_CONTEXT, range + T));
    IS(2, attribute(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, range + T));
    IS(0, attribute(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, range + T));
    IS(range, attribute(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, range + T));
    IS(8 * T, attribute(CU_POINTER_ATTRIBUTE_RANGE_SIZE, range + T));
    IS(1, attribute(CU_POINTER_ATTRIBUTE_MAPPED, range + T));
    IS(1, attribute(CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, range + T));
    IS(3, attribute(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, range + T));
    IS(2 * T, attribute(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, range + T));
    IS(range, attribute(CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, range + T));
    CUdeviceptr base;
    size_t bytes;
    OK(cuMemGetAddressRange(&base, &bytes, range + T + 4));
    IS(range, base);
    IS(2 * T, bytes);

    // Handles.
    CUmemGenericAllocationHandle again, imported;
    OK(cuMemRetainAllocationHandle(&again, (void *)(range + T)));
    IS(two, again);
    OK(cuMemRelease(again));
    OK(cuMemRelease(two));
    OK(cuMemsetD32(range, 7, 4));
    int file = -1;
    INVALID(cuMemExportToShareableHandle(&file, one, CU_MEM_HANDLE_TYPE_WIN32, 0));
    OK(cuMemExportToShareableHandle(&file, one, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemImportFromShareableHandle(&imported, (void *)(size_t)file, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    close(file);
    ANSWERS(CUDA_ERROR_UNKNOWN, cuMemImportFromShareableHandle(&bad, (void *)(size_t)999, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    OK(cuMemMap(range + 6 * T, T, 0, imported, 0));
    OK(cuMemSetAccess(range + 6 * T, T, &write, 1));
    OK(cuMemcpyDtoH(data, range + 6 * T, 8));
    IS(32, data[0]);

    // A kernel that may not.
    OK(cuMemSetAccess(range, 2 * T, &none, 1));
    IS(0, access_at(range));
    OK(cuMemUnmap(range + 4 * T, T));
    OK(cuMemUnmap(range + 6 * T, T));
    OK(cuMemRelease(imported));
    OK(cuMemRelease(one));
    add<<<1, 4>>>((int *)range, 1);
    std::printf("a write without access: %s\n", name_of(cuCtxSynchronize()));
    return done("vmm");
}
