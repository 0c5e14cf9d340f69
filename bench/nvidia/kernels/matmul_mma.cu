// Products of square matrices by mma.sync: 4 warps make a tile of 64 x 64, each 32 x 32. The second factor stands
// transposed; n is a multiple of 64. A step takes 32 bytes of each row, whatever the type is.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

constexpr unsigned TILE = 64, ROW = 32, PITCH = ROW + 16, STAGE = TILE * PITCH;

__device__ void load4(unsigned (&to)[4], const unsigned char* from) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(from));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

struct Half {
    static __device__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};
struct Brain {
    static __device__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};
struct Tensor {
    static __device__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                     "{%0, %1, %2, %3};"
                     : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};

// What a warp adds to its part of the tile from one stage.
template <class Type>
__device__ void step(float (&sum)[2][4][4], const unsigned char* as, const unsigned char* bs, unsigned row, unsigned column) {
    unsigned lane = threadIdx.x % 32, of_a[2][4], of_b[2][4];
#pragma unroll
    for (unsigned i = 0; i < 2; ++i) {
        load4(of_a[i], &as[(row + i * 16 + lane % 16) * PITCH + lane / 16 * 16]);
        load4(of_b[i], &bs[(column + i * 16 + lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 16]);
    }
#pragma unroll
    for (unsigned i = 0; i < 2; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j)
            Type::multiply(sum[i][j], of_a[i], of_b[j / 2][j % 2 * 2], of_b[j / 2][j % 2 * 2 + 1]);
}

__device__ void store(const float (&sum)[2][4][4], float* c, unsigned n, unsigned row, unsigned column) {
    unsigned lane = threadIdx.x % 32;
#pragma unroll
    for (unsigned i = 0; i < 2; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
            float* out = &c[(row + i * 16 + lane / 4) * n + column + j * 8 + lane % 4 * 2];
            *reinterpret_cast<float2*>(out) = make_float2(sum[i][j][0], sum[i][j][1]);
            *reinterpret_cast<float2*>(out + 8 * n) = make_float2(sum[i][j][2], sum[i][j][3]);
        }
}

template <class Type>
__device__ void plain(unsigned n, unsigned bytes, const unsigned char* a, const unsigned char* b, float* c) {
    __shared__ __align__(16) unsigned char as[STAGE], bs[STAGE];
    unsigned t = threadIdx.x, warp = t / 32, r = t / 2, part = t % 2 * 16;
    unsigned row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    float sum[2][4][4] = {};
    for (unsigned at = 0; at < bytes; at += ROW) {
        *reinterpret_cast<uint4*>(&as[r * PITCH + part]) =
            *reinterpret_cast<const uint4*>(&a[(row + r) * bytes + at + part]);
        *reinterpret_cast<uint4*>(&bs[r * PITCH + part]) =
            *reinterpret_cast<const uint4*>(&b[(column + r) * bytes + at + part]);
        __syncthreads();
        step<Type>(sum, as, bs, warp / 2 * 32, warp % 2 * 32);
        __syncthreads();
    }
    store(sum, c, n, row + warp / 2 * 32, column + warp % 2 * 32);
}

extern "C" __global__ void __launch_bounds__(128)
mma_bf16(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    plain<Brain>(n, 2 * n, a, b, c);
}

extern "C" __global__ void __launch_bounds__(128)
mma_tf32(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    plain<Tensor>(n, 4 * n, a, b, c);
}

__device__ void fetch(unsigned char* to, const unsigned char* from) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}

// The same with copies that run ahead, so many stages deep.
template <class Type, unsigned STAGES>
__device__ void ahead(unsigned n, unsigned bytes, const unsigned char* a, const unsigned char* b, float* c) {
    __shared__ __align__(16) unsigned char as[STAGES][STAGE], bs[STAGES][STAGE];
    unsigned t = threadIdx.x, warp = t / 32, r = t / 2, part = t % 2 * 16;
    unsigned row = blockIdx.y * TILE, column = blockIdx.x * TILE, steps = bytes / ROW;
    auto begin = [&](unsigned which) {
        if (which < steps) {
            fetch(&as[which % STAGES][r * PITCH + part], &a[(row + r) * bytes + which * ROW + part]);
            fetch(&bs[which % STAGES][r * PITCH + part], &b[(column + r) * bytes + which * ROW + part]);
        }
        asm volatile("cp.async.commit_group;" ::: "memory");
    };
    for (unsigned which = 0; which + 1 < STAGES; ++which) begin(which);
    float sum[2][4][4] = {};
    for (unsigned which = 0; which < steps; ++which) {
        asm volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
        __syncthreads();
        begin(which + STAGES - 1);
        step<Type>(sum, as[which % STAGES], bs[which % STAGES], warp / 2 * 32, warp % 2 * 32);
    }
    store(sum, c, n, row + warp / 2 * 32, column + warp % 2 * 32);
}

extern "C" __global__ void __launch_bounds__(128)
async_two(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    ahead<Half, 2>(n, 2 * n, a, b, c);
}

extern "C" __global__ void __launch_bounds__(128)
async_four(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b, float* __restrict__ c) {
    ahead<Brain, 4>(n, 2 * n, a, b, c);
}
