// Bytes times bytes into 32 bits by mma. 4 warps make a tile of 64 x 64, each 32 x 32. n is a multiple of 64; b stands
// transposed.
constexpr unsigned TILE = 64, ROW = 32, PITCH = ROW + 16;

__device__ void load4(unsigned (&to)[4], const unsigned char* from) {
    unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(from));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(address)
                 : "memory");
}

__device__ void multiply(int (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+r"(sum[0]), "+r"(sum[1]), "+r"(sum[2]), "+r"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// A step takes 32 numbers of each row, 32 bytes.
extern "C" __global__ void __launch_bounds__(128)
matmul_int8(unsigned n, const unsigned char* __restrict__ a, const unsigned char* __restrict__ b,
            int* __restrict__ c) {
    __shared__ __align__(16) unsigned char as[TILE * PITCH];
    __shared__ __align__(16) unsigned char bs[TILE * PITCH];
    unsigned t = threadIdx.x, lane = t % 32, warp = t / 32, bytes = n;
    unsigned row = blockIdx.y * TILE, column = blockIdx.x * TILE;
    unsigned warp_row = warp / 2 * 32, warp_column = warp % 2 * 32;
    int sum[2][4][4] = {};
    for (unsigned step = 0; step < bytes; step += ROW) {
        unsigned r = t / 2, part = t % 2 * 16;
        *reinterpret_cast<uint4*>(&as[r * PITCH + part]) =
            *reinterpret_cast<const uint4*>(&a[(row + r) * bytes + step + part]);
        *reinterpret_cast<uint4*>(&bs[r * PITCH + part]) =
            *reinterpret_cast<const uint4*>(&b[(column + r) * bytes + step + part]);
        __syncthreads();
        unsigned of_a[2][4], of_b[2][4];
#pragma unroll
        for (unsigned i = 0; i < 2; ++i) {
            load4(of_a[i], &as[(warp_row + i * 16 + lane % 16) * PITCH + lane / 16 * 16]);
            load4(of_b[i], &bs[(warp_column + i * 16 + lane / 16 * 8 + lane % 8) * PITCH + lane / 8 % 2 * 16]);
        }
#pragma unroll
        for (unsigned i = 0; i < 2; ++i)
#pragma unroll
            for (unsigned j = 0; j < 4; ++j)
                multiply(sum[i][j], of_a[i], of_b[j / 2][j % 2 * 2], of_b[j / 2][j % 2 * 2 + 1]);
        __syncthreads();
    }
#pragma unroll
    for (unsigned i = 0; i < 2; ++i)
#pragma unroll
        for (unsigned j = 0; j < 4; ++j) {
            int* out = &c[(row + warp_row + i * 16 + lane / 4) * n + column + warp_column + j * 8 + lane % 4 * 2];
            *reinterpret_cast<int2*>(out) = make_int2(sum[i][j][0], sum[i][j][1]);
            *reinterpret_cast<int2*>(out + 8 * n) = make_int2(sum[i][j][2], sum[i][j][3]);
        }
}
