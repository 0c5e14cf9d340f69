// Products of square matrices by wgmma: a warp group makes a tile of 64 x 128 from stages of 64 numbers of each row,
// which copies that run ahead bring into shared memory. The second factor stands transposed; n is a multiple of 128.
// Rows of a stage are 128 bytes, swizzled: the 16 bytes at place p of row r lie at place p ^ r % 8.
#include <cuda_bf16.h>

constexpr unsigned ROWS = 64, COLUMNS = 128, STEP = 64, LINE = STEP * 2;

__device__ void fetch(unsigned to, const unsigned char* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(from) : "memory");
}

// A matrix whose rows of 128 bytes lie in groups of eight, 1024 bytes apart.
__device__ unsigned long long descriptor(unsigned address) {
    return (unsigned long long)((address & 0x3ffff) >> 4) | 1ull << 16 | (unsigned long long)(1024 >> 4) << 32 | 1ull << 62;
}

#define FOUR(x, i) x(sum[i]), x(sum[i + 1]), x(sum[i + 2]), x(sum[i + 3])
#define SIXTEEN(x, i) FOUR(x, i), FOUR(x, i + 4), FOUR(x, i + 8), FOUR(x, i + 12)
#define BOTH(value) "+f"(value)

#define MULTIPLY(TYPE) \
    asm volatile( \
        "wgmma.mma_async.sync.aligned.m64n128k16.f32." TYPE "." TYPE \
        " {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
        "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, " \
        "%45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, " \
        "%64, %65, 1, 1, 1, 0, 0;" \
        : SIXTEEN(BOTH, 0), SIXTEEN(BOTH, 16), SIXTEEN(BOTH, 32), SIXTEEN(BOTH, 48) \
        : "l"(of_a), "l"(of_b))

struct Half {
    static __device__ void multiply(float (&sum)[64], unsigned long long of_a, unsigned long long of_b) { MULTIPLY("f16"); }
};
struct Brain {
    static __device__ void multiply(float (&sum)[64], unsigned long long of_a, unsigned long long of_b) { MULTIPLY("bf16"); }
};

constexpr unsigned A_STAGE = ROWS * LINE, B_STAGE = COLUMNS * LINE, STAGE = A_STAGE + B_STAGE;

template <class Type, unsigned STAGES>
__device__ void product(unsigned n, const unsigned char* a, const unsigned char* b, float* c) {
    extern __shared__ __align__(1024) unsigned char stages[];
    unsigned base = static_cast<unsigned>(__cvta_generic_to_shared(stages));
    unsigned t = threadIdx.x, bytes = 2 * n, steps = n / STEP, row = blockIdx.y * ROWS, column = blockIdx.x * COLUMNS;
    auto begin = [&](unsigned which) {
        if (which < steps) {
            unsigned as = base + which % STAGES * STAGE, bs = as + A_STAGE;
#pragma unroll
            for (unsigned i = 0; i < ROWS * 8 / 128; ++i) {
                unsigned r = (t + i * 128) / 8, p = t % 8;
                fetch(as + r * LINE + (p ^ r % 8) * 16, &a[(size_t)(row + r) * bytes + which * LINE + p * 16]);
            }
#pragma unroll
            for (unsigned i = 0; i < COLUMNS * 8 / 128; ++i) {
                unsigned r = (t + i * 128) / 8, p = t % 8;
                fetch(bs + r * LINE + (p ^ r % 8) * 16, &b[(size_t)(column + r) * bytes + which * LINE + p * 16]);
            }
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    for (unsigned which = 0; which + 1 < STAGES; ++which) begin(which);
    float sum[64] = {};
    for (unsigned which = 0; which < steps; ++which) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncthreads();
        unsigned as = base + which % STAGES * STAGE, bs = as + A_STAGE;
        asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
        for (unsigned k = 0; k < STEP / 16; ++k) Type::multiply(sum, descriptor(as + k * 32), descriptor(bs + k * 32));
        asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
        asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
        // All four warps have read the stage that is overwritten next.
        __syncthreads();
        begin(which + STAGES - 1);
    }
    unsigned lane = t % 32, warp = t / 32;
#pragma unroll
    for (unsigned j = 0; j < COLUMNS / 8; ++j) {
        float* out = &c[(size_t)(row + warp * 16 + lane / 4) * n + column + j * 8 + lane % 4 * 2];
        *reinterpret_cast<float2*>(out) = make_float2(sum[j * 4], sum[j * 4 + 1]);
        *reinterpret_cast<float2*>(out + 8 * (size_t)n) = make_float2(sum[j * 4 + 2], sum[j * 4 + 3]);
    }
}

extern "C" __global__ void __launch_bounds__(128)
wgmma_f16(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    product<Half, 2>(n, a, b, c);
}

extern "C" __global__ void __launch_bounds__(128)
wgmma_bf16(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    product<Brain, 4>(n, a, b, c);
}
