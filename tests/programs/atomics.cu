// Atomic operations on global and shared memory, of several widths and types, and a loop around compare-and-swap.
//> histogram ok
//> sum 499500, float 64.0, wide 4503599627371494
//> max 999, min -1000, or ffff
//> product 1048576.0
//> turn 1000
#include <cuda_runtime.h>
#include "check.h"

__global__ void histogram(const unsigned char *in, int n, unsigned *bins) {
    __shared__ unsigned local[16];
    if (threadIdx.x < 16) local[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        atomicAdd(&local[in[i] & 15], 1u);
    __syncthreads();
    if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

struct Results {
    int sum, max, min;
    unsigned bits, turn;
    float halves;
    unsigned long long wide;
    double product;
};

__device__ double atomic_multiply(double *at, double factor) {
    unsigned long long *bits = (unsigned long long *)at, old = *bits, seen;
    do {
        seen = old;
        old = atomicCAS(bits, seen, (unsigned long long)__double_as_longlong(__longlong_as_double(seen) * factor));
    } while (old != seen);
    return __longlong_as_double(old);
}

__global__ void everything(Results *r) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= 1000) return;
    atomicAdd(&r->sum, i);
    atomicMax(&r->max, i);
    atomicMin(&r->min, -1 - i);
    atomicOr(&r->bits, 1u << (i % 16));
    atomicAdd(&r->wide, 1ull << (i == 0 ? 52 : 0));
    atomicInc(&r->turn, 4096);
    if (i < 128) atomicAdd(&r->halves, 0.5f);
    if (i < 20) atomic_multiply(&r->product, 2.0);
}

int main() {
    const int n = 10000;
    static unsigned char in[n];
    unsigned expected[16] = {}, bins[16];
    for (int i = 0; i < n; i++) {
        in[i] = (unsigned char)(i * i / 7);
        expected[in[i] & 15]++;
    }
    unsigned char *d_in;
    unsigned *d_bins;
    CHECK(cudaMalloc(&d_in, n));
    CHECK(cudaMalloc(&d_bins, sizeof bins));
    CHECK(cudaMemcpy(d_in, in, n, cudaMemcpyHostToDevice));
    CHECK(cudaMemset(d_bins, 0, sizeof bins));
    histogram<<<5, 96>>>(d_in, n, d_bins);
    CHECK(cudaMemcpy(bins, d_bins, sizeof bins, cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < 16; i++) wrong += bins[i] != expected[i];
    std::printf("histogram %s\n", wrong == 0 ? "ok" : "WRONG");

    Results r = {}, *d_r;
    r.product = 1.0;
    CHECK(cudaMalloc(&d_r, sizeof r));
    CHECK(cudaMemcpy(d_r, &r, sizeof r, cudaMemcpyHostToDevice));
    everything<<<8, 128>>>(d_r);
    CHECK(cudaMemcpy(&r, d_r, sizeof r, cudaMemcpyDeviceToHost));
    std::printf("sum %d, float %.1f, wide %llu\n", r.sum, r.halves, r.wide - 1);
    std::printf("max %d, min %d, or %x\n", r.max, r.min, r.bits);
    std::printf("product %.1f\n", r.product);
    std::printf("turn %u\n", r.turn);
    return 0;
}
