__device__ float twice(float a) { return 2 * a; }
extern "C" __global__ void doubled(float *x) { x[threadIdx.x] = twice(x[threadIdx.x]); }
