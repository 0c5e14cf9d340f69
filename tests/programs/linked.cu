// Device code from two source files: functions, a variable and a template that both have.
//+ linked/helper.cu
//> helper 1525, state 42
//> twice 14 and 0.5
//> private 7
#include <cuda_runtime.h>
#include "check.h"

extern __device__ int shared_state;
__device__ int helper(int x);
template <class T> __device__ __noinline__ T twice(T x) { return x + x; }
// Another variable than the one of this name in the other file.
static __device__ int private_state = 7;

struct Results {
    int helper, state, doubled, own;
    float half;
};

__global__ void everything(Results *r) {
    r->helper = helper(5) + twice(7);
    shared_state++;
    r->state = shared_state;
    r->doubled = twice(7);
    r->half = twice(0.25f);
    r->own = private_state;
}

int main() {
    Results r, *d;
    CHECK(cudaMalloc(&d, sizeof r));
    everything<<<1, 1>>>(d);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(&r, d, sizeof r, cudaMemcpyDeviceToHost));
    std::printf("helper %d, state %d\n", r.helper, r.state);
    std::printf("twice %d and %.1f\n", r.doubled, r.half);
    std::printf("private %d\n", r.own);
    return 0;
}
