// Variables of a module: constant memory, initialised device memory, addresses of one variable in another, and how the
// host reads and writes them.
//> polynomial ok
//> table 2 3 5 7 11
//> counter 1005
//> pointer 42
//> symbols ok
#include <cuda_runtime.h>
#include "check.h"

__constant__ float coefficients[4];
__constant__ int table[5] = {2, 3, 5, 7, 11};
__device__ int counter = 1000;
__device__ int target[3] = {40, 41, 42};
__device__ int *pointer = &target[2];

struct Pair {
    short key;
    double value;
};
__device__ Pair pairs[2] = {{1, 0.5}, {2, 0.25}};

__global__ void polynomial(const float *x, float *y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0;
    for (int k = 3; k >= 0; k--) sum = sum * x[i] + coefficients[k];
    y[i] = sum;
}

__global__ void read_table(int *out) {
    out[threadIdx.x] = table[threadIdx.x];
    if (threadIdx.x == 0) counter += 5;
}

__global__ void read_pointer(int *out, double *value) {
    out[0] = *pointer;
    *value = pairs[0].value * pairs[1].key + pairs[1].value;
}

int main() {
    const int n = 100;
    const float values[4] = {1.0f, -2.0f, 0.5f, 4.0f};
    CHECK(cudaMemcpyToSymbol(coefficients, values, sizeof values));
    float *x, *y;
    CHECK(cudaMalloc(&x, n * sizeof(float)));
    CHECK(cudaMalloc(&y, n * sizeof(float)));
    float in[n], out[n];
    for (int i = 0; i < n; i++) in[i] = 0.25f * (i - 50);
    CHECK(cudaMemcpy(x, in, sizeof in, cudaMemcpyHostToDevice));
    polynomial<<<2, 64>>>(x, y, n);
    CHECK(cudaMemcpy(out, y, sizeof out, cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int i = 0; i < n; i++) {
        // Exact in float: every intermediate value is a multiple of 1/32 below 2^19.
        double exact = 1.0 - 2.0 * in[i] + 0.5 * in[i] * in[i] + 4.0 * in[i] * in[i] * in[i];
        wrong += out[i] != (float)exact;
    }
    std::printf("polynomial %s\n", wrong == 0 ? "ok" : "WRONG");

    int *result, host[5];
    CHECK(cudaMalloc(&result, sizeof host));
    read_table<<<1, 5>>>(result);
    CHECK(cudaMemcpy(host, result, sizeof host, cudaMemcpyDeviceToHost));
    std::printf("table %d %d %d %d %d\n", host[0], host[1], host[2], host[3], host[4]);
    int count;
    CHECK(cudaMemcpyFromSymbol(&count, counter, sizeof count));
    std::printf("counter %d\n", count);

    double *value, host_value;
    CHECK(cudaMalloc(&value, sizeof(double)));
    read_pointer<<<1, 1>>>(result, value);
    CHECK(cudaMemcpy(host, result, sizeof(int), cudaMemcpyDeviceToHost));
    CHECK(cudaMemcpy(&host_value, value, sizeof(double), cudaMemcpyDeviceToHost));
    std::printf("pointer %d\n", host_value == 1.25 ? host[0] : -1);

    void *address;
    size_t bytes;
    CHECK(cudaGetSymbolAddress(&address, target));
    CHECK(cudaGetSymbolSize(&bytes, target));
    int three[3];
    CHECK(cudaMemcpy(three, address, sizeof three, cudaMemcpyDeviceToHost));
    bool ok = bytes == sizeof three && three[0] == 40 && three[1] == 41 && three[2] == 42;
    std::printf("symbols %s\n", ok ? "ok" : "WRONG");
    return 0;
}
