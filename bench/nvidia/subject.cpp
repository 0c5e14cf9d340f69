// A kernel as a subject: its buffers are filled, it runs once for its results, and then in batches between events.
#include "bench.h"

#include <unistd.h>

#include <algorithm>
#include <thread>

namespace {
// Outputs hold this before the first launch; no kernel computes it.
constexpr unsigned char UNTOUCHED = 0xcc;
// So much of each buffer is read back to be looked at here.
constexpr size_t READ_BACK = size_t(1) << 20;
constexpr unsigned FILL_BLOCKS = 1024, FILL_THREADS = 256;

struct Launch {
    CUfunction function;
    const Step* step;
    std::vector<uint64_t> values;
    std::vector<void*> pointers;

    CUresult start(CUstream stream) {
        const unsigned *g = step->grid, *b = step->block, shared = step->dynamic_shared;
        if (step->cooperative)
            return cuLaunchCooperativeKernel(function, g[0], g[1], g[2], b[0], b[1], b[2], shared, stream, pointers.data());
        return cuLaunchKernel(function, g[0], g[1], g[2], b[0], b[1], b[2], shared, stream, pointers.data(), nullptr);
    }
};

Launch prepare(CUmodule module, const Step& step, const std::vector<CUdeviceptr>& buffers) {
    Launch launch = {nullptr, &step, {}, {}};
    CHECK(cuModuleGetFunction(&launch.function, module, step.function.c_str()));
    constexpr unsigned ALWAYS_ALLOWED = 48 << 10;
    if (step.dynamic_shared > ALWAYS_ALLOWED)
        CHECK(cuFuncSetAttribute(launch.function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                 int(step.dynamic_shared)));
    for (const Step::Argument& argument : step.arguments)
        launch.values.push_back(argument.buffer >= 0 ? buffers[size_t(argument.buffer)] : argument.bits);
    // The values stay where they are when their vector moves.
    for (uint64_t& value : launch.values) launch.pointers.push_back(&value);
    return launch;
}

class KernelSubject : public Subject {
public:
    KernelSubject(const Options& options, const Kernel& kernel) : case_(kernel.make(options.full)), full_(options.full), sample_us_(options.sample_us) {
        CHECK(cuModuleLoadData(&tools_, read_ptx(options, "fill").c_str()));
        CHECK(cuModuleLoadData(&module_, read_ptx(options, case_.module).c_str()));
        CHECK(cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING));
        CHECK(cuEventCreate(&begin_, 0));
        CHECK(cuEventCreate(&end_, 0));
        unsigned seed = 1;
        for (const Buffer& buffer : case_.buffers) {
            CUdeviceptr at;
            CHECK(cuMemAlloc(&at, std::max<size_t>(buffer.bytes(), 16)));
            buffers_.push_back(at);
            fill(buffer, at, seed++);
        }
        for (const Step& step : case_.steps) launches_.push_back(prepare(module_, step, buffers_));
        CHECK(cuStreamSynchronize(stream_));
        double begun = now_us();
        launch();
        CHECK(cuStreamSynchronize(stream_));
        first_us_ = now_us() - begun;
        judge();
    }

    ~KernelSubject() override {
        for (CUdeviceptr at : buffers_) CHECK(cuMemFree(at));
        CHECK(cuEventDestroy(begin_));
        CHECK(cuEventDestroy(end_));
        CHECK(cuStreamDestroy(stream_));
        CHECK(cuModuleUnload(module_));
        CHECK(cuModuleUnload(tools_));
    }

    std::string about() override {
        char text[512];
        std::snprintf(text, sizeof text, ", \"checksum\": \"%016llx\", \"wrong\": \"%s\", \"first_us\": %.1f",
                      (unsigned long long)checksum_, wrong_.c_str(), first_us_);
        return text;
    }

    double sample() override {
        // Not earlier: while subjects are made, others may use the device.
        if (count_ == 0) choose_count();
        return batch();
    }

    double pause() override {
        if (count_ == 0) choose_count();
        for (int i = 0; i < 2 * count_; ++i) launch();
        // Anywhere in the first half of it.
        moment_ = moment_ * 1664525 + 1013904223;
        std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(sample_us_ * double(moment_ >> 8) / double(1 << 24)));
        double begun = now_us();
        CHECK(cuCheckpointProcessLock(int(getpid()), nullptr));
        double took = now_us() - begun;
        CHECK(cuCheckpointProcessUnlock(int(getpid()), nullptr));
        CHECK(cuStreamSynchronize(stream_));
        return took;
    }

private:
    double batch() {
        CHECK(cuEventRecord(begin_, stream_));
        for (int i = 0; i < count_; ++i) launch();
        CHECK(cuEventRecord(end_, stream_));
        CHECK(cuStreamSynchronize(stream_));
        float milliseconds = 0;
        CHECK(cuEventElapsedTime(&milliseconds, begin_, end_));
        return milliseconds * 1e3 / count_;
    }

    void fill(const Buffer& buffer, CUdeviceptr at, unsigned seed) {
        if (buffer.fill == Fill::given) {
            CHECK(cuMemcpyHtoD(at, buffer.words.data(), buffer.bytes()));
            return;
        }
        if (buffer.fill == Fill::zero) {
            CHECK(cuMemsetD8(at, buffer.output ? UNTOUCHED : 0, buffer.bytes()));
            return;
        }
        static const char* const names[] = {"fill_f32", "fill_f16", "fill_bf16", "fill_f64", "fill_u32"};
        uint64_t n = buffer.elements;
        float low = float(buffer.low), high = float(buffer.high);
        unsigned bound = unsigned(buffer.high);
        bool words = buffer.fill == Fill::u32;
        void* numbers[] = {&n, &seed, &low, &high, &at};
        void* bounded[] = {&n, &seed, &bound, &at};
        run_tool(names[int(buffer.fill)], words ? bounded : numbers);
    }

    void run_tool(const char* name, void** arguments) {
        CUfunction function;
        CHECK(cuModuleGetFunction(&function, tools_, name));
        CHECK(cuLaunchKernel(function, full_ ? FILL_BLOCKS : 4, 1, 1, FILL_THREADS, 1, 1, 0, stream_, arguments, nullptr));
        CHECK(cuStreamSynchronize(stream_));
    }

    void launch() {
        for (Launch& launch : launches_) CHECK(launch.start(stream_));
    }

    // The sum of all outputs, by the device, and of their beginnings, by the host; and whether they are right.
    void judge() {
        CUdeviceptr sum;
        CHECK(cuMemAlloc(&sum, 8));
        CHECK(cuMemsetD8(sum, 0, 8));
        Contents contents;
        uint64_t hash = 0xcbf29ce484222325;
        for (size_t i = 0; i < buffers_.size(); ++i) {
            const Buffer& buffer = case_.buffers[i];
            std::vector<unsigned char> part(full_ ? std::min(buffer.bytes(), READ_BACK) : buffer.bytes());
            CHECK(cuMemcpyDtoH(part.data(), buffers_[i], part.size()));
            if (buffer.output) {
                uint64_t words = buffer.bytes() / 4;
                void* arguments[] = {&words, &buffers_[i], &sum};
                run_tool("checksum", arguments);
                for (unsigned char byte : part) hash = (hash ^ byte) * 0x100000001b3;
                if (buffer.fill == Fill::zero && untouched(part)) wrong_ = "an output was not written";
            }
            contents.push_back(std::move(part));
        }
        uint64_t total;
        CHECK(cuMemcpyDtoH(&total, sum, 8));
        CHECK(cuMemFree(sum));
        checksum_ = hash ^ total;
        // References are for the small sizes.
        if (!full_ && wrong_.empty() && case_.verify) wrong_ = case_.verify(contents);
    }

    static bool untouched(const std::vector<unsigned char>& part) {
        return std::all_of(part.begin(), part.end(), [](unsigned char byte) { return byte == UNTOUCHED; });
    }

    void choose_count() {
        count_ = 1;
        batch();
        double once = std::max(batch(), 1.0);
        count_ = int(std::clamp(sample_us_ / once, 1.0, 400.0));
        batch();
    }

    Case case_;
    bool full_;
    double sample_us_;
    CUmodule module_, tools_;
    CUstream stream_;
    CUevent begin_, end_;
    std::vector<CUdeviceptr> buffers_;
    std::vector<Launch> launches_;
    uint64_t checksum_ = 0;
    std::string wrong_;
    double first_us_ = 0;
    int count_ = 0;
    unsigned moment_ = 1;
};
}  // namespace

size_t Buffer::bytes() const {
    size_t each = fill == Fill::f64 ? 8 : fill == Fill::f16 || fill == Fill::bf16 ? 2 : 4;
    return elements * each;
}

std::unique_ptr<Subject> kernel_subject(const Options& options, const Kernel& kernel) {
    return std::make_unique<KernelSubject>(options, kernel);
}

// The cases of one module, and its kernels' first launches.
static void time_load(const Options& options, const std::string& module_name, CUdeviceptr memory, size_t room) {
    // Buffers hold zeros: what is computed does not matter.
    CHECK(cuMemsetD8(memory, 0, room));
    CHECK(cuCtxSynchronize());
    struct Planned {
        Step step;
        std::vector<CUdeviceptr> buffers;
    };
    std::vector<Planned> planned;
    std::vector<std::string> seen;
    constexpr size_t APART = 256;
    size_t used = 0;
    for (const Kernel& kernel : kernels) {
        Case made = kernel.make(false);
        if (made.module != module_name) continue;
        std::vector<CUdeviceptr> buffers;
        for (const Buffer& buffer : made.buffers) {
            buffers.push_back(memory + used);
            used += (buffer.bytes() + APART - 1) / APART * APART;
        }
        for (const Step& step : made.steps) {
            if (std::count(seen.begin(), seen.end(), step.function)) continue;
            seen.push_back(step.function);
            planned.push_back({step, buffers});
        }
    }
    if (used > room) {
        std::fprintf(stderr, "%s: the small sizes are not small\n", module_name.c_str());
        std::exit(1);
    }
    std::string text = read_ptx(options, module_name);
    double begun = now_us();
    CUmodule module;
    CHECK(cuModuleLoadData(&module, text.c_str()));
    double loaded = now_us();
    for (const Planned& plan : planned) CHECK(prepare(module, plan.step, plan.buffers).start(nullptr));
    CHECK(cuCtxSynchronize());
    double ended = now_us();
    std::printf("{\"name\": \"%s\", \"kernels\": %zu, \"load_us\": %.1f, \"total_us\": %.1f}\n", module_name.c_str(),
                planned.size(), loaded - begun, ended - begun);
    std::fflush(stdout);
    CHECK(cuModuleUnload(module));
}

// Each module of the suite once: its text to the end of the first launch of each of its kernels. Everything that is not
// the module's is there before.
void time_loads(const Options& options) {
    constexpr size_t ROOM = size_t(64) << 20;
    CUdeviceptr memory;
    CHECK(cuMemAlloc(&memory, ROOM));
    CUmodule first;
    CHECK(cuModuleLoadData(&first, read_ptx(options, "empty").c_str()));
    CUfunction empty;
    CHECK(cuModuleGetFunction(&empty, first, "empty"));
    void* nothing[] = {&memory};
    CHECK(cuLaunchKernel(empty, 1, 1, 1, 32, 1, 1, 0, nullptr, nothing, nullptr));
    CHECK(cuCtxSynchronize());
    std::vector<std::string> seen;
    for (const Kernel& kernel : kernels) {
        std::string module = kernel.make(false).module;
        if (std::count(seen.begin(), seen.end(), module)) continue;
        seen.push_back(module);
        time_load(options, module, memory, ROOM);
    }
    CHECK(cuModuleUnload(first));
    CHECK(cuMemFree(memory));
}
