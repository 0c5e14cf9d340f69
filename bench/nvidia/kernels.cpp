// The suite: each kernel's buffers, launches and, in the small sizes, what its results must be. Where threads loop for
// long, a launch has at most a million of them: more cannot be suspended in the middle of their blocks.
#include "bench.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>

namespace {
using Argument = Step::Argument;
using Buffers = std::vector<Buffer>;

// Blocks that fill a card with so many multiprocessors several times over, for loops that stride over their grid.
constexpr unsigned MANY = 132 * 8;

Argument B(int buffer) { return {buffer, 0}; }
Argument U(uint32_t bits) { return {-1, bits}; }
Argument F(float value) { return {-1, std::bit_cast<uint32_t>(value)}; }
Argument D(double value) { return {-1, std::bit_cast<uint64_t>(value)}; }

Buffer numbers(size_t n, double low = -1, double high = 1) { return {Fill::f32, n, low, high}; }
Buffer halves(size_t n) { return {Fill::f16, n, -1, 1}; }
Buffer brains(size_t n, double low = -1, double high = 1) { return {Fill::bf16, n, low, high}; }
Buffer doubles(size_t n, double low = -1, double high = 1) { return {Fill::f64, n, low, high}; }
Buffer words(size_t n, uint32_t below = 0) { return {Fill::u32, n, 0, double(below)}; }
Buffer given(std::vector<uint32_t> words) {
    size_t n = words.size();
    return {Fill::given, n, 0, 0, false, std::move(words)};
}
// So many words of results.
Buffer results(size_t n) { return {Fill::zero, n, 0, 0, true}; }
Buffer updated(Buffer buffer) {
    buffer.output = true;
    return buffer;
}
// Zeros to which a kernel adds.
Buffer counters(size_t n) { return updated(words(n, 1)); }

unsigned over(size_t n, size_t each) { return unsigned((n + each - 1) / each); }

Step step(const char* function, std::array<unsigned, 3> grid, std::array<unsigned, 3> block, std::vector<Argument> arguments) {
    return {function, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, std::move(arguments)};
}
Step line(const char* function, unsigned grid, unsigned block, std::vector<Argument> arguments) {
    return step(function, {grid, 1, 1}, {block, 1, 1}, std::move(arguments));
}

// What checks need.

template <class T> const T* as(const Contents& contents, int buffer) {
    return reinterpret_cast<const T*>(contents[size_t(buffer)].data());
}

std::string differs(size_t at, double got, double want) {
    char text[128];
    std::snprintf(text, sizeof text, "element %zu is %g and not %g", at, got, want);
    return text;
}

template <class T, class Want>
std::string all_near(const Contents& contents, int buffer, size_t n, double relative, double absolute, Want want) {
    const T* got = as<T>(contents, buffer);
    for (size_t i = 0; i < n; ++i) {
        double expected = want(i);
        if (!(std::abs(double(got[i]) - expected) <= absolute + relative * std::abs(expected)))
            return differs(i, double(got[i]), expected);
    }
    return "";
}

template <class T, class Want> std::string all_equal(const Contents& contents, int buffer, size_t n, Want want) {
    const T* got = as<T>(contents, buffer);
    for (size_t i = 0; i < n; ++i)
        if (T expected = want(i); got[i] != expected) return differs(i, double(got[i]), double(expected));
    return "";
}

float of_half(uint16_t bits) {
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    float value = exponent ? std::ldexp(float(fraction | 1024), exponent - 25) : std::ldexp(float(fraction), -24);
    return bits >> 15 ? -value : value;
}
float of_brain(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

double element(const Contents& contents, int buffer, Fill fill, size_t i) {
    switch (fill) {
    case Fill::f16: return of_half(as<uint16_t>(contents, buffer)[i]);
    case Fill::bf16: return of_brain(as<uint16_t>(contents, buffer)[i]);
    default: return as<float>(contents, buffer)[i];
    }
}

// A product of square matrices, the second one as it stands or transposed.
auto is_product(size_t n, Fill fill, bool transposed, double absolute) {
    return [=](const Contents& contents) {
        return all_near<float>(contents, 2, n * n, 1e-5, absolute, [&](size_t i) {
            double sum = 0;
            for (size_t k = 0; k < n; ++k)
                sum += element(contents, 0, fill, i / n * n + k) *
                       element(contents, 1, fill, transposed ? i % n * n + k : k * n + i % n);
            return sum;
        });
    };
}

auto is_transposed(size_t width, size_t height) {
    return [=](const Contents& contents) {
        const float* in = as<float>(contents, 0);
        return all_equal<float>(contents, 1, width * height, [&](size_t i) { return in[i % height * width + i / height]; });
    };
}

// The CPU suite's kernels.

Case saxpy(bool full) {
    uint32_t n = full ? 1 << 28 : 5000;
    return {"saxpy", {numbers(n), updated(numbers(n))}, {line("saxpy", over(n, 256), 256, {U(n), F(1.75f), B(0), B(1)})}};
}

Case matmul(const char* name, uint32_t n, uint32_t tile) {
    return {name,
            {numbers(n * n), numbers(n * n), results(n * n)},
            {step(name, {n / tile, n / tile, 1}, {16, 16, 1}, {U(n), B(0), B(1), B(2)})},
            is_product(n, Fill::f32, false, 1e-4)};
}
Case matmul_tiled(bool full) { return matmul("matmul_tiled", full ? 1024 : 64, 16); }
Case matmul_blocked(bool full) { return matmul("matmul_blocked", full ? 3072 : 64, 64); }

Case reduce(bool full) {
    uint32_t n = full ? 1 << 28 : 5000, groups = full ? MANY : 4;
    return {"reduce",
            {numbers(n, 0, 1), results(groups), results(1)},
            {line("reduce", groups, 256, {U(n), B(0), B(1)}), line("reduce", 1, 256, {U(groups), B(1), B(2)})}};
}

Case block_scan(bool full) {
    uint32_t tiles = full ? 1 << 18 : 3;
    return {"block_scan",
            {words(size_t(tiles) * 1024), results(size_t(tiles) * 1024), results(tiles)},
            {line("block_scan", tiles, 256, {B(0), B(1), B(2)})}};
}

Case stencil(bool full) {
    uint32_t width = full ? 16384 : 100, height = full ? 16384 : 50;
    size_t cells = size_t(width) * height;
    return {"stencil",
            {numbers(cells), results(cells)},
            {step("stencil", {over(width, 32), over(height, 8), 1}, {32, 8, 1}, {U(width), U(height), B(0), B(1)})}};
}

Case transpose(bool full) {
    uint32_t width = full ? 16384 : 64, height = full ? 16384 : 96;
    size_t cells = size_t(width) * height;
    return {"transpose",
            {numbers(cells), results(cells)},
            {step("transpose", {width / 32, height / 32, 1}, {32, 8, 1}, {U(width), U(height), B(0), B(1)})},
            is_transposed(width, height)};
}

Case nbody(bool full) {
    uint32_t n = full ? 1 << 16 : 512;
    return {"nbody", {numbers(n * 4, 0.1, 1), results(n * 4)}, {line("nbody", n / 256, 256, {U(n), F(0.01f), B(0), B(1)})}};
}

Case black_scholes(bool full) {
    uint32_t n = full ? 1 << 27 : 1000;
    return {"black_scholes",
            {numbers(n, 5, 30), numbers(n, 1, 100), numbers(n, 0.25, 10), results(n), results(n)},
            {line("black_scholes", over(n, 256), 256, {U(n), F(0.02f), F(0.3f), B(0), B(1), B(2), B(3), B(4)})}};
}

Case mandelbrot(bool full) {
    uint32_t width = full ? 1024 : 64, height = full ? 1024 : 48, limit = full ? 5000 : 50;
    std::vector<Argument> arguments = {U(width), U(height), U(limit), F(-2), F(-1.25f), F(2.5f / float(height)), B(0)};
    return {"mandelbrot",
            {results(size_t(width) * height)},
            {step("mandelbrot", {over(width, 32), over(height, 8), 1}, {32, 8, 1}, arguments)}};
}

Case spmv(bool full) {
    uint32_t rows = full ? 1 << 20 : 300, most = full ? 129 : 33, state = 5;
    std::vector<uint32_t> starts = {0};
    for (uint32_t row = 0; row < rows; ++row) {
        state = state * 1664525 + 1013904223;
        starts.push_back(starts.back() + (state >> 16) % most);
    }
    uint32_t entries = starts.back();
    return {"spmv",
            {given(std::move(starts)), words(entries, rows), numbers(entries), numbers(rows), results(rows)},
            {line("spmv", over(rows, 256), 256, {U(rows), B(0), B(1), B(2), B(3), B(4)})}};
}

Case histogram(bool full) {
    uint32_t n = full ? 1 << 27 : 4000;
    return {"histogram", {words(n), counters(256)}, {line("histogram", full ? MANY : 4, 256, {U(n), B(0), B(1)})}};
}

Case bitonic_sort(bool full) {
    constexpr uint32_t TILE = 1024;
    uint32_t n = full ? 1 << 24 : 4096, grid = n / TILE;
    Case made = {"bitonic_sort", {updated(words(n))}, {line("sort_tiles", grid, TILE / 2, {B(0)})}};
    for (uint32_t run = 2 * TILE; run <= n; run *= 2) {
        for (uint32_t distance = run / 2; distance >= TILE; distance /= 2)
            made.steps.push_back(line("merge_far", grid, TILE / 2, {U(run), U(distance), B(0)}));
        made.steps.push_back(line("merge_tiles", grid, TILE / 2, {U(run), B(0)}));
    }
    made.verify = [n](const Contents& contents) {
        const uint32_t* keys = as<uint32_t>(contents, 0);
        return std::is_sorted(keys, keys + n) ? "" : "the keys are not sorted";
    };
    return made;
}

Case sha256(bool full) {
    uint32_t n = full ? 1 << 20 : 256;
    return {"sha256",
            {words(size_t(n) * 16), results(size_t(n) * 8)},
            {line("sha256", over(n, 256), 256, {U(n), B(0), B(1)})}};
}

Case monte_carlo(bool full) {
    uint32_t n = full ? 1 << 20 : 256, groups = full ? 64 : 4;
    std::vector<Argument> arguments = {U(n), U(groups), U(0x5eed1234), F(100), F(105), F(-0.001875f), F(0.30618622f), B(0)};
    return {"monte_carlo", {results(n)}, {line("monte_carlo", n / 256, 256, arguments)}};
}

Case convolution(bool full) {
    uint32_t channels = full ? 128 : 2, features = full ? 32 : 8, edge = full ? 512 : 16, pitch = edge + 2;
    return {"convolution",
            {numbers(channels * pitch * pitch), numbers(features * channels * 9), results(features * edge * edge)},
            {step("convolution", {edge / 16, edge / 16, features / 8}, {16, 16, 1},
                  {U(channels), U(edge), B(0), B(1), B(2)})}};
}

Case layer_norm(bool full) {
    uint32_t rows = full ? 1 << 18 : 4;
    size_t cells = size_t(rows) * 1024;
    return {"layer_norm",
            {numbers(cells, -3, 5), numbers(1024, 0.5, 1.5), numbers(1024), results(cells)},
            {line("layer_norm", rows, 256, {B(0), B(1), B(2), B(3)})}};
}

Case softmax(bool full) {
    uint32_t rows = full ? 1 << 18 : 4;
    size_t cells = size_t(rows) * 1024;
    return {"softmax", {numbers(cells, -8, 8), results(cells)}, {line("softmax", rows, 256, {B(0), B(1)})}};
}

Case matmul_f16(bool full) {
    uint32_t n = full ? 4096 : 64;
    return {"matmul_f16",
            {halves(n * n), halves(n * n), results(n * n)},
            {step("matmul_f16", {n / 64, n / 64, 1}, {128, 1, 1}, {U(n), B(0), B(1), B(2)})},
            is_product(n, Fill::f16, true, 1e-3)};
}

Case matmul_int8(bool full) {
    uint32_t n = full ? 4096 : 64;
    return {"matmul_int8",
            {words(n * n / 4), words(n * n / 4), results(n * n)},
            {step("matmul_int8", {n / 64, n / 64, 1}, {128, 1, 1}, {U(n), B(0), B(1), B(2)})},
            [n](const Contents& contents) {
                const int8_t *a = as<int8_t>(contents, 0), *b = as<int8_t>(contents, 1);
                return all_equal<int32_t>(contents, 2, n * n, [=](size_t i) {
                    int32_t sum = 0;
                    for (size_t k = 0; k < n; ++k) sum += a[i / n * n + k] * b[i % n * n + k];
                    return sum;
                });
            }};
}

// Reductions and scans.

Case reduce_vector(bool full) {
    uint32_t n = full ? 1 << 26 : 2000, groups = full ? MANY : 4;
    return {"reductions", {numbers(size_t(n) * 4), results(groups)}, {line("reduce_vector", groups, 256, {U(n), B(0), B(1)})}};
}

Case dot_double(bool full) {
    uint32_t n = full ? 1 << 26 : 2000, groups = full ? MANY : 4;
    return {"reductions",
            {doubles(size_t(n) * 2), doubles(size_t(n) * 2), results(groups * 2)},
            {line("dot_double", groups, 256, {U(n), B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                double sum = 0, got = 0;
                for (size_t i = 0; i < n * 2; ++i) sum += as<double>(contents, 0)[i] * as<double>(contents, 1)[i];
                for (size_t i = 0; i < groups; ++i) got += as<double>(contents, 2)[i];
                return std::abs(got - sum) < 1e-9 ? "" : differs(0, got, sum);
            }};
}

Case largest(bool full) {
    uint32_t n = full ? 1 << 26 : 2000, groups = full ? MANY : 4;
    return {"reductions", {words(size_t(n) * 4), results(groups)}, {line("largest", groups, 256, {U(n), B(0), B(1)})}};
}

Case scan_lookback(bool full) {
    uint32_t tiles = full ? 1 << 17 : 70;
    size_t n = size_t(tiles) * 2048;
    return {"scans",
            {words(n), results(n), words(tiles * 2, 1), words(1, 1)},
            {line("clear_tiles", over(tiles, 256), 256, {U(tiles), B(2), B(3)}),
             line("scan_lookback", tiles, 256, {B(0), B(1), B(2), B(3)})},
            [=](const Contents& contents) {
                uint32_t sum = 0;
                return all_equal<uint32_t>(contents, 1, n, [&](size_t i) { return sum += as<uint32_t>(contents, 0)[i]; });
            }};
}

Case scan_shared(bool full) {
    uint32_t tiles = full ? 1 << 19 : 5;
    size_t n = size_t(tiles) * 512;
    return {"scans",
            {numbers(n), results(n)},
            {line("scan_shared", tiles, 512, {B(0), B(1)})},
            [=](const Contents& contents) {
                double sum = 0;
                return all_near<float>(contents, 1, n, 1e-5, 1e-4, [&](size_t i) {
                    return sum = (i % 512 ? sum : 0) + as<float>(contents, 0)[i];
                });
            }};
}

// Movement of data.

Case transpose_as(const char* function, bool full) {
    uint32_t n = full ? 16384 : 64;
    size_t cells = size_t(n) * n;
    return {"transposes",
            {numbers(cells), results(cells)},
            {step(function, {n / 32, n / 32, 1}, {32, 8, 1}, {U(n), B(0), B(1)})},
            is_transposed(n, n)};
}
Case transpose_plain(bool full) { return transpose_as("transpose_plain", full); }
Case transpose_banks(bool full) { return transpose_as("transpose_banks", full); }

Case copy(const char* function, uint32_t n, uint32_t vector, uint32_t grid) {
    size_t all = size_t(n) * vector;
    return {"copies",
            {words(all), results(all)},
            {line(function, grid, 256, {U(n), B(0), B(1)})},
            [=](const Contents& contents) {
                return all_equal<uint32_t>(contents, 1, all, [&](size_t i) { return as<uint32_t>(contents, 0)[i]; });
            }};
}
Case copy_words(bool full) {
    uint32_t n = full ? 1 << 28 : 5000;
    return copy("copy_words", n, 1, over(n, 256));
}
Case copy_vectors(bool full) {
    uint32_t n = full ? 1 << 26 : 5000;
    return copy("copy_vectors", n, 4, over(n, 1024));
}
Case copy_streaming(bool full) { return copy("copy_streaming", full ? 1 << 26 : 5000, 4, full ? MANY : 4); }

Case copy_strided(bool full) {
    uint32_t n = full ? 1 << 26 : 5000, stride = 5;
    return {"copies",
            {numbers(size_t(n) * stride), results(n)},
            {line("copy_strided", over(n, 256), 256, {U(n), U(stride), B(0), B(1)})}};
}

Case gather(bool full) {
    uint32_t n = full ? 1 << 26 : 5000, from = full ? 1 << 24 : 777;
    return {"copies",
            {words(n, from), numbers(from), results(n)},
            {line("gather", over(n, 256), 256, {U(n), B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                return all_equal<float>(contents, 2, n, [&](size_t i) {
                    return as<float>(contents, 1)[as<uint32_t>(contents, 0)[i]];
                });
            }};
}

Case scatter_add(bool full) {
    uint32_t n = full ? 1 << 26 : 5000, to = full ? 1 << 22 : 777;
    return {"copies",
            {words(n, to), words(n), counters(to)},
            {line("scatter_add", over(n, 256), 256, {U(n), B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                std::vector<uint32_t> sums(to);
                for (size_t i = 0; i < n; ++i) sums[as<uint32_t>(contents, 0)[i]] += as<uint32_t>(contents, 1)[i];
                return all_equal<uint32_t>(contents, 2, to, [&](size_t i) { return sums[i]; });
            }};
}

// Products of matrices.

Buffer factor(Fill fill, size_t n) { return {fill, n, -1, 1}; }

Case mma(const char* function, Fill fill, double absolute, uint32_t n) {
    return {"matmul_mma",
            {factor(fill, n * n), factor(fill, n * n), results(n * n)},
            {step(function, {n / 64, n / 64, 1}, {128, 1, 1}, {U(n), B(0), B(1), B(2)})},
            is_product(n, fill, true, absolute)};
}
Case mma_bf16(bool full) { return mma("mma_bf16", Fill::bf16, 1e-3, full ? 4096 : 64); }
// Its factors are rounded to 11 bits.
Case mma_tf32(bool full) { return mma("mma_tf32", Fill::f32, 3e-2, full ? 4096 : 64); }
Case async_two(bool full) { return mma("async_two", Fill::f16, 1e-3, full ? 4096 : 128); }
Case async_four(bool full) { return mma("async_four", Fill::bf16, 1e-3, full ? 4096 : 128); }

Case wgmma(const char* function, Fill fill, unsigned stages, bool full) {
    constexpr unsigned STAGE = (64 + 128) * 128;
    uint32_t n = full ? 6144 : 256;
    Case made = {"matmul_wgmma",
                 {factor(fill, n * n), factor(fill, n * n), results(n * n)},
                 {step(function, {n / 128, n / 64, 1}, {128, 1, 1}, {U(n), B(0), B(1), B(2)})},
                 is_product(n, fill, true, 1e-3)};
    made.steps[0].dynamic_shared = stages * STAGE;
    return made;
}
Case wgmma_f16(bool full) { return wgmma("wgmma_f16", Fill::f16, 2, full); }
Case wgmma_bf16(bool full) { return wgmma("wgmma_bf16", Fill::bf16, 4, full); }

Case attention(bool full) {
    uint32_t length = full ? 2048 : 64, heads = full ? 32 : 2, width = 64;
    size_t cells = size_t(length) * heads * width;
    return {"attention",
            {numbers(cells, -2, 2), numbers(cells, -2, 2), numbers(cells), results(cells)},
            {step("attention", {length / 64, heads, 1}, {256, 1, 1}, {U(length), F(0.125f), B(0), B(1), B(2), B(3)})},
            [=](const Contents& contents) {
                const float *q = as<float>(contents, 0), *k = as<float>(contents, 1), *v = as<float>(contents, 2);
                return all_near<float>(contents, 3, cells, 1e-4, 1e-5, [=](size_t at) {
                    size_t head = at / (length * width) * length * width, row = at - at % width;
                    double weight = 0, sum = 0;
                    for (size_t j = 0; j < length; ++j) {
                        double score = 0;
                        for (size_t i = 0; i < width; ++i) score += double(q[row + i]) * k[head + j * width + i];
                        double share = std::exp(0.125 * score);
                        weight += share;
                        sum += share * v[head + j * width + at % width];
                    }
                    return sum / weight;
                });
            }};
}

Case rms_norm(bool full) {
    uint32_t rows = full ? 1 << 17 : 3;
    size_t cells = size_t(rows) * 4096;
    return {"norms",
            {brains(cells, -3, 5), brains(4096, 0.5, 1.5), results(cells / 2)},
            {line("rms_norm", rows, 256, {B(0), B(1), B(2)})}};
}

Case softmax_long(bool full) {
    uint32_t rows = full ? 4096 : 3, columns = full ? 65536 : 1000;
    size_t cells = size_t(rows) * columns;
    return {"norms",
            {numbers(cells, -8, 8), results(cells)},
            {line("softmax_long", rows, 256, {U(columns), B(0), B(1)})},
            [=](const Contents& contents) {
                const float* in = as<float>(contents, 0);
                std::vector<double> sums(rows);
                for (size_t i = 0; i < cells; ++i) sums[i / columns] += std::exp(double(in[i]));
                return all_near<float>(contents, 1, cells, 1e-4, 1e-9,
                                       [&](size_t i) { return std::exp(double(in[i])) / sums[i / columns]; });
            }};
}

// Stencils and images.

Case jacobi(bool full) {
    uint32_t n = full ? 16384 : 70;
    size_t cells = size_t(n) * n;
    return {"stencils",
            {numbers(cells), updated(numbers(cells))},
            {step("jacobi", {over(n, 64), over(n, 4), 1}, {64, 4, 1}, {U(n), B(0), B(1)})}};
}

Case heat3d(bool full) {
    uint32_t n = full ? 640 : 34;
    size_t cells = size_t(n) * n * n;
    return {"stencils",
            {numbers(cells), updated(numbers(cells))},
            {step("heat3d", {over(n, 32), over(n, 8), n}, {32, 8, 1}, {U(n), F(0.1f), B(0), B(1)})}};
}

Case march3d(bool full) {
    uint32_t n = full ? 642 : 34;
    size_t plane = size_t(n) * n;
    return {"stencils",
            {numbers(plane * n), updated(numbers(plane * n))},
            {step("march3d", {(n - 2) / 32, (n - 2) / 16, 1}, {32, 16, 1}, {U(n), B(0), B(1)})},
            [=](const Contents& contents) {
                const float *in = as<float>(contents, 0), *out = as<float>(contents, 1);
                return all_near<float>(contents, 1, plane * n, 1e-5, 1e-5, [=](size_t i) {
                    size_t place[] = {i % n, i / n % n, i / plane};
                    if (std::any_of(place, place + 3, [=](size_t p) { return p == 0 || p == n - 1; })) return double(out[i]);
                    return 0.4 * in[i] + 0.1 * (double(in[i - 1]) + in[i + 1] + in[i - n] + in[i + n] + in[i - plane] + in[i + plane]);
                });
            }};
}

Case life(bool full) {
    uint32_t across = full ? 8192 : 3, rows = full ? 16384 : 40;
    size_t n = size_t(across) * rows;
    return {"stencils",
            {words(n), results(n)},
            {step("life", {over(across, 128), rows, 1}, {128, 1, 1}, {U(across), U(rows), B(0), B(1)})},
            [=](const Contents& contents) {
                const uint32_t* in = as<uint32_t>(contents, 0);
                size_t cells = size_t(across) * 32;
                auto alive = [=](size_t y, size_t x) { return in[y * across + x / 32] >> x % 32 & 1; };
                return all_equal<uint32_t>(contents, 1, n, [=](size_t i) {
                    uint32_t word = 0;
                    for (size_t bit = 0; bit < 32; ++bit) {
                        size_t x = i % across * 32 + bit, y = i / across;
                        uint32_t around = 0;
                        for (size_t dy : {rows - 1, 0u, 1u})
                            for (size_t dx : {cells - 1, size_t(0), size_t(1)})
                                if (dy || dx) around += alive((y + dy) % rows, (x + dx) % cells);
                        word |= uint32_t(around == 3 || (around == 2 && alive(y, x))) << bit;
                    }
                    return word;
                });
            }};
}

Case image(const char* function, bool full, uint32_t edge, Buffer (*make)(size_t), std::vector<Argument> more = {}) {
    uint32_t width = full ? edge : 96, height = full ? edge : 40;
    size_t cells = size_t(width) * height;
    std::vector<Argument> arguments = {U(width), U(height)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    arguments.insert(arguments.end(), {B(0), B(1)});
    return {"images",
            {make(cells), updated(numbers(cells))},
            {step(function, {over(width, 32), over(height, 8), 1}, {32, 8, 1}, arguments)}};
}
Buffer pixels(size_t n) { return words(n); }
Buffer greys(size_t n) { return numbers(n, 0, 1); }

Case median(bool full) {
    Case made = image("median", full, 8192, pixels);
    made.verify = [](const Contents& contents) {
        const unsigned char* in = as<unsigned char>(contents, 0);
        return all_equal<unsigned char>(contents, 1, 96 * 40 * 4, [=](size_t i) {
            int x = int(i / 4 % 96), y = int(i / 4 / 96);
            unsigned char around[9];
            for (int k = 0; k < 9; ++k) {
                int px = std::clamp(x + k % 3 - 1, 0, 95), py = std::clamp(y + k / 3 - 1, 0, 39);
                around[k] = in[(py * 96 + px) * 4 + int(i % 4)];
            }
            std::nth_element(around, around + 4, around + 9);
            return around[4];
        });
    };
    return made;
}
Case bilateral(bool full) { return image("bilateral", full, 1024, greys, {F(10)}); }
Case sobel(bool full) { return image("sobel", full, 8192, pixels); }

Case convolve_rows(bool full) {
    uint32_t pitch = full ? 16384 : 512, height = full ? 16384 : 10;
    size_t cells = size_t(pitch) * height;
    return {"images",
            {numbers(cells), results(cells)},
            {step("convolve_rows", {pitch / 256, height, 1}, {256, 1, 1}, {U(pitch), B(0), B(1)})}};
}

Case convolve_columns(bool full) {
    uint32_t pitch = full ? 16384 : 64, height = full ? 16384 : 40;
    size_t cells = size_t(pitch) * height;
    return {"images",
            {numbers(cells), results(cells)},
            {step("convolve_columns", {pitch / 32, height / 8, 1}, {32, 8, 1}, {U(pitch), U(height), B(0), B(1)})}};
}

// Sorts, votes and atomics.

Case radix_pass(bool full) {
    constexpr uint32_t TILE = 4096, DIGITS = 16, SHIFT = 8;
    uint32_t tiles = full ? 1 << 14 : 5;
    size_t n = size_t(tiles) * TILE;
    return {"sorting",
            {words(n), results(tiles * DIGITS), results(n)},
            {line("radix_count", tiles, 256, {U(SHIFT), B(0), B(1)}),
             line("radix_places", 1, 1024, {U(tiles * DIGITS), B(1)}),
             line("radix_move", tiles, 256, {U(SHIFT), B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                const uint32_t* in = as<uint32_t>(contents, 0);
                std::vector<uint32_t> keys(in, in + n);
                std::stable_sort(keys.begin(), keys.end(),
                                 [](uint32_t a, uint32_t b) { return (a >> SHIFT) % DIGITS < (b >> SHIFT) % DIGITS; });
                return all_equal<uint32_t>(contents, 2, n, [&](size_t i) { return keys[i]; });
            }};
}

Case pack(bool full) {
    uint32_t warps = full ? 1 << 18 : 16, bound = 1u << 31;
    size_t n = size_t(warps) * 1024;
    return {"sorting",
            {words(n), results(n), results(warps)},
            {line("pack", warps / 8, 256, {U(bound), B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                for (size_t warp = 0; warp < warps; ++warp) {
                    size_t count = 0;
                    for (size_t i = warp * 1024; i < (warp + 1) * 1024; ++i) {
                        uint32_t value = as<uint32_t>(contents, 0)[i];
                        if (value < bound && as<uint32_t>(contents, 1)[warp * 1024 + count++] != value)
                            return std::string("a word is not where it belongs");
                    }
                    if (as<uint32_t>(contents, 2)[warp] != count) return std::string("a count is wrong");
                }
                return std::string();
            }};
}

Case agree(bool full) {
    uint32_t n = full ? 1 << 27 : 4096;
    return {"sorting", {words(n), results(n)}, {line("agree", full ? MANY : 4, 256, {U(n), B(0), B(1)})}};
}

Case count_global(bool full) {
    uint32_t n = full ? 1 << 27 : 5000, places = full ? 1 << 20 : 100;
    return {"atomics", {words(n), counters(places)}, {line("count_global", full ? MANY : 4, 256, {U(n), U(places), B(0), B(1)})}};
}

Case count_warps(bool full) {
    uint32_t n = full ? 1 << 28 : 5000;
    return {"atomics",
            {words(n), counters(64)},
            {line("count_warps", full ? MANY : 4, 256, {U(n), B(0), B(1)})},
            [=](const Contents& contents) {
                std::vector<uint32_t> counts(64);
                for (size_t i = 0; i < n; ++i) ++counts[as<uint32_t>(contents, 0)[i] >> 26];
                return all_equal<uint32_t>(contents, 1, 64, [&](size_t i) { return counts[i]; });
            }};
}

// Arithmetic.

Case polynomial_f64(bool full) {
    uint32_t n = full ? 1 << 26 : 1000;
    return {"arithmetic", {doubles(n), results(size_t(n) * 2)}, {line("polynomial_f64", over(n, 256), 256, {U(n), B(0), B(1)})}};
}

Case nbody_f64(bool full) {
    uint32_t n = full ? 1 << 15 : 256;
    return {"arithmetic",
            {doubles(n * 4, 0.1, 1), results(n * 6)},
            {line("nbody_f64", n / 128, 128, {U(n), D(0.01), B(0), B(1)})}};
}

Case power_u64(bool full) {
    uint32_t n = full ? 1 << 20 : 1000;
    return {"arithmetic",
            {words(size_t(n) * 2), results(size_t(n) * 2)},
            {line("power_u64", over(n, 256), 256, {U(n), B(0), B(1)})},
            [=](const Contents& contents) {
                constexpr uint64_t PRIME = (uint64_t(1) << 61) - 1;
                return all_equal<uint64_t>(contents, 1, n, [&](size_t i) {
                    uint64_t value = as<uint64_t>(contents, 0)[i];
                    unsigned __int128 base = value % PRIME, result = 1;
                    for (uint64_t exponent = value >> 16; exponent; exponent >>= 1) {
                        if (exponent & 1) result = result * base % PRIME;
                        base = base * base % PRIME;
                    }
                    return uint64_t(result);
                });
            }};
}

Case divide_u64(bool full) {
    uint32_t n = full ? 1 << 23 : 1000;
    return {"arithmetic",
            {words(size_t(n) * 4), results(size_t(n) * 4)},
            {line("divide_u64", over(n, 256), 256, {U(n), B(0), B(1)})}};
}

Case fft(bool full) {
    constexpr uint32_t POINTS = 1024;
    uint32_t batch = full ? 1 << 16 : 2;
    std::vector<uint32_t> roots;
    for (uint32_t k = 0; k < POINTS / 2; ++k) {
        std::complex<double> root = std::polar(1.0, -2 * M_PI * k / POINTS);
        roots.push_back(std::bit_cast<uint32_t>(float(root.real())));
        roots.push_back(std::bit_cast<uint32_t>(float(root.imag())));
    }
    size_t n = size_t(batch) * POINTS * 2;
    return {"arithmetic",
            {numbers(n), given(std::move(roots)), results(n)},
            {line("fft", batch, POINTS / 2, {B(0), B(1), B(2)})},
            [=](const Contents& contents) {
                auto* in = as<std::complex<float>>(contents, 0);
                return all_near<float>(contents, 2, n, 1e-4, 1e-3, [=](size_t i) {
                    std::complex<double> sum = 0;
                    size_t frequency = i / 2 % POINTS, first = i / 2 - frequency;
                    for (size_t k = 0; k < POINTS; ++k)
                        sum += std::complex<double>(in[first + k]) *
                               std::polar(1.0, -2 * M_PI * double(k * frequency % POINTS) / POINTS);
                    return i % 2 ? sum.imag() : sum.real();
                });
            }};
}

Case relax_together(bool full) {
    uint32_t n = full ? 1 << 22 : 3000, steps = full ? 40 : 6, grid = full ? 132 * 4 : 4;
    Case made = {"together",
                 {numbers(n), results(n), results(n)},
                 {line("relax_together", grid, 256, {U(n), U(steps), B(0), B(1), B(2)})}};
    made.steps[0].cooperative = true;
    made.verify = [=](const Contents& contents) {
        const float* start = as<float>(contents, 0);
        std::vector<double> now(start, start + n), next(n);
        for (uint32_t turn = 0; turn < steps; ++turn, now.swap(next))
            for (size_t i = 0; i < n; ++i)
                next[i] = 0.5 * now[i] + 0.25 * (now[i == 0 ? 0 : i - 1] + now[i == n - 1 ? i : i + 1]);
        return all_near<float>(contents, 1, n, 1e-5, 1e-5, [&](size_t i) { return now[i]; });
    };
    return made;
}
}  // namespace

#define KERNEL(name) {#name, name}

const std::vector<Kernel> kernels = {
    KERNEL(saxpy),          KERNEL(matmul_tiled),   KERNEL(matmul_blocked), KERNEL(reduce),         KERNEL(block_scan),
    KERNEL(stencil),        KERNEL(transpose),      KERNEL(nbody),          KERNEL(black_scholes),  KERNEL(mandelbrot),
    KERNEL(spmv),           KERNEL(histogram),      KERNEL(bitonic_sort),   KERNEL(sha256),         KERNEL(monte_carlo),
    KERNEL(convolution),    KERNEL(layer_norm),     KERNEL(softmax),        KERNEL(matmul_f16),     KERNEL(matmul_int8),
    KERNEL(reduce_vector),  KERNEL(dot_double),     KERNEL(largest),        KERNEL(scan_lookback),  KERNEL(scan_shared),
    KERNEL(transpose_plain), KERNEL(transpose_banks), KERNEL(copy_words),   KERNEL(copy_vectors),   KERNEL(copy_streaming),
    KERNEL(copy_strided),   KERNEL(gather),         KERNEL(scatter_add),    KERNEL(mma_bf16),       KERNEL(mma_tf32),
    KERNEL(async_two),      KERNEL(async_four),     KERNEL(wgmma_f16),      KERNEL(wgmma_bf16),     KERNEL(attention),
    KERNEL(rms_norm),       KERNEL(softmax_long),   KERNEL(jacobi),         KERNEL(heat3d),         KERNEL(march3d),
    KERNEL(life),           KERNEL(median),         KERNEL(bilateral),      KERNEL(sobel),          KERNEL(convolve_rows),
    KERNEL(convolve_columns), KERNEL(radix_pass),   KERNEL(pack),           KERNEL(agree),          KERNEL(count_global),
    KERNEL(count_warps),    KERNEL(polynomial_f64), KERNEL(nbody_f64),      KERNEL(power_u64),      KERNEL(divide_u64),
    KERNEL(fft),            KERNEL(relax_together),
};
