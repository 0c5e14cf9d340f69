// The heat of a plate, in whole numbers so that every device gets the same, with a long kernel beside it. While it runs it
// is moved from device to device; whatever it holds (pointers, streams, events, a texture, functions of the host) stays.
//- stand-in it and the CPU device would have the same addresses of one process while the program moves
//~ interp cpu interp cpu
//> step 400 of 4000
//> step 800 of 4000
//> step 1200 of 4000
//> step 1600 of 4000
//> step 2000 of 4000
//> step 2400 of 4000
//> step 2800 of 4000
//> step 3200 of 4000
//> step 3600 of 4000
//> step 4000 of 4000
//> 10 reports by the host
//> the plate has the heat that the host computes
//> the long kernel has the result that the host computes
#include "check.h"
#include <cuda_runtime.h>
#include <vector>

constexpr int SIDE = 64;
constexpr int CELLS = SIDE * SIDE;
constexpr int STEPS = 4000;
constexpr int EACH = 400;
constexpr int BLOCKS = 600;
constexpr int ROUNDS = 20000;

__device__ unsigned flow = 8;

__global__ void begin(cudaTextureObject_t source, unsigned *plate) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    plate[y * SIDE + x] = tex2D<unsigned>(source, x, y);
}

__global__ void step(const unsigned *from, unsigned *to) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
    unsigned west = x > 0 ? from[y * SIDE + x - 1] : 0, east = x < SIDE - 1 ? from[y * SIDE + x + 1] : 0;
    unsigned north = y > 0 ? from[(y - 1) * SIDE + x] : 0, south = y < SIDE - 1 ? from[(y + 1) * SIDE + x] : 0;
    to[y * SIDE + x] = (4 * from[y * SIDE + x] + west + east + north + south) / flow;
}

__global__ void grind(unsigned *out) {
    unsigned value = blockIdx.x;
    for (int round = 0; round < ROUNDS; ++round) value = value * 1664525u + 1013904223u;
    out[blockIdx.x] = value;
}

static int reports = 0;

static void report(void *) { ++reports; }

int main() {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::vector<unsigned> plate(CELLS), next(CELLS);
    for (int cell = 0; cell < CELLS; ++cell) plate[cell] = cell * 2654435761u >> 4;

    cudaChannelFormatDesc format = cudaCreateChannelDesc<unsigned>();
    cudaArray_t array;
    CHECK(cudaMallocArray(&array, &format, SIDE, SIDE));
    CHECK(cudaMemcpy2DToArray(array, 0, 0, plate.data(), SIDE * 4, SIDE * 4, SIDE, cudaMemcpyHostToDevice));
    cudaResourceDesc resource = {};
    resource.resType = cudaResourceTypeArray;
    resource.res.array.array = array;
    cudaTextureDesc how = {};
    cudaTextureObject_t source;
    CHECK(cudaCreateTextureObject(&source, &resource, &how, nullptr));

    unsigned *a, *b, *long_result, *pinned;
    CHECK(cudaMalloc(&a, CELLS * 4));
    CHECK(cudaMallocManaged(&b, CELLS * 4));
    CHECK(cudaMalloc(&long_result, BLOCKS * 4));
    CHECK(cudaMallocHost(&pinned, CELLS * 4));
    cudaStream_t stream, beside;
    cudaEvent_t done;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaStreamCreateWithFlags(&beside, cudaStreamNonBlocking));
    CHECK(cudaEventCreate(&done));
    dim3 grid(SIDE / 32, SIDE);
    begin<<<grid, 32, 0, stream>>>(source, a);
    grind<<<BLOCKS, 1, 0, beside>>>(long_result);
    for (int now = 0; now < STEPS; now += 2) {
        step<<<grid, 32, 0, stream>>>(a, b);
        step<<<grid, 32, 0, stream>>>(b, a);
        if ((now + 2) % EACH == 0) {
            CHECK(cudaLaunchHostFunc(stream, report, nullptr));
            CHECK(cudaEventRecord(done, stream));
            CHECK(cudaEventSynchronize(done));
            std::printf("step %d of %d\n", now + 2, STEPS);
        }
    }
    CHECK(cudaMemcpyAsync(pinned, a, CELLS * 4, cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("%d reports by the host\n", reports);

    for (int now = 0; now < STEPS; ++now) {
        for (int y = 0; y < SIDE; ++y) {
            for (int x = 0; x < SIDE; ++x) {
                unsigned west = x > 0 ? plate[y * SIDE + x - 1] : 0, east = x < SIDE - 1 ? plate[y * SIDE + x + 1] : 0;
                unsigned north = y > 0 ? plate[(y - 1) * SIDE + x] : 0;
                unsigned south = y < SIDE - 1 ? plate[(y + 1) * SIDE + x] : 0;
                next[y * SIDE + x] = (4 * plate[y * SIDE + x] + west + east + north + south) / 8;
            }
        }
        plate.swap(next);
    }
    bool same = true;
    for (int cell = 0; cell < CELLS; ++cell) same &= pinned[cell] == plate[cell];
    std::printf(same ? "the plate has the heat that the host computes\n" : "the plate's heat is wrong\n");

    std::vector<unsigned> found(BLOCKS);
    CHECK(cudaStreamSynchronize(beside));
    CHECK(cudaMemcpy(found.data(), long_result, BLOCKS * 4, cudaMemcpyDeviceToHost));
    same = true;
    for (int block = 0; block < BLOCKS; ++block) {
        unsigned value = block;
        for (int round = 0; round < ROUNDS; ++round) value = value * 1664525u + 1013904223u;
        same &= found[block] == value;
    }
    std::printf(same ? "the long kernel has the result that the host computes\n" : "the long kernel's result is wrong\n");
    CHECK(cudaDestroyTextureObject(source));
    CHECK(cudaFreeArray(array));
    CHECK(cudaFree(a));
    CHECK(cudaFree(b));
    CHECK(cudaFree(long_result));
    CHECK(cudaFreeHost(pinned));
    CHECK(cudaEventDestroy(done));
    CHECK(cudaStreamDestroy(stream));
    CHECK(cudaStreamDestroy(beside));
    return 0;
}
