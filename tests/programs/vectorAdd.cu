// Adds two vectors on the device and checks every element on the host.
//> sum = 312543750.00, expected 312543750.00, ok
//> Test PASSED
#include <vector>
#include <cuda_runtime.h>
#include "check.h"

__global__ void add(const float *a, const float *b, float *c, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) c[i] = a[i] + b[i];
}

int main() {
    // Not a multiple of the block size, so that the last block has threads without an element.
    const int n = 50000;
    std::vector<float> a(n), b(n), c(n, -1.0f);
    for (int i = 0; i < n; i++) {
        a[i] = 0.5f * i;
        b[i] = 1.0f - 0.25f * i;
    }
    float *da, *db, *dc;
    size_t bytes = n * sizeof(float);
    CHECK(cudaMalloc(&da, bytes));
    CHECK(cudaMalloc(&db, bytes));
    CHECK(cudaMalloc(&dc, bytes));
    CHECK(cudaMemcpy(da, a.data(), bytes, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(db, b.data(), bytes, cudaMemcpyHostToDevice));
    const int threads = 256;
    add<<<(n + threads - 1) / threads, threads>>>(da, db, dc, n);
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(c.data(), dc, bytes, cudaMemcpyDeviceToHost));

    // Every value is a multiple of 1/4 below 2^24, so that both sums are exact.
    double sum = 0, expected = 0;
    int wrong = 0;
    for (int i = 0; i < n; i++) {
        sum += c[i];
        expected += 1.0 + 0.25 * i;
        wrong += c[i] != 1.0f + 0.25f * i;
    }
    CHECK(cudaFree(da));
    CHECK(cudaFree(db));
    CHECK(cudaFree(dc));
    bool ok = wrong == 0 && sum == expected;
    std::printf("sum = %.2f, expected %.2f, %s\n", sum, expected, ok ? "ok" : "WRONG");
    std::printf("Test %s\n", ok ? "PASSED" : "FAILED");
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
