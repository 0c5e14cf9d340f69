// Bodies that attract each other. With no arguments a short run, whose end is known; with a number of bodies and of steps
// one that takes as long as is wanted, for demonstrations: a line on the screen says how far it is. A third number is how many
// milliseconds it rests after each step.
//> 256 bodies, 20 steps
//> checksum cb13b5d8be31bc5b
#include "check.h"
#include <cstdint>
#include <cstdlib>
#include <cuda_runtime.h>
#include <unistd.h>
#include <vector>

constexpr int TILE = 64;

__global__ void step(const float4 *from, float4 *to, float3 *speeds, int bodies, float time) {
    __shared__ float4 tile[TILE];
    int own = blockIdx.x * TILE + threadIdx.x;
    float4 body = from[own];
    float3 pull = {0, 0, 0};
    for (int first = 0; first < bodies; first += TILE) {
        tile[threadIdx.x] = from[first + threadIdx.x];
        __syncthreads();
        for (int n = 0; n < TILE; ++n) {
            float x = tile[n].x - body.x, y = tile[n].y - body.y, z = tile[n].z - body.z;
            float near = 1.0f / sqrtf(x * x + y * y + z * z + 0.01f);
            float weight = tile[n].w * near * near * near;
            pull.x += weight * x, pull.y += weight * y, pull.z += weight * z;
        }
        __syncthreads();
    }
    float3 speed = speeds[own];
    speed.x += time * pull.x, speed.y += time * pull.y, speed.z += time * pull.z;
    speeds[own] = speed;
    to[own] = {body.x + time * speed.x, body.y + time * speed.y, body.z + time * speed.z, body.w};
}

int main(int count, char **words) {
    int bodies = count > 1 ? std::atoi(words[1]) : 256, steps = count > 2 ? std::atoi(words[2]) : 20;
    int rest = count > 3 ? std::atoi(words[3]) : 0;
    bool shown = count > 1;
    bodies = (bodies + TILE - 1) / TILE * TILE;
    std::printf("%d bodies, %d steps\n", bodies, steps);
    std::vector<float4> places(bodies);
    uint32_t seed = 1;
    auto random = [&] { return (seed = seed * 1664525u + 1013904223u) / 4294967296.0f - 0.5f; };
    for (auto &place : places) place.x = random(), place.y = random(), place.z = random(), place.w = 1.0f / bodies;
    float4 *now, *next;
    float3 *speeds;
    CHECK(cudaMalloc(&now, bodies * sizeof *now));
    CHECK(cudaMalloc(&next, bodies * sizeof *next));
    CHECK(cudaMalloc(&speeds, bodies * sizeof *speeds));
    CHECK(cudaMemset(speeds, 0, bodies * sizeof *speeds));
    CHECK(cudaMemcpy(now, places.data(), bodies * sizeof *now, cudaMemcpyHostToDevice));
    for (int done = 0; done < steps; ++done) {
        step<<<bodies / TILE, TILE>>>(now, next, speeds, bodies, 0.01f);
        CHECK(cudaDeviceSynchronize());
        std::swap(now, next);
        if (shown) {
            std::printf("step %d of %d\n", done + 1, steps);
            std::fflush(stdout);
        }
        if (rest) usleep(1000 * rest);
    }
    CHECK(cudaMemcpy(places.data(), now, bodies * sizeof *now, cudaMemcpyDeviceToHost));
    uint64_t sum = 14695981039346656037u;
    for (size_t byte = 0; byte < bodies * sizeof(float4); ++byte) {
        sum = (sum ^ reinterpret_cast<unsigned char *>(places.data())[byte]) * 1099511628211u;
    }
    std::printf("checksum %016llx\n", static_cast<unsigned long long>(sum));
    CHECK(cudaFree(now));
    CHECK(cudaFree(next));
    CHECK(cudaFree(speeds));
    return 0;
}
