// Warps: shuffles, votes, divergence, and loops that lanes leave at different times.
//> shuffled 496, ballot aaaaaaaa
//> collatz 1696 steps, longest 112
//> any 1, all 0
#include <cuda_runtime.h>
#include "check.h"

__global__ void exchange(int *sum, unsigned *ballot, int *votes) {
    int lane = threadIdx.x, value = lane;
    for (int distance = 16; distance > 0; distance /= 2) value += __shfl_xor_sync(0xffffffffu, value, distance);
    unsigned odd = __ballot_sync(0xffffffffu, lane & 1);
    int any = __any_sync(0xffffffffu, lane == 31), all = __all_sync(0xffffffffu, lane == 31);
    if (lane == 0) {
        *sum = value;
        *ballot = odd;
        votes[0] = any;
        votes[1] = all;
    }
}

// Steps of the Collatz sequence from n to 1.
__global__ void collatz(int *steps, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    int n = 0;
    for (unsigned long long x = i + 1; x != 1; n++) x = x % 2 == 0 ? x / 2 : 3 * x + 1;
    steps[i] = n;
}

int main() {
    int *data, host[64];
    unsigned *bits, ballot;
    CHECK(cudaMalloc(&data, sizeof host));
    CHECK(cudaMalloc(&bits, sizeof ballot));
    exchange<<<1, 32>>>(data, bits, data + 1);
    CHECK(cudaMemcpy(host, data, sizeof host, cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(&ballot, bits, sizeof ballot, cudaMemcpyDeviceToHost));
    int any = host[1], all = host[2];
    std::printf("shuffled %d, ballot %x\n", host[0], ballot);

    collatz<<<2, 32>>>(data, 64);
    CHECK(cudaMemcpy(host, data, sizeof host, cudaMemcpyDeviceToHost));
    int sum = 0, longest = 0;
    for (int steps : host) {
        sum += steps;
        longest = steps > longest ? steps : longest;
    }
    std::printf("collatz %d steps, longest %d\n", sum, longest);
    std::printf("any %d, all %d\n", any, all);
    return 0;
}
