// Two processes that have the same memory by a handle, by a file and by a pool, and write it in turns: in each there is a kernel that
// works or waits for the other's. With no arguments a short run, whose end is known; with a number of words, of steps and of rounds
// one that takes as long as is wanted: a line on the screen says how far it is.
//> 256 words, 6 steps
//> checksum 83fae3a16ba60865
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>
#include <cuda.h>
#include "driver.h"

static const size_t M = 1 << 20, T = 2 * M;

// Waits for its turn, changes all words of both, and gives the turn to the other.
__global__ void take_turn(volatile unsigned *turn, unsigned at, unsigned *board, unsigned *range, unsigned *part, unsigned *own,
                          int words, int rounds) {
    if (threadIdx.x == 0) {
        while (*turn != at) {}
        __threadfence_system();
    }
    __syncthreads();
    for (int i = threadIdx.x; i < words; i += blockDim.x) {
        unsigned value = board[i] ^ own[i] ^ part[i % 64];
        for (int round = 0; round < rounds; ++round) value = value * 1664525u + 1013904223u + (value >> 13);
        own[i] = value;
        board[i] = range[(i * 7 + at) % words] + value;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < words; i += blockDim.x) range[i] = board[(i * 5 + at) % words] ^ at;
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x < 64) part[threadIdx.x] += range[threadIdx.x % words];
    __threadfence_system();
    __syncthreads();
    if (threadIdx.x == 0) *turn = at + 1;
}

// What is handed to the other process.
struct Parcel {
    CUipcMemHandle board, turn;
    CUmemPoolPtrExportData part;
    int memory, pool;
    int words, steps, rounds;
};

struct Table {
    CUdeviceptr board, turn, range, part;
};

static CUmemAccessDesc everything() {
    return {{CU_MEM_LOCATION_TYPE_DEVICE, 0}, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
}

static CUdeviceptr mapped(CUmemGenericAllocationHandle memory) {
    CUdeviceptr range;
    CUmemAccessDesc access = everything();
    OK(cuMemAddressReserve(&range, T, 0, 0, 0));
    OK(cuMemMap(range, T, 0, memory, 0));
    OK(cuMemSetAccess(range, T, &access, 1));
    OK(cuMemRelease(memory));
    return range;
}

// Steps of one of the two; what it has for itself at the end.
static std::vector<unsigned> play(const Table &table, const Parcel &parcel, unsigned who, bool shown) {
    CUdeviceptr own;
    OK(cuMemAlloc(&own, parcel.words * sizeof(unsigned)));
    OK(cuMemsetD32(own, who + 1, parcel.words));
    for (int step = 0; step < parcel.steps; ++step) {
        take_turn<<<1, 128>>>((unsigned *)table.turn, 2 * step + who, (unsigned *)table.board, (unsigned *)table.range,
                              (unsigned *)table.part, (unsigned *)own, parcel.words, parcel.rounds);
        OK(cuCtxSynchronize());
        if (shown) {
            std::printf("step %d of %d\n", step + 1, parcel.steps);
            std::fflush(stdout);
        }
    }
    std::vector<unsigned> end(parcel.words);
    OK(cuMemcpyDtoH(end.data(), own, end.size() * sizeof(unsigned)));
    OK(cuMemFree(own));
    return end;
}

static int child(const char *path) {
    Parcel parcel;
    FILE *file = std::fopen(path, "rb");
    if (!file || std::fread(&parcel, sizeof parcel, 1, file) != 1) return 1;
    std::fclose(file);
    start();
    Table table;
    OK(cuIpcOpenMemHandle(&table.board, parcel.board, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    OK(cuIpcOpenMemHandle(&table.turn, parcel.turn, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS));
    CUmemGenericAllocationHandle memory;
    OK(cuMemImportFromShareableHandle(&memory, (void *)(size_t)parcel.memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
    table.range = mapped(memory);
    CUmemoryPool pool;
    OK(cuMemPoolImportFromShareableHandle(&pool, (void *)(size_t)parcel.pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemPoolImportPointer(&table.part, pool, &parcel.part));
    std::vector<unsigned> end = play(table, parcel, 1, false);
    // The other has taken its last turn before this one's.
    OK(cuMemcpyHtoD(table.board, end.data(), end.size() * sizeof(unsigned)));
    return 0;
}

static void sum(uint64_t &all, CUdeviceptr at, size_t words) {
    std::vector<unsigned> data(words);
    OK(cuMemcpyDtoH(data.data(), at, words * sizeof(unsigned)));
    for (unsigned word : data) all = (all ^ word) * 1099511628211u;
}

int main(int argc, char **argv) {
    if (argc == 2) return child(argv[1]);
    Parcel parcel = {};
    parcel.words = argc > 1 ? std::atoi(argv[1]) : 256;
    parcel.steps = argc > 2 ? std::atoi(argv[2]) : 6;
    parcel.rounds = argc > 3 ? std::atoi(argv[3]) : 20;
    std::printf("%d words, %d steps\n", parcel.words, parcel.steps);
    start();
    Table table;
    OK(cuMemAlloc(&table.board, 4 * M));
    OK(cuMemAlloc(&table.turn, 64));
    OK(cuMemsetD32(table.board, 5, M));
    OK(cuMemsetD32(table.turn, 0, 16));
    OK(cuIpcGetMemHandle(&parcel.board, table.board));
    OK(cuIpcGetMemHandle(&parcel.turn, table.turn));

    CUmemAllocationProp prop = {};
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    prop.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemGenericAllocationHandle memory;
    OK(cuMemCreate(&memory, T, &prop, 0));
    OK(cuMemExportToShareableHandle(&parcel.memory, memory, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    table.range = mapped(memory);

    CUmemPoolProps props = {};
    props.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    props.handleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    props.location = prop.location;
    CUmemoryPool pool;
    OK(cuMemPoolCreate(&pool, &props));
    OK(cuMemAllocFromPoolAsync(&table.part, 64 * sizeof(unsigned), pool, 0));
    OK(cuMemsetD32(table.part, 9, 64));
    OK(cuCtxSynchronize());
    OK(cuMemPoolExportToShareableHandle(&parcel.pool, pool, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
    OK(cuMemPoolExportPointer(&parcel.part, table.part));

    // The files go along.
    fcntl(parcel.memory, F_SETFD, 0);
    fcntl(parcel.pool, F_SETFD, 0);
    char path[] = "/tmp/pair-XXXXXX";
    int file = mkstemp(path);
    if (write(file, &parcel, sizeof parcel) != (ssize_t)sizeof parcel) return 1;
    close(file);
    std::fflush(stdout);
    pid_t process = fork();
    if (process == 0) {
        execl("/proc/self/exe", argv[0], path, (char *)nullptr);
        _exit(127);
    }
    std::vector<unsigned> own = play(table, parcel, 0, argc > 1);
    int status = 0;
    waitpid(process, &status, 0);
    unlink(path);
    if (status != 0) {
        std::printf("the other process ended with %d\n", status);
        return 1;
    }
    uint64_t all = 14695981039346656037u;
    for (unsigned word : own) all = (all ^ word) * 1099511628211u;
    sum(all, table.board, parcel.words);
    sum(all, table.range, parcel.words);
    sum(all, table.part, 64);
    std::printf("checksum %016llx\n", (unsigned long long)all);
    return 0;
}
