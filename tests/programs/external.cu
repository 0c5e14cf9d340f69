// External memory: what was exported as a file descriptor is mapped as a buffer, twice, and is one memory; what is no such
// file is refused, and semaphores that nobody made.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> external: 41 answers
#include <cuda.h>
#include <fcntl.h>
#include <unistd.h>
#include "driver.h"

int main() {
    start();
    CUmemAllocationProp made = {};
    made.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    made.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    made.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    CUmemGenericAllocationHandle physical;
    size_t bytes = 4 << 20;
    int file;
    OK(cuMemCreate(&physical, bytes, &made, 0));
    OK(cuMemExportToShareableHandle(&file, physical, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));

    CUDA_EXTERNAL_MEMORY_HANDLE_DESC handle = {};
    CUexternalMemory memory;
    handle.type = CU_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD;
    handle.handle.fd = file;
    handle.size = bytes;
    OK(cuImportExternalMemory(&memory, &handle));
    IS(-1, fcntl(file, F_GETFD));
    CUDA_EXTERNAL_MEMORY_BUFFER_DESC part = {};
    part.offset = 1 << 20;
    part.size = 1 << 20;
    CUdeviceptr one, two, all;
    OK(cuExternalMemoryGetMappedBuffer(&one, memory, &part));
    part.offset = 0;
    part.size = bytes;
    OK(cuExternalMemoryGetMappedBuffer(&two, memory, &part));
    IS(1, one != two);
    OK(cuMemsetD32(one, 77, 16));
    unsigned words[16];
    OK(cuMemcpyDtoH(words, two + (1 << 20), sizeof words));
    IS(77, words[15]);
    CUdeviceptr base;
    size_t size;
    OK(cuMemGetAddressRange(&base, &size, one + 100));
    IS(one, base);
    IS(1 << 20, size);

    // The memory that was exported is the same.
    CUmemAccessDesc access = {};
    access.location = made.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    OK(cuMemAddressReserve(&all, bytes, 0, 0, 0));
    OK(cuMemMap(all, bytes, 0, physical, 0));
    OK(cuMemSetAccess(all, bytes, &access, 1));
    OK(cuMemcpyDtoH(words, all + (1 << 20), sizeof words));
    IS(77, words[7]);
    OK(cuMemsetD32(all + (1 << 20), 78, 1));
    OK(cuMemcpyDtoH(words, one, 4));
    IS(78, words[0]);

    part.offset = bytes - 100;
    part.size = 200;
    INVALID(cuExternalMemoryGetMappedBuffer(&base, memory, &part));
    part.size = 0;
    INVALID(cuExternalMemoryGetMappedBuffer(&base, memory, &part));
    OK(cuMemFree(one));
    INVALID(cuMemsetD32(one, 0, 1));
    OK(cuMemsetD32(two, 5, 1));
    OK(cuDestroyExternalMemory(memory));
    OK(cuMemFree(two));
    OK(cuMemUnmap(all, bytes));
    OK(cuMemRelease(physical));
    OK(cuMemAddressFree(all, bytes));

    // Files that are no device memory are refused, and gone.
    handle.handle.fd = open("/dev/zero", O_RDWR);
    ANSWERS(CUDA_ERROR_UNKNOWN, cuImportExternalMemory(&memory, &handle));
    IS(-1, fcntl(handle.handle.fd, F_GETFD));
    ANSWERS(CUDA_ERROR_UNKNOWN, cuImportExternalMemory(&memory, &handle));
    CUDA_EXTERNAL_SEMAPHORE_HANDLE_DESC wanted = {};
    CUexternalSemaphore semaphore = nullptr;
    wanted.type = CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_OPAQUE_FD;
    wanted.handle.fd = open("/dev/zero", O_RDWR);
    ANSWERS(CUDA_ERROR_UNKNOWN, cuImportExternalSemaphore(&semaphore, &wanted));
    wanted.type = CU_EXTERNAL_SEMAPHORE_HANDLE_TYPE_D3D12_FENCE;
    ANSWERS(CUDA_ERROR_NOT_SUPPORTED, cuImportExternalSemaphore(&semaphore, &wanted));
    CUgraphicsResource resource = nullptr;
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuGraphicsUnregisterResource(resource));
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuGraphicsMapResources(1, &resource, nullptr));
    return done("external");
}
