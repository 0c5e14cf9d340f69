// Memory of one process in another: by handles, by files, by pools. The program starts itself as the other process.
//> the other process: 36 answers
//> legacy 7 7, small 9, file 11, pool 13
//> ipc: 34 answers
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cuda.h>
#include "driver.h"

static const size_t M = 1 << 20, T = 2 * M;

__global__ void fill(unsigned char *data, int n, int value) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) data[i] = value;
}

// What is handed to the other process.
struct Parcel {
    CUipcMemHandle large, small;
    CUmemPoolPtrExportData part;
    int memory, pool;
};

static CUmemAccessDesc everything() {
    return {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
}

static void set(CUdeviceptr at, int n, int value) {
    fill<<<1, 32>>>((unsigned char *)at, n, value);
    OK(cuCtxSynchronize());
}

static int child(const char *path) {
    Parcel parcel;
    FILE *file = std::fopen(path, "rb");
    if (!file || std::fread(&parcel, sizeof parcel, 1, file) != 1) return 1;
    std::fclose(file);
    start();
    CUdeviceptr large, again, small, part, range;
    INVALID(cuIpcOpenMemHandle(&large, parcel.large, 0));
    INVALID(cuIpcOpenMemHandle(&large, parcel.large, 2));
    OK(cuIpcOpenMemHandle(&large, parcel.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    OK(cuIpcOpenMemHandle(&again, parcel.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    IS(large, again);
    CUdeviceptr base;
    size_t bytes;
    OK(cuMemGetAddressRange(&base, &bytes, large + 9));
    IS(large, base);
    IS(4 * M, bytes);
    unsigned type = 0;
    OK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, large));
    IS(2, type);
    unsigned char first[2] = {};
    OK(cuMemcpyDtoH(first, large, 2));
    IS(5, first[1]);
    set(large, 2 * M, 7);
    CUipcMemHandle refused;
    INVALID(cuMemFree(large));
    INVALID(cuIpcGetMemHandle(&refused, large));
    INVALID(cuIpcCloseMemHandle(large + 8));
    OK(cuIpcCloseMemHandle(large));
    set(large + 2 * M, 2 * M, 7);
    OK(cuIpcCloseMemHandle(large));
    INVALID(cuIpcCloseMemHandle(large));
    INVALID(cuMemsetD8(large, 7, 64));
    OK(cuIpcOpenMemHandle(&small, parcel.small, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    set(small, 64, 9);

    CUmemGenericAllocationHandle memory;
    OK(cuMemImportFromShareableHandle(&memory, (void *)(size_t)parcel.memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    OK(cuMemAddressReserve(&range, T, 0, 0, 0));
    OK(cuMemMap(range, T, 0, memory, 0));
    CUmemAccessDesc access = everything();
    OK(cuMemSetAccess(range, T, &access, 1));
    OK(cuMemRelease(memory));
    set(range, T, 11);

    CUmemoryPool pool;
    OK(cuMemPoolImportFromShareableHandle(&pool, (void *)(size_t)parcel.pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemPoolImportPointer(&part, pool, &parcel.part));
    set(part, 1000, 13);
    OK(cuMemFree(part));
    return done("the other process");
}

static int last(CUdeviceptr at, size_t n) {
    unsigned char byte = 0;
    OK(cuMemcpyDtoH(&byte, at + n - 1, 1));
    return byte;
}

int main(int argc, char **argv) {
    if (argc > 1) return child(argv[1]);
    start();
    CUdeviceptr large, small, other, managed, range, pooled, part;
    void *pinned;
    OK(cuMemAlloc(&large, 4 * M));
    OK(cuMemAlloc(&small, 64));
    OK(cuMemHostAlloc(&pinned, 64, 0));
    OK(cuMemAllocManaged(&managed, 64, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemAllocAsync(&pooled, 64, 0));
    OK(cuMemsetD8(large, 5, 4 * M));
    Parcel parcel;
    INVALID(cuIpcGetMemHandle(&parcel.large, (CUdeviceptr)pinned));
    INVALID(cuIpcGetMemHandle(&parcel.large, managed));
    INVALID(cuIpcGetMemHandle(&parcel.large, pooled));
    INVALID(cuIpcGetMemHandle(&parcel.large, 5));
    OK(cuIpcGetMemHandle(&parcel.large, large + 4096));
    OK(cuIpcGetMemHandle(&parcel.small, small));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuIpcOpenMemHandle(&other, parcel.large, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    CUipcMemHandle junk;
    std::memset(&junk, 'a', sizeof junk);
    INVALID(cuIpcOpenMemHandle(&other, junk, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    INVALID(cuIpcCloseMemHandle(large));

    CUmemAllocationProp prop = {};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemGenericAllocationHandle memory;
    OK(cuMemCreate(&memory, T, &prop, 0));
    OK(cuMemAddressReserve(&range, T, 0, 0, 0));
    OK(cuMemMap(range, T, 0, memory, 0));
    CUmemAccessDesc access = everything();
    OK(cuMemSetAccess(range, T, &access, 1));
    OK(cuMemExportToShareableHandle(&parcel.memory, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));

    CUmemPoolProps props = {};
    props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    props.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    props.location = prop.location;
    CUmemoryPool pool;
    OK(cuMemPoolCreate(&pool, &props));
    OK(cuMemAllocFromPoolAsync(&part, 1000, pool, 0));
    OK(cuCtxSynchronize());
    OK(cuMemPoolExportToShareableHandle(&parcel.pool, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemPoolExportPointer(&parcel.part, part));

    // The files go along.
    fcntl(parcel.memory, F_SETFD, 0);
    fcntl(parcel.pool, F_SETFD, 0);
    char path[] = "/tmp/ipc-XXXXXX";
    int file = mkstemp(path);
    if (write(file, &parcel, sizeof parcel) != (ssize_t)sizeof parcel) return 1;
    std::fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        execl("/proc/self/exe", argv[0], path, (char *)nullptr);
        _exit(127);
    }
    int status = 0;
    waitpid(process, &status, 0);
    unlink(path);
    IS(0, status);
    std::printf("legacy %d %d, small %d, file %d, pool %d\n", last(large, 1), last(large, 4 * M), last(small, 64), last(range, T),
                last(part, 1000));
    return done("ipc");
}
