// Kernels whose parameters, bounds and shared memory a cubin has to tell, and variables of each kind.
struct Big { char b[5000]; };
struct S { double d; int i; };
__device__ int counter; __constant__ float table[16]; static __device__ int hidden;
extern "C" __global__ void __launch_bounds__(128) big(Big b, int *o) { o[threadIdx.x] = b.b[o[0]] + hidden; hidden = 3; }
extern "C" __global__ void small(char c, S s, int *o) { __shared__ int w[32]; w[threadIdx.x] = c + s.i; __syncthreads(); o[threadIdx.x] = w[31 - threadIdx.x] + counter + (int)table[threadIdx.x & 15]; }
extern "C" __global__ void __cluster_dims__(2, 1, 1) clustered(int *o) { o[blockIdx.x] = 1; }
