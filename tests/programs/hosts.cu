// Host memory that devices know, what its flags are, and everything that can be asked about an address.
//> scaled 30 300
//> hosts: 303 answers
#include <cstdint>
#include <sys/mman.h>
#include <cuda.h>
#include "driver.h"

__global__ void scale(int *data, int factor) { *data *= factor; }

static unsigned flags_of(void *host) {
    unsigned flags = 99;
    OK(cuMemHostGetFlags(&flags, host));
    return flags;
}

// What an attribute of an address is; bytes that were not written stay 0xee.
static uint64_t about(int attribute, CUdeviceptr at, CUresult want = CUDA_SUCCESS) {
    uint64_t got[2] = {0xeeeeeeeeeeeeeeee, 0xeeeeeeeeeeeeeeee};
    ANSWERS(want, cuPointerGetAttribute(got, (CUpointer_attribute)attribute, at));
    return got[0];
}

static int word(int attribute, CUdeviceptr at) { return (int)about(attribute, at); }

int main() {
    CUcontext context = start();
    const size_t T = 2 << 20;
    CUdeviceptr device, managed;
    void *pinned, *other;
    OK(cuMemAlloc(&device, 1000));
    OK(cuMemHostAlloc(&pinned, 5000, 0));
    OK(cuMemAllocManaged(&managed, 8192, CU_MEM_ATTACH_GLOBAL));
    char *own = (char *)mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CUdeviceptr P = (CUdeviceptr)pinned, X = (CUdeviceptr)own;

    // Allocation.
    IS(2, flags_of(pinned));
    IS(2, flags_of((char *)pinned + 8));
    for (unsigned flags = 1; flags < 8; flags++) {
        OK(cuMemHostAlloc(&other, 64, flags));
        // What is write-combined also keeps whether it is portable.
        IS(2 | (flags & CU_MEMHOSTALLOC_WRITECOMBINED ? flags : 0), flags_of(other));
        OK(cuMemFreeHost(other));
    }
    INVALID(cuMemHostAlloc(&other, 64, 8));
    OK(cuMemHostAlloc(&other, 0, 0));
    IS(0, (size_t)other);
    IS(2, flags_of((void *)managed));
    unsigned flags;
    INVALID(cuMemHostGetFlags(&flags, (void *)device));
    INVALID(cuMemHostGetFlags(&flags, own));
    CUdeviceptr none;
    INVALID(cuMemAlloc(&none, 0));
    size_t pitch;
    INVALID(cuMemAllocPitch(&none, &pitch, 0, 4, 4));
    INVALID(cuMemAllocPitch(&none, &pitch, 4, 0, 4));
    INVALID(cuMemAllocPitch(&none, &pitch, 4, 4, 3));

    // Registration.
    ANSWERS(CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, cuMemHostUnregister(own));
    const unsigned registered[4] = {0, CU_MEMHOSTREGISTER_PORTABLE, CU_MEMHOSTREGISTER_DEVICEMAP, CU_MEMHOSTREGISTER_READ_ONLY};
    const unsigned told[4] = {2, 3, 2, 2};
    for (int i = 0; i < 4; i++) {
        OK(cuMemHostRegister(own, 8000, registered[i]));
        IS(told[i], flags_of(own));
        OK(cuMemHostUnregister(own));
    }
    INVALID(cuMemHostRegister(own, 8000, CU_MEMHOSTREGISTER_IOMEMORY));
    INVALID(cuMemHostRegister(own, 8000, 16));
    INVALID(cuMemHostRegister(nullptr, 80, 0));
    INVALID(cuMemHostRegister(own, 0, 0));
    INVALID(cuMemHostRegister(pinned, 64, 0));
    INVALID(cuMemHostRegister((void *)managed, 64, 0));
    OK(cuMemHostRegister(own, 8000, 0));
    ANSWERS(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(own, 8000, 0));
    ANSWERS(CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, cuMemHostRegister(own + 4096, 80, 0));
    INVALID(cuMemHostUnregister(own + 8));
    INVALID(cuMemHostUnregister(pinned));
    INVALID(cuMemFreeHost(own));
    CUdeviceptr mapped;
    INVALID(cuMemHostGetDevicePointer(&mapped, own, 1));
    INVALID(cuMemHostGetDevicePointer(&mapped, own + 30000, 0));
    INVALID(cuMemHostGetDevicePointer(&mapped, (void *)managed, 0));
    INVALID(cuMemHostGetDevicePointer(&mapped, (void *)device, 0));
    OK(cuMemHostGetDevicePointer(&mapped, own + 8, 0));
    IS(X + 8, mapped);
    *(int *)(own + 8) = 3;
    scale<<<1, 1>>>((int *)mapped, 10);
    *(int *)pinned = 3;
    scale<<<1, 1>>>((int *)pinned, 100);
    OK(cuCtxSynchronize());
    std::printf("scaled %d %d\n", *(int *)(own + 8), *(int *)pinned);

    // Where an address lies.
    CUdeviceptr base;
    size_t bytes;
    const CUdeviceptr starts[4] = {device, P, managed, X};
    const size_t lengths[4] = {1000, 5000, 8192, 8000};
    for (int i = 0; i < 4; i++) {
        OK(cuMemGetAddressRange(&base, &bytes, starts[i] + 9));
        IS(starts[i], base);
        IS(lengths[i], bytes);
        IS(starts[i], about(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, starts[i] + 9));
        IS(lengths[i], about(CU_POINTER_ATTRIBUTE_RANGE_SIZE, starts[i] + 9));
        IS(i == 0 || i == 2 ? 2 : 1, word(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, starts[i]));
        IS((size_t)context, about(CU_POINTER_ATTRIBUTE_CONTEXT, starts[i]));
        IS(starts[i] + 7, about(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, starts[i] + 7));
        IS(i == 2, word(CU_POINTER_ATTRIBUTE_IS_MANAGED, starts[i]));
        IS(i == 0, word(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, starts[i]));
        IS(0, word(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, starts[i]));
        IS(1, word(CU_POINTER_ATTRIBUTE_MAPPED, starts[i]));
        IS(0, about(CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, starts[i]));
        IS(3, word(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, starts[i]));
        IS(0, about(CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, starts[i]));
        IS(1, about(CU_POINTER_ATTRIBUTE_BUFFER_ID, starts[i]) != about(CU_POINTER_ATTRIBUTE_BUFFER_ID, starts[(i + 1) % 4]));
    }
    OK(cuMemGetAddressRange(nullptr, nullptr, device));
    ANSWERS(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange(&base, &bytes, device + 1000));
    ANSWERS(CUDA_ERROR_NOT_FOUND, cuMemGetAddressRange(&base, &bytes, X + 30000));
    IS(P + 5, about(CU_POINTER_ATTRIBUTE_HOST_POINTER, P + 5));
    about(CU_POINTER_ATTRIBUTE_HOST_POINTER, device, CUDA_ERROR_INVALID_VALUE);
    about(CU_POINTER_ATTRIBUTE_P2P_TOKENS, P, CUDA_ERROR_INVALID_VALUE);
    IS(0, about(CU_POINTER_ATTRIBUTE_P2P_TOKENS, device));
    IS(T, about(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, device));
    IS(8192, about(CU_POINTER_ATTRIBUTE_MAPPING_SIZE, X));
    for (int attribute = 1; attribute < 22; attribute++) {
        about(attribute, device + 1000, CUDA_ERROR_INVALID_VALUE);
        about(attribute, X + 30000, CUDA_ERROR_INVALID_VALUE);
    }
    about(22, device, CUDA_ERROR_INVALID_VALUE);

    // What can be set.
    int yes = 1, no = 0;
    for (int attribute = 1; attribute < 22; attribute++)
        ANSWERS(attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE,
                cuPointerSetAttribute(&yes, (CUpointer_attribute)attribute, device));
    OK(cuPointerSetAttribute(&yes, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, managed));
    OK(cuPointerSetAttribute(&no, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, P));
    INVALID(cuPointerSetAttribute(&yes, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, X + 30000));

    // Many at once: what is not known is nothing, and no error.
    unsigned type = 99;
    CUdeviceptr pointer = 99;
    CUpointer_attribute which[2] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_DEVICE_POINTER};
    void *out[2] = {&type, &pointer};
    OK(cuPointerGetAttributes(2, which, out, P + 1));
    IS(1, type);
    IS(P + 1, pointer);
    OK(cuPointerGetAttributes(2, which, out, X + 30000));
    IS(0, type);
    IS(0, pointer);

    // Giving it back.
    INVALID(cuMemFree(device + 8));
    INVALID(cuMemFree(P));
    INVALID(cuMemFree(X));
    OK(cuMemFree(0));
    INVALID(cuMemFreeHost((char *)pinned + 8));
    INVALID(cuMemFreeHost((void *)device));
    INVALID(cuMemFreeHost((void *)managed));
    OK(cuMemFreeHost(nullptr));
    OK(cuMemHostUnregister(own));
    OK(cuMemFreeHost(pinned));
    OK(cuMemFree(managed));
    OK(cuMemFree(device));
    return done("hosts");
}
