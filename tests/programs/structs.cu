// Kernel parameters of every shape: structures with padding and arrays, small and large, beside scalars of all sizes.
//> packed ok
//> large ok
//> three dimensions ok
#include <vector>
#include <cuda_runtime.h>
#include "check.h"

struct Inner {
    char tag;
    short pair[3];
};
struct Mixed {
    char first;
    double second;
    Inner inner[2];
    const int *data;
    float3 vector;
};
struct Large {
    int words[500];
};

__global__ void packed(char a, Mixed m, short b, long long c, bool d, float e, double *out) {
    out[0] = a;
    out[1] = m.first;
    out[2] = m.second;
    out[3] = m.inner[0].tag + m.inner[1].tag * 10;
    out[4] = m.inner[0].pair[2] + m.inner[1].pair[1];
    out[5] = m.data[3];
    out[6] = m.vector.x + m.vector.y * m.vector.z;
    out[7] = b;
    out[8] = (double)c;
    out[9] = d;
    out[10] = e;
}

__global__ void large(Large l, int *out) {
    // An index that is only known at run time.
    out[threadIdx.x] = l.words[(threadIdx.x * 7) % 500];
}

__global__ void coordinates(int3 *out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int size = blockDim.x * blockDim.y * blockDim.z;
    out[block * size + thread] = make_int3(blockIdx.x * 100 + threadIdx.x, blockIdx.y * 100 + threadIdx.y,
                                           blockIdx.z * 100 + threadIdx.z);
}

int main() {
    int data[4] = {1, 2, 3, 77}, *d_data;
    double *d_out, out[11];
    CHECK(cudaMalloc(&d_data, sizeof data));
    CHECK(cudaMalloc(&d_out, sizeof out));
    CHECK(cudaMemcpy(d_data, data, sizeof data, cudaMemcpyHostToDevice));
    Mixed m = {-5, 1.5, {{3, {1, 2, 300}}, {4, {5, -6000, 7}}}, d_data, {0.5f, 2.0f, 4.0f}};
    packed<<<1, 1>>>(-1, m, -2, -3000000000000ll, true, 0.125f, d_out);
    CHECK(cudaMemcpy(out, d_out, sizeof out, cudaMemcpyDeviceToHost));
    const double expected[11] = {-1, -5, 1.5, 43, -5700, 77, 8.5, -2, -3e12, 1, 0.125};
    int wrong = 0;
    for (int i = 0; i < 11; i++) wrong += out[i] != expected[i];
    std::printf("packed %s\n", wrong == 0 ? "ok" : "WRONG");

    Large l;
    for (int i = 0; i < 500; i++) l.words[i] = i * 3 - 100;
    int *d_words, words[256];
    CHECK(cudaMalloc(&d_words, sizeof words));
    large<<<1, 256>>>(l, d_words);
    CHECK(cudaMemcpy(words, d_words, sizeof words, cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int i = 0; i < 256; i++) wrong += words[i] != (i * 7) % 500 * 3 - 100;
    std::printf("large %s\n", wrong == 0 ? "ok" : "WRONG");

    dim3 grid(3, 2, 2), block(4, 3, 5);
    int count = 3 * 2 * 2 * 4 * 3 * 5;
    int3 *d_places;
    std::vector<int3> places(count);
    CHECK(cudaMalloc(&d_places, count * sizeof(int3)));
    coordinates<<<grid, block>>>(d_places);
    CHECK(cudaMemcpy(places.data(), d_places, count * sizeof(int3), cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int i = 0; i < count; i++) {
        int b = i / 60, t = i % 60;
        wrong += places[i].x != b % 3 * 100 + t % 4;
        wrong += places[i].y != b / 3 % 2 * 100 + t / 4 % 3;
        wrong += places[i].z != b / 6 * 100 + t / 12;
    }
    std::printf("three dimensions %s\n", wrong == 0 ? "ok" : "WRONG");
    return 0;
}
