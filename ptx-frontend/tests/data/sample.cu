// What the parser's tests read is the PTX of this file:
// nvcc -ptx -lineinfo -arch=compute_75 sample.cu, with the path of the file shortened.
#include <cstdio>

struct Pack {
    int a;
    double b[3];
};

__device__ int table[4] = {1, 2, 3, 4};
__constant__ float coefficients[3] = {1.5f, 2.f, -3.f};
__device__ int *pointers[3] = {table, table + 2, nullptr};
__managed__ int managed = 7;
__device__ short grid[2][3] = {{1}, {2, 3}};
extern __shared__ float dynamic[];

__device__ __noinline__ int fibonacci(int n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }
__device__ __noinline__ int twice(int n) { return 2 * n; }
typedef int (*Function)(int);
__device__ Function functions[2] = {fibonacci, twice};

__global__ void __launch_bounds__(128, 2) mixed(float *x, Pack p, int n) {
    __shared__ float tile[32][33];
    int i = threadIdx.x + blockIdx.x * blockDim.x;
    tile[i % 32][0] = x[i] * coefficients[i % 3];
    __syncthreads();
    dynamic[i] = tile[(i * 7) % 32][0];
    switch (n) {
    case 0: x[i] = 1; break;
    case 1: x[i] = __sinf(x[i]); break;
    case 2: x[i] = p.b[i % 3]; break;
    case 3: x[i] = functions[i & 1](i); break;
    case 4: printf("%d %f\n", i, x[i]); break;
    case 5: x[i] = x[i] / 3.f; break;
    }
    if (__any_sync(~0u, x[i] > 3)) x[i] += __shfl_xor_sync(~0u, x[i], 1);
    atomicAdd(&x[0], ((float4 *)x)[i].y);
    asm volatile("{ .reg .b32 t<3>; mov.b32 t1, %0; add.s32 t2, t1, 1; st.global.b32 [%1], t2; }" ::"r"(i), "l"(x));
    x[i] += clock64() + pointers[i & 1][0] + managed + grid[1][i % 3];
}

__global__ void texture(cudaTextureObject_t t, float4 *out) { out[threadIdx.x] = tex2D<float4>(t, 1.f, 2.f); }
