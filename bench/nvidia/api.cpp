// What calls of the driver API cost. A sample is the mean of as many calls as its row says.
#include "bench.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace {
constexpr size_t MOST_BYTES = size_t(64) << 20;
constexpr int GRAPH_NODES = 20, THREADS = 8;

// All that the rows need, made before any is timed.
struct Setting {
    CUmodule module;
    CUfunction empty;
    CUstream stream, others[THREADS];
    CUevent event, later;
    CUdeviceptr memory, second;
    void* pinned;
    std::vector<unsigned char> pageable;
    CUgraphExec graph;
    CUcontext context;

    explicit Setting(const Options& options) : pageable(MOST_BYTES, 0x5a) {
        CHECK(cuCtxGetCurrent(&context));
        CHECK(cuModuleLoadData(&module, read_ptx(options, "empty").c_str()));
        CHECK(cuModuleGetFunction(&empty, module, "empty"));
        CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
        for (CUstream& other : others) CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
        CHECK(cuEventCreate(&event, 0));
        CHECK(cuEventCreate(&later, 0));
        CHECK(cuMemAlloc(&memory, MOST_BYTES));
        CHECK(cuMemAlloc(&second, MOST_BYTES));
        CHECK(cuMemAllocHost(&pinned, MOST_BYTES));
        std::memset(pinned, 0xa5, MOST_BYTES);
        CHECK(cuMemcpyHtoD(memory, pinned, MOST_BYTES));
        CHECK(cuMemcpyHtoD(second, pinned, MOST_BYTES));
        CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        for (int i = 0; i < GRAPH_NODES; ++i) launch(stream);
        CUgraph captured;
        CHECK(cuStreamEndCapture(stream, &captured));
        CHECK(cuGraphInstantiateWithFlags(&graph, captured, 0));
        CHECK(cuGraphDestroy(captured));
        // Elapsed times are asked of two that have passed.
        CHECK(cuEventRecord(event, stream));
        launch(stream);
        CHECK(cuEventRecord(later, stream));
        CHECK(cuStreamSynchronize(stream));
    }

    ~Setting() {
        CHECK(cuGraphExecDestroy(graph));
        CHECK(cuMemFreeHost(pinned));
        CHECK(cuMemFree(memory));
        CHECK(cuMemFree(second));
        CHECK(cuEventDestroy(event));
        CHECK(cuEventDestroy(later));
        for (CUstream other : others) CHECK(cuStreamDestroy(other));
        CHECK(cuStreamDestroy(stream));
        CHECK(cuModuleUnload(module));
    }

    void launch(CUstream on) {
        void* arguments[] = {&memory};
        CHECK(cuLaunchKernel(empty, 1, 1, 1, 32, 1, 1, 0, on, arguments, nullptr));
    }

    void wait() { CHECK(cuStreamSynchronize(stream)); }
};

struct Row {
    std::string name;
    int calls;
    std::function<void(Setting&)> call;
};

std::string sized(const char* what, size_t bytes) {
    const char* unit = bytes < 1024 ? "B" : bytes < 1 << 20 ? "KiB" : "MiB";
    size_t count = bytes < 1024 ? bytes : bytes < 1 << 20 ? bytes >> 10 : bytes >> 20;
    return std::string(what) + "_" + std::to_string(count) + unit;
}

std::vector<Row> rows() {
    std::vector<Row> all = {
        {"launch", 500, [](Setting& s) { s.launch(s.stream); }},
        {"launch_wait", 200, [](Setting& s) { s.launch(s.stream), s.wait(); }},
        {"launch_20_wait", 50, [](Setting& s) {
             for (int i = 0; i < GRAPH_NODES; ++i) s.launch(s.stream);
             s.wait();
         }},
        {"graph_20_wait", 50, [](Setting& s) { CHECK(cuGraphLaunch(s.graph, s.stream)), s.wait(); }},
        {"wait_for_nothing", 500, [](Setting& s) { s.wait(); }},
        {"stream_query", 500, [](Setting& s) { CHECK(cuStreamQuery(s.stream)); }},
        {"event_record", 500, [](Setting& s) { CHECK(cuEventRecord(s.event, s.stream)); }},
        {"event_record_wait", 200, [](Setting& s) {
             CHECK(cuEventRecord(s.event, s.stream));
             CHECK(cuEventSynchronize(s.event));
         }},
        {"event_query", 500, [](Setting& s) { CHECK(cuEventQuery(s.later)); }},
        {"event_elapsed", 500, [](Setting& s) {
             float milliseconds;
             CHECK(cuEventElapsedTime(&milliseconds, s.event, s.later));
         }},
        {"stream_wait_event", 500, [](Setting& s) { CHECK(cuStreamWaitEvent(s.stream, s.later, 0)); }},
        {"alloc_free_1MiB", 50, [](Setting&) {
             CUdeviceptr at;
             CHECK(cuMemAlloc(&at, 1 << 20));
             CHECK(cuMemFree(at));
         }},
        {"alloc_free_async_1MiB", 100, [](Setting& s) {
             CUdeviceptr at;
             CHECK(cuMemAllocAsync(&at, 1 << 20, s.stream));
             CHECK(cuMemFreeAsync(at, s.stream));
         }},
        {"set_1MiB_wait", 100, [](Setting& s) { CHECK(cuMemsetD32Async(s.memory, 7, 1 << 18, s.stream)), s.wait(); }},
        {"function_by_name", 500, [](Setting& s) {
             CUfunction function;
             CHECK(cuModuleGetFunction(&function, s.module, "empty"));
         }},
        {"threads_8_launch", 1, [](Setting& s) {
             std::vector<std::thread> threads;
             for (CUstream stream : s.others)
                 threads.emplace_back([&s, stream] {
                     CHECK(cuCtxSetCurrent(s.context));
                     for (int i = 0; i < 500; ++i) s.launch(stream);
                     CHECK(cuStreamSynchronize(stream));
                 });
             for (std::thread& thread : threads) thread.join();
         }},
    };
    for (size_t bytes : {size_t(4), size_t(4) << 10, size_t(64) << 10, size_t(1) << 20, size_t(16) << 20, MOST_BYTES}) {
        int calls = bytes < 1 << 20 ? 100 : bytes < MOST_BYTES / 8 ? 10 : 2;
        all.push_back({sized("to_device_pageable", bytes), calls,
                       [=](Setting& s) { CHECK(cuMemcpyHtoD(s.memory, s.pageable.data(), bytes)); }});
        all.push_back({sized("to_host_pageable", bytes), calls,
                       [=](Setting& s) { CHECK(cuMemcpyDtoH(s.pageable.data(), s.memory, bytes)); }});
        all.push_back({sized("to_device_pinned", bytes), calls,
                       [=](Setting& s) { CHECK(cuMemcpyHtoDAsync(s.memory, s.pinned, bytes, s.stream)), s.wait(); }});
        all.push_back({sized("to_host_pinned", bytes), calls,
                       [=](Setting& s) { CHECK(cuMemcpyDtoHAsync(s.pinned, s.memory, bytes, s.stream)), s.wait(); }});
        all.push_back({sized("on_device", bytes), calls,
                       [=](Setting& s) { CHECK(cuMemcpyDtoDAsync(s.second, s.memory, bytes, s.stream)), s.wait(); }});
    }
    return all;
}

class ApiSubject : public Subject {
public:
    ApiSubject(const Options& options, Row row) : setting_(options), row_(std::move(row)) {
        if (!options.full) row_.calls = std::min(row_.calls, 10);
        sample();
    }

    std::string about() override { return ", \"batch\": " + std::to_string(row_.calls); }

    double sample() override {
        setting_.wait();
        double begun = now_us();
        for (int i = 0; i < row_.calls; ++i) row_.call(setting_);
        double took = now_us() - begun;
        setting_.wait();
        return took / row_.calls;
    }

private:
    Setting setting_;
    Row row_;
};
}  // namespace

std::vector<std::string> api_names() {
    std::vector<std::string> names;
    for (const Row& row : rows()) names.push_back(row.name);
    return names;
}

std::unique_ptr<Subject> api_subject(const Options& options, const std::string& name) {
    for (Row& row : rows())
        if (row.name == name) return std::make_unique<ApiSubject>(options, row);
    std::fprintf(stderr, "there is no call `%s`\n", name.c_str());
    std::exit(1);
}
