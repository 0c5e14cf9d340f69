// Executable graphs that change: by node, by another graph, and by leaving nodes out.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> first 5
//> kernel 15, then with another function 45
//> memset 9, copy from elsewhere 70
//> without the kernel 7, with it 17
//> update 25, memory of the program unharmed: 1
//> captured anew: 36 49 64
//> fewer nodes: CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE 2, node no
//> other edges: CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE 2, node yes
//> other type: CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE 3, node yes
//> memset of rows: CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE 5, node yes
//> copy from the host: CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE 5, node yes
//> the order of creation does not matter: CUDA_SUCCESS 0, node no
//> still what it was: 25
//> host function: 2 then 30
//> child graph: 6 then 12
//> refused: CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_VALUE
//> auto free: 3 launches ok
#include "check_driver.h"
#include <cuda.h>
#include <cuda_runtime.h>
#include <cstdio>
#include <cstdlib>
#include <vector>

__global__ void add(int *data, int value) { data[threadIdx.x] += value; }
__global__ void multiply(int *data, int value) { data[threadIdx.x] *= value; }

typedef std::vector<CUgraphNode> Nodes;

static CUfunction add_function, multiply_function;
static CUcontext context;
static CUstream stream;
static CUdeviceptr a, b;

static CUgraph make() {
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    return graph;
}

static CUDA_KERNEL_NODE_PARAMS launch(CUfunction function, void **params) {
    CUDA_KERNEL_NODE_PARAMS node = {};
    node.func = function;
    node.gridDimX = node.gridDimY = node.gridDimZ = node.blockDimY = node.blockDimZ = 1;
    node.blockDimX = 4;
    node.kernelParams = params;
    return node;
}

static CUgraphNode kernel(CUgraph graph, Nodes after, CUfunction function, int value) {
    void *params[] = {&a, &value};
    CUDA_KERNEL_NODE_PARAMS node = launch(function, params);
    CUgraphNode made;
    CHECK(cuGraphAddKernelNode(&made, graph, after.data(), after.size(), &node));
    return made;
}

static CUDA_MEMSET_NODE_PARAMS fill(unsigned value, size_t rows = 1) { return {a, 64, value, 4, 4, rows}; }

static CUgraphNode set(CUgraph graph, Nodes after, unsigned value, size_t rows = 1) {
    CUDA_MEMSET_NODE_PARAMS node = fill(value, rows);
    CUgraphNode made;
    CHECK(cuGraphAddMemsetNode(&made, graph, after.data(), after.size(), &node, context));
    return made;
}

static CUDA_MEMCPY3D between(CUdeviceptr to, CUdeviceptr from) {
    CUDA_MEMCPY3D copy = {};
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = from;
    copy.dstDevice = to;
    copy.WidthInBytes = 16;
    copy.Height = copy.Depth = 1;
    return copy;
}

static CUgraphNode copy(CUgraph graph, Nodes after, CUDA_MEMCPY3D params) {
    CUgraphNode made;
    CHECK(cuGraphAddMemcpyNode(&made, graph, after.data(), after.size(), &params, context));
    return made;
}

static CUgraphExec instantiate(CUgraph graph, unsigned flags = 0) {
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, flags));
    return exec;
}

static int run(CUgraphExec exec) {
    int value;
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemcpyDtoH(&value, a, sizeof value));
    return value;
}

static void update(const char *what, CUgraphExec exec, CUgraph graph) {
    CUgraphExecUpdateResultInfo info;
    CUresult result = cuGraphExecUpdate(exec, graph, &info);
    std::printf("%s: %s %d, node %s\n", what, name(result), info.result, info.errorNode ? "yes" : "no");
}

static int counted;
static void one(void *) { counted += 1; }
static void ten(void *by) { counted += *(int *)by; }

int main() {
    cudaFree(0);
    CHECK(cuCtxGetCurrent(&context));
    cudaFunction_t function;
    cudaGetFuncBySymbol(&function, (const void *)add);
    add_function = function;
    cudaGetFuncBySymbol(&function, (const void *)multiply);
    multiply_function = function;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAlloc(&a, 256));
    CHECK(cuMemAlloc(&b, 256));
    CHECK(cuMemsetD32(b, 70, 4));

    CUgraph graph = make();
    CUgraphNode zero = set(graph, {}, 5), step = kernel(graph, {zero}, add_function, 0);
    CUgraphExec exec = instantiate(graph);
    std::printf("first %d\n", run(exec));
    int value = 10;
    void *params[] = {&a, &value};
    CUDA_KERNEL_NODE_PARAMS node = launch(add_function, params);
    CHECK(cuGraphExecKernelNodeSetParams(exec, step, &node));
    int added = run(exec);
    value = 9;
    node.func = multiply_function;
    CHECK(cuGraphExecKernelNodeSetParams(exec, step, &node));
    std::printf("kernel %d, then with another function %d\n", added, run(exec));
    CUDA_MEMSET_NODE_PARAMS other = fill(1);
    CHECK(cuGraphExecMemsetNodeSetParams(exec, zero, &other, context));
    int set_to = run(exec);
    CUgraph copies = make();
    CUgraphNode across = copy(copies, {}, between(a, a + 64));
    CUgraphExec copying = instantiate(copies);
    CUDA_MEMCPY3D elsewhere = between(a, b);
    CHECK(cuGraphExecMemcpyNodeSetParams(copying, across, &elsewhere, context));
    std::printf("memset %d, copy from elsewhere %d\n", set_to, run(copying));

    value = 10;
    node.func = add_function;
    other = fill(7);
    CHECK(cuGraphExecKernelNodeSetParams(exec, step, &node));
    CHECK(cuGraphExecMemsetNodeSetParams(exec, zero, &other, context));
    unsigned enabled = 9;
    CHECK(cuGraphNodeSetEnabled(exec, step, 0));
    CHECK(cuGraphNodeGetEnabled(exec, step, &enabled));
    int without = run(exec);
    CHECK(cuGraphNodeSetEnabled(exec, step, 1));
    std::printf("without the kernel %d, with it %d\n", without, enabled == 0 ? run(exec) : -1);

    {
        CUgraph next = make();
        kernel(next, {set(next, {}, 5)}, multiply_function, 5);
        CHECK(cuGraphExecUpdate(exec, next, nullptr));
        CHECK(cuGraphDestroy(next));
        int updated = run(exec), b_value;
        CHECK(cuMemcpyDtoH(&b_value, b, 4));
        std::printf("update %d, memory of the program unharmed: %d\n", updated, b_value == 70);
    }
    {
        // As frameworks do it: captured anew each time, and the executable follows.
        CUgraphExec follows = nullptr;
        int results[3];
        for (int i = 0; i < 3; i++) {
            CUgraph captured;
            CHECK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
            CHECK(cuMemsetD32Async(a, 6 + i, 4, stream));
            value = 6 + i;
            CHECK(cuLaunchKernel(multiply_function, 1, 1, 1, 4, 1, 1, 0, stream, params, nullptr));
            CHECK(cuStreamEndCapture(stream, &captured));
            if (follows == nullptr)
                follows = instantiate(captured);
            else
                CHECK(cuGraphExecUpdate(follows, captured, nullptr));
            CHECK(cuGraphDestroy(captured));
            results[i] = run(follows);
        }
        std::printf("captured anew: %d %d %d\n", results[0], results[1], results[2]);
    }
    {
        CUgraph next = make();
        set(next, {}, 5);
        update("fewer nodes", exec, next);
    }
    {
        CUgraph next = make();
        set(next, {}, 5);
        kernel(next, {}, add_function, 1);
        update("other edges", exec, next);
    }
    {
        CUgraph next = make();
        set(next, {set(next, {}, 5)}, 5);
        update("other type", exec, next);
    }
    {
        CUgraph next = make();
        kernel(next, {set(next, {}, 5, 2)}, add_function, 1);
        update("memset of rows", exec, next);
    }
    {
        CUgraph next = make();
        int host[4] = {};
        CUDA_MEMCPY3D from_host = between(a, 0);
        from_host.srcMemoryType = CU_MEMORYTYPE_HOST;
        from_host.srcHost = host;
        copy(next, {}, from_host);
        update("copy from the host", copying, next);
    }
    {
        CUgraph next = make();
        CUgraphNode last = kernel(next, {}, multiply_function, 5), before = set(next, {}, 5);
        CHECK(cuGraphAddDependencies(next, &before, &last, nullptr, 1));
        update("the order of creation does not matter", exec, next);
    }
    std::printf("still what it was: %d\n", run(exec));
    {
        CUgraph hosts = make();
        CUDA_HOST_NODE_PARAMS host = {one, nullptr};
        CUgraphNode call;
        CHECK(cuGraphAddHostNode(&call, hosts, nullptr, 0, &host));
        CUgraphExec calls = instantiate(hosts);
        run(calls);
        run(calls);
        int before = counted, by = 28;
        host = {ten, &by};
        CHECK(cuGraphExecHostNodeSetParams(calls, call, &host));
        run(calls);
        std::printf("host function: %d then %d\n", before, counted);
    }
    {
        CUgraph child = make(), parent = make(), changed = make();
        kernel(child, {}, add_function, 5);
        kernel(changed, {}, multiply_function, 12);
        CUgraphNode start = set(parent, {}, 1), middle;
        CHECK(cuGraphAddChildGraphNode(&middle, parent, &start, 1, child));
        CUgraphExec families = instantiate(parent);
        int before = run(families);
        CHECK(cuGraphExecChildGraphNodeSetParams(families, middle, changed));
        std::printf("child graph: %d then %d\n", before, run(families));
    }
    {
        CUgraph apart = make();
        CUgraphNode foreign = kernel(apart, {}, add_function, 1);
        CUDA_MEMSET_NODE_PARAMS rows = fill(1, 2);
        CUresult results[3] = {cuGraphExecKernelNodeSetParams(exec, foreign, &node),
                               cuGraphExecMemsetNodeSetParams(exec, zero, &rows, context),
                               cuGraphNodeSetEnabled(exec, foreign, 0)};
        std::printf("refused: %s %s %s\n", name(results[0]), name(results[1]), name(results[2]));
    }
    {
        CUgraph memory = make();
        CUDA_MEM_ALLOC_NODE_PARAMS wanted = {};
        wanted.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        wanted.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        wanted.bytesize = 64;
        CUgraphNode allocated, filled;
        CHECK(cuGraphAddMemAllocNode(&allocated, memory, nullptr, 0, &wanted));
        CUDA_MEMSET_NODE_PARAMS inside = {wanted.dptr, 0, 8, 4, 4, 1};
        CHECK(cuGraphAddMemsetNode(&filled, memory, &allocated, 1, &inside, context));
        copy(memory, {filled}, between(a, wanted.dptr));
        CUgraphExec frees = instantiate(memory, CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH);
        int ok = 0;
        for (int i = 0; i < 3; i++) ok += run(frees) == 8;
        std::printf("auto free: %d launches ok\n", ok);
    }
    return 0;
}
