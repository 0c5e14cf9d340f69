// A job with much memory, of which it changes a little all the time: MEBIBYTES of numbers, PERMILLE of their pages a second, together or
// scattered, until there is a file END. It says when it stood still, and in the end whether every number is what it has to be.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>

// One that goes on while a job is in a file.
using Clock = std::chrono::system_clock;

constexpr uint64_t PAGE = 512; // Numbers of a page.

__device__ __host__ inline uint64_t mixed(uint64_t x) {
    x ^= x >> 33, x *= 0xff51afd7ed558ccdull, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

// The page that is changed at a step: one behind the other, or anywhere.
__device__ __host__ inline uint64_t page_of(uint64_t step, uint64_t pages, bool scattered) {
    return (scattered ? step * 0x9e3779b1ull : step) % pages;
}

__global__ void begin(uint64_t *numbers, uint64_t count) {
    uint64_t stride = uint64_t(gridDim.x) * blockDim.x;
    for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) numbers[i] = mixed(i);
}

__global__ void change(uint64_t *numbers, uint32_t *touched, uint64_t first, uint64_t pages, bool scattered) {
    uint64_t page = page_of(first + blockIdx.x, pages, scattered);
    for (uint64_t i = threadIdx.x; i < PAGE; i += blockDim.x) numbers[page * PAGE + i] += mixed(page + i);
    if (threadIdx.x == 0) touched[page] += 1;
}

__global__ void look(const uint64_t *numbers, const uint32_t *touched, uint64_t count, unsigned long long *wrong) {
    uint64_t stride = uint64_t(gridDim.x) * blockDim.x, found = 0;
    for (uint64_t i = uint64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
        uint64_t page = i / PAGE;
        found += numbers[i] != mixed(i) + touched[page] * mixed(page + i % PAGE);
    }
    if (found) atomicAdd(wrong, static_cast<unsigned long long>(found));
}

int main(int count_of_words, char **words) {
    if (count_of_words != 5) return 2;
    uint64_t count = strtoull(words[1], nullptr, 10) << 17, pages = count / PAGE;
    double permille = atof(words[2]);
    bool scattered = !strcmp(words[3], "scattered");
    uint64_t *numbers;
    uint32_t *touched;
    unsigned long long *wrong, found = 0;
    if (cudaMalloc(&numbers, count * 8) || cudaMalloc(&touched, pages * 4) || cudaMalloc(&wrong, 8)) return 1;
    cudaMemset(touched, 0, pages * 4), cudaMemset(wrong, 0, 8);
    begin<<<64, 256>>>(numbers, count);
    if (cudaDeviceSynchronize()) return 1;
    printf("step 0\n"), fflush(stdout);
    Clock::time_point last = Clock::now(), shown = last;
    double most = 0;
    uint64_t done = 0;
    while (access(words[4], F_OK)) {
        uint64_t due = uint64_t(pages * permille / 1000 * 0.005) + 1;
        change<<<unsigned(due), 128>>>(numbers, touched, done, pages, scattered);
        if (cudaDeviceSynchronize()) return 1;
        done += due;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        Clock::time_point now = Clock::now();
        double gap = std::chrono::duration<double, std::milli>(now - last).count();
        last = now;
        if (gap > most) most = gap;
        if (gap > 25 || std::chrono::duration<double>(now - shown).count() > 1) {
            printf("step %llu gap %.1f ms\n", static_cast<unsigned long long>(done), gap), fflush(stdout);
            shown = now;
        }
    }
    look<<<64, 256>>>(numbers, touched, count, wrong);
    if (cudaMemcpy(&found, wrong, 8, cudaMemcpyDeviceToHost)) return 1;
    printf("stood still for %.1f ms at most\n", most);
    printf("checksum %s\n", found ? "wrong" : "right");
    return found != 0;
}
