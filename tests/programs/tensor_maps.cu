// Tensor maps that the API makes: what it refuses, and boxes that kernels copy by maps among their parameters.
//- 11.8 it has no tensor maps
//= compute_90
//> words of a map: 90 3 17
//> box at 8, 4: 4008 4009 5008 5009; beyond the end: 23 0
//> stored: 100 to 107, beside: 4015
//> moved: 9000
//> an unaligned map is the same: 1
//> tensor_maps: 46 answers
#include <cstring>
#include <cuda.h>
#include "driver.h"

const int WIDTH = 24, HEIGHT = 20, BOX_WIDTH = 16, BOX_HEIGHT = 8;

__device__ void load(void *to, const CUtensorMap *map, int x, int y, unsigned long long *signal) {
    unsigned box = (unsigned)__cvta_generic_to_shared(to), at = (unsigned)__cvta_generic_to_shared(signal), done = 0;
    asm volatile("mbarrier.init.shared.b64 [%0], 1;\n\tfence.proxy.async;" ::"r"(at) : "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(at), "n"(BOX_WIDTH * BOX_HEIGHT * 2) : "memory");
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(box),
                 "l"(map), "r"(x), "r"(y), "r"(at)
                 : "memory");
    while (!done)
        asm volatile("{\n\t.reg .pred p;\n\tmbarrier.try_wait.parity.shared.b64 p, [%1], 0;\n\tselp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(done)
                     : "r"(at)
                     : "memory");
}

__global__ void take(const __grid_constant__ CUtensorMap map, int x, int y, unsigned short *out) {
    __shared__ alignas(128) unsigned short box[BOX_WIDTH * BOX_HEIGHT];
    __shared__ unsigned long long signal;
    load(box, &map, x, y, &signal);
    memcpy(out, box, sizeof box);
}

__global__ void put(const __grid_constant__ CUtensorMap map, int x, int y) {
    __shared__ alignas(128) unsigned short box[BOX_WIDTH * BOX_HEIGHT];
    for (int i = 0; i < BOX_WIDTH * BOX_HEIGHT; i++) box[i] = 100 + i;
    unsigned from = (unsigned)__cvta_generic_to_shared(box);
    asm volatile("fence.proxy.async;\n\tcp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%1, %2}], [%3];\n\t"
                 "cp.async.bulk.commit_group;\n\tcp.async.bulk.wait_group 0;" ::"l"(&map),
                 "r"(x), "r"(y), "r"(from)
                 : "memory");
}

struct Wanted {
    CUtensorMapDataType type = CU_TENSOR_MAP_DATA_TYPE_UINT16;
    unsigned rank = 2;
    cuuint64_t extents[5] = {WIDTH, HEIGHT, 1, 1, 1}, strides[4] = {WIDTH * 2, 4096, 4096, 4096};
    unsigned box[5] = {BOX_WIDTH, BOX_HEIGHT, 1, 1, 1}, steps[5] = {1, 1, 1, 1, 1};
    CUtensorMapInterleave interleave = CU_TENSOR_MAP_INTERLEAVE_NONE;
    CUtensorMapSwizzle swizzle = CU_TENSOR_MAP_SWIZZLE_NONE;
    CUtensorMapL2promotion promotion = CU_TENSOR_MAP_L2_PROMOTION_NONE;
    CUtensorMapFloatOOBfill fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
};

static CUresult make(CUtensorMap *map, CUdeviceptr data, Wanted w) {
    return cuTensorMapEncodeTiled(map, w.type, w.rank, (void *)data, w.extents, w.strides, w.box, w.steps, w.interleave, w.swizzle,
                                  w.promotion, w.fill);
}

static CUresult make_columns(CUtensorMap *map, CUdeviceptr data, int lower, int upper, unsigned pixels) {
    cuuint64_t extents[3] = {16, 6, 5}, strides[2] = {32, 192};
    unsigned steps[3] = {1, 1, 1};
    return cuTensorMapEncodeIm2col(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, (void *)data, extents, strides, &lower, &upper, 16, pixels, steps,
                                   CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_NONE, CU_TENSOR_MAP_L2_PROMOTION_NONE,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

template <typename F> static Wanted with(F change) {
    Wanted w;
    change(w);
    return w;
}

int main() {
    start();
    int supported;
    OK(cuDeviceGetAttribute(&supported, CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED, 0));
    IS(1, supported);
    static unsigned short numbers[WIDTH * HEIGHT], box[BOX_WIDTH * BOX_HEIGHT];
    for (int i = 0; i < WIDTH * HEIGHT; i++) numbers[i] = i / WIDTH * 1000 + i % WIDTH;
    CUdeviceptr data, out;
    OK(cuMemAlloc(&data, 2 * sizeof numbers));
    OK(cuMemAlloc(&out, sizeof box));
    OK(cuMemcpyHtoD(data, numbers, sizeof numbers));
    CUtensorMap map;

    INVALID(make(nullptr, data, Wanted()));
    INVALID(make(&map, data + 8, Wanted()));
    INVALID(make(&map, data, with([](Wanted &w) { w.rank = 0; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.rank = 6; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.extents[1] = 0; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.extents[0] = (1ull << 32) + 1; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.strides[0] = 56; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.strides[0] = 1ull << 40; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.box[0] = 0; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.box[1] = 257; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.box[0] = 12; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.steps[1] = 0; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.steps[1] = 9; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.fill = CU_TENSOR_MAP_FLOAT_OOB_FILL_NAN_REQUEST_ZERO_FMA; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.box[0] = 24, w.swizzle = CU_TENSOR_MAP_SWIZZLE_32B; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.type = (CUtensorMapDataType)99; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.interleave = (CUtensorMapInterleave)3; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.swizzle = (CUtensorMapSwizzle)7; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.promotion = (CUtensorMapL2promotion)4; })));
    OK(make(&map, data, with([](Wanted &w) { w.swizzle = CU_TENSOR_MAP_SWIZZLE_128B; })));
    OK(make(&map, data, with([](Wanted &w) { w.rank = 5, w.promotion = CU_TENSOR_MAP_L2_PROMOTION_L2_256B; })));
    // Later devices have these.
    INVALID(make(&map, data, with([](Wanted &w) { w.swizzle = (CUtensorMapSwizzle)4; })));
    INVALID(make(&map, data, with([](Wanted &w) { w.type = (CUtensorMapDataType)13; })));
    OK(make(&map, data, with([](Wanted &w) { w.rank = 3, w.box[0] = 8, w.interleave = CU_TENSOR_MAP_INTERLEAVE_16B; })));
    OK(make_columns(&map, data, -1, 1, 8));
    INVALID(make_columns(&map, data, 3, -20, 8));
    INVALID(make_columns(&map, data, -1, 1, 8192));
    OK(make(&map, data, Wanted()));
    // They are what the hardware reads.
    const unsigned *words = (const unsigned *)&map;
    std::printf("words of a map: %x %x %x\n", words[2], words[3], words[8]);

    take<<<1, 1>>>(map, 8, 4, (unsigned short *)out);
    OK(cuMemcpyDtoH(box, out, sizeof box));
    std::printf("box at 8, 4: %d %d %d %d; ", box[0], box[1], box[BOX_WIDTH], box[BOX_WIDTH + 1]);
    take<<<1, 1>>>(map, 16, 0, (unsigned short *)out);
    OK(cuMemcpyDtoH(box, out, sizeof box));
    std::printf("beyond the end: %d %d\n", box[7], box[8]);
    put<<<1, 1>>>(map, 16, 4);
    OK(cuMemcpyDtoH(numbers, data, sizeof numbers));
    std::printf("stored: %d to %d, beside: %d\n", numbers[4 * WIDTH + 16], numbers[4 * WIDTH + 23], numbers[4 * WIDTH + 15]);

    // The second half of the memory.
    static unsigned short other[WIDTH * HEIGHT];
    for (int i = 0; i < WIDTH * HEIGHT; i++) other[i] = 9000 + i;
    OK(cuMemcpyHtoD(data + sizeof numbers, other, sizeof other));
    INVALID(cuTensorMapReplaceAddress(&map, (void *)(data + 8)));
    OK(cuTensorMapReplaceAddress(&map, (void *)(data + sizeof numbers)));
    take<<<1, 1>>>(map, 0, 0, (unsigned short *)out);
    OK(cuMemcpyDtoH(box, out, sizeof box));
    std::printf("moved: %d\n", box[0]);

    // Where the program keeps a map does not matter; a kernel's parameter has its place.
    alignas(64) static char room[2 * sizeof map];
    CUtensorMap *apart = (CUtensorMap *)(room + 8);
    OK(make(&map, data, Wanted()));
    OK(make(apart, data, Wanted()));
    std::printf("an unaligned map is the same: %d\n", !memcmp(apart, &map, sizeof map));

    // The device takes no box that begins between multiples of 16 bytes.
    take<<<1, 1>>>(map, 4, 4, (unsigned short *)out);
    ANSWERS(CUDA_ERROR_ILLEGAL_INSTRUCTION, cuCtxSynchronize());
    return done("tensor_maps");
}
