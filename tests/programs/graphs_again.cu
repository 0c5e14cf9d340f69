// Graphs that are launched again and again, mostly without waiting: constants that change, nodes that change, graphs that are destroyed
// while they run, events inside, and threads that launch at the same time.
//- 11.8 its calls are those of later headers
//> chain 60, on the host 60
//> branches 10
//> constants 2 6 12 20 30
//> constants in the stream 30
//> a constant that the graph writes 10
//> changed between launches 42
//> destroyed while it runs 120
//> event inside: 2 4 6 8 10
//> threads 260 to 260
#include "check.h"
#include <cuda_runtime.h>
#include <cstdio>
#include <thread>
#include <vector>

__constant__ int factor;

__global__ void add(int *data, int value) { data[0] += value; }
__global__ void scaled(int *data) { data[0] += factor; }
__global__ void sum(int *data, const int *a, const int *b) { data[0] = a[0] + b[0]; }

static cudaStream_t stream, other;

template <typename Work> static cudaGraph_t captured(cudaStream_t in, Work work) {
    cudaGraph_t graph;
    CHECK(cudaStreamBeginCapture(in, cudaStreamCaptureModeThreadLocal));
    work();
    CHECK(cudaStreamEndCapture(in, &graph));
    return graph;
}

static cudaGraphExec_t instance(cudaGraph_t graph) {
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    return exec;
}

static int *zeros(int count) {
    int *data;
    CHECK(cudaMalloc(&data, count * sizeof(int)));
    CHECK(cudaMemset(data, 0, count * sizeof(int)));
    CHECK(cudaDeviceSynchronize());
    return data;
}

static int value(const int *data) {
    int value;
    CHECK(cudaMemcpyAsync(&value, data, sizeof(int), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    return value;
}

static void launch(cudaGraphExec_t exec, int times) {
    for (int i = 0; i < times; ++i) CHECK(cudaGraphLaunch(exec, stream));
}

static void chain() {
    int *data = zeros(1), *host;
    CHECK(cudaMallocHost(&host, sizeof(int)));
    cudaGraphExec_t exec = instance(captured(stream, [&] {
        for (int i = 1; i < 4; ++i) add<<<1, 1, 0, stream>>>(data, i);
        CHECK(cudaMemcpyAsync(host, data, sizeof(int), cudaMemcpyDeviceToHost, stream));
    }));
    launch(exec, 10);
    CHECK(cudaStreamSynchronize(stream));
    std::printf("chain %d, on the host %d\n", value(data), *host);
    CHECK(cudaFreeHost(host));
}

static void branches() {
    int *a = zeros(1), *b = zeros(1), *c = zeros(1);
    cudaEvent_t fork, join;
    CHECK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
    cudaGraphExec_t exec = instance(captured(stream, [&] {
        CHECK(cudaEventRecord(fork, stream));
        CHECK(cudaStreamWaitEvent(other, fork, 0));
        CHECK(cudaMemsetAsync(b, 0, sizeof(int), other));
        add<<<1, 1, 0, other>>>(b, 5);
        CHECK(cudaEventRecord(join, other));
        add<<<1, 1, 0, stream>>>(a, 1);
        CHECK(cudaStreamWaitEvent(stream, join, 0));
        sum<<<1, 1, 0, stream>>>(c, a, b);
    }));
    launch(exec, 5);
    std::printf("branches %d\n", value(c));
}

static void constants() {
    int *data = zeros(1);
    cudaGraphExec_t exec = instance(captured(stream, [&] {
        scaled<<<1, 1, 0, stream>>>(data);
        scaled<<<1, 1, 0, stream>>>(data);
    }));
    std::printf("constants");
    for (int k = 1; k < 6; ++k) {
        CHECK(cudaMemcpyToSymbol(factor, &k, sizeof(int)));
        launch(exec, 1);
        std::printf(" %d", value(data));
    }
    CHECK(cudaMemsetAsync(data, 0, sizeof(int), stream));
    for (int k = 1; k < 6; ++k) {
        CHECK(cudaMemcpyToSymbolAsync(factor, &k, sizeof(int), 0, cudaMemcpyHostToDevice, stream));
        launch(exec, 1);
    }
    std::printf("\nconstants in the stream %d\n", value(data));
}

static void own_constant() {
    int *data = zeros(1), *next = zeros(1);
    cudaGraphExec_t exec = instance(captured(stream, [&] {
        add<<<1, 1, 0, stream>>>(next, 1);
        CHECK(cudaMemcpyToSymbolAsync(factor, next, sizeof(int), 0, cudaMemcpyDeviceToDevice, stream));
        scaled<<<1, 1, 0, stream>>>(data);
    }));
    launch(exec, 4);
    std::printf("a constant that the graph writes %d\n", value(data));
}

static void changed() {
    int *data = zeros(1), k = 0;
    cudaGraph_t graph = captured(stream, [&] {
        add<<<1, 1, 0, stream>>>(data, k);
        add<<<1, 1, 0, stream>>>(data, 0);
    });
    cudaGraphNode_t roots[1];
    size_t count = 1;
    CHECK(cudaGraphGetRootNodes(graph, roots, &count));
    cudaKernelNodeParams params;
    CHECK(cudaGraphKernelNodeGetParams(roots[0], &params));
    void *arguments[] = {&data, &k};
    params.kernelParams = arguments;
    cudaGraphExec_t exec = instance(graph);
    for (k = 1; k < 7; ++k) {
        CHECK(cudaGraphExecKernelNodeSetParams(exec, roots[0], &params));
        launch(exec, 2);
    }
    std::printf("changed between launches %d\n", value(data));
}

static void destroyed() {
    int *data = zeros(1);
    cudaGraph_t graph = captured(stream, [&] {
        for (int i = 1; i < 4; ++i) add<<<1, 1, 0, stream>>>(data, i);
    });
    cudaGraphExec_t exec = instance(graph);
    launch(exec, 20);
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    std::printf("destroyed while it runs %d\n", value(data));
}

static void event_inside() {
    int *a = zeros(1), *b = zeros(1);
    cudaEvent_t between;
    CHECK(cudaEventCreate(&between));
    cudaGraphExec_t exec = instance(captured(stream, [&] {
        add<<<1, 1, 0, stream>>>(a, 1);
        CHECK(cudaEventRecordWithFlags(between, stream, cudaEventRecordExternal));
        add<<<1, 1, 0, stream>>>(b, 1);
    }));
    std::printf("event inside:");
    for (int i = 0; i < 5; ++i) {
        launch(exec, 1);
        std::printf(" %d", value(a) + value(b));
        CHECK(cudaEventQuery(between));
    }
    std::printf("\n");
}

static void threads() {
    const int THREADS = 8;
    int *data = zeros(THREADS * 64);
    std::vector<std::thread> all;
    for (int thread = 0; thread < THREADS; ++thread)
        all.emplace_back([=] {
            int *own = data + thread * 64;
            cudaStream_t stream;
            CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
            cudaGraphExec_t exec = instance(captured(stream, [&] {
                for (int i = 1; i < 4; ++i) add<<<1, 1, 0, stream>>>(own, i);
            }));
            for (int i = 0; i < 200; ++i) {
                add<<<1, 1, 0, stream>>>(own, 1);
                if (i % 20 == 0) CHECK(cudaGraphLaunch(exec, stream));
                if (i % 50 == 0) CHECK(cudaStreamSynchronize(stream));
            }
            CHECK(cudaStreamSynchronize(stream));
            CHECK(cudaGraphExecDestroy(exec));
            CHECK(cudaStreamDestroy(stream));
        });
    for (std::thread &thread : all) thread.join();
    int least = 1 << 30, most = 0;
    for (int thread = 0; thread < THREADS; ++thread) {
        int got = value(data + thread * 64);
        least = got < least ? got : least;
        most = got > most ? got : most;
    }
    std::printf("threads %d to %d\n", least, most);
}

int main() {
    CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
    chain();
    branches();
    constants();
    own_constant();
    changed();
    destroyed();
    event_inside();
    threads();
    return 0;
}
