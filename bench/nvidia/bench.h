// What the parts of the benchmark share: checked calls of the driver API, and things that can be timed again and again.
#pragma once

#include <cuda.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

// Ends the program with the call and what the driver says of it: a figure after an error would mean nothing.
inline void checked(CUresult result, const char* call, const char* file, int line) {
    if (result == CUDA_SUCCESS) return;
    const char* name = nullptr;
    cuGetErrorName(result, &name);
    std::fprintf(stderr, "%s:%d: %s: %s (%d)\n", file, line, call, name ? name : "unknown", int(result));
    std::exit(1);
}
#define CHECK(call) checked(call, #call, __FILE__, __LINE__)

inline double now_us() {
    auto since = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double, std::micro>(since).count();
}

struct Options {
    bool full = true;
    // Where the suite's PTX stands: the CPU suite's and this one's own.
    std::vector<std::string> folders;
    // How many samples a turn takes, and about how long each lasts.
    int samples = 7;
    double sample_us = 4000;
};

std::string read_ptx(const Options& options, const std::string& module);

// Something that is timed. Made and dropped by name, so that a process holds one at a time.
struct Subject {
    virtual ~Subject() = default;
    // Members of a JSON object: what is known before anything is timed.
    virtual std::string about() = 0;
    // One sample: microseconds an operation.
    virtual double sample() = 0;
    // Microseconds from a request that all work of the process stop until it has, at some moment of a sample; negative where that is
    // not asked.
    virtual double pause() { return -1; }
};

// A kernel of the suite: its buffers, its launches, and what its results must be.
enum class Fill { f32, f16, bf16, f64, u32, zero, given };

struct Buffer {
    Fill fill;
    size_t elements;
    // The range of numbers; for words, what they lie below, and 0 for all bits.
    double low = 0, high = 0;
    bool output = false;
    std::vector<uint32_t> words = {};
    size_t bytes() const;
};

struct Step {
    std::string function;
    unsigned grid[3], block[3];
    // Buffers are pointers, everything else is bits.
    struct Argument {
        int buffer;
        uint64_t bits;
    };
    std::vector<Argument> arguments;
    unsigned dynamic_shared = 0;
    bool cooperative = false;
};

// The contents of the buffers after one launch, as far as they were read back.
using Contents = std::vector<std::vector<unsigned char>>;

struct Case {
    std::string module;
    std::vector<Buffer> buffers;
    std::vector<Step> steps;
    // Empty if the results are right, else what is wrong. It may look at samples only.
    std::function<std::string(const Contents&)> verify = {};
};

struct Kernel {
    const char* name;
    Case (*make)(bool full);
};

extern const std::vector<Kernel> kernels;

std::unique_ptr<Subject> kernel_subject(const Options& options, const Kernel& kernel);
std::vector<std::string> api_names();
std::unique_ptr<Subject> api_subject(const Options& options, const std::string& name);
void time_loads(const Options& options);
