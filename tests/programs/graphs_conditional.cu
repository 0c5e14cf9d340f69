// Conditional nodes: kernels decide what of a graph runs, and how often.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> while: 1024 after 10 rounds, then again 1024
//> if: 111 taken, 7 not
//> if and else: 111 222
//> switch: 10 20 30 0
//> nested: 3 rounds of 4
//> captured body: 5
//> errors: CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_VALUE CUDA_ERROR_NOT_SUPPORTED CUDA_ERROR_NOT_SUPPORTED
//> host node in a body: CUDA_ERROR_INVALID_VALUE, result 3
#include "check_driver.h"
#include <cuda.h>
#include <cuda_runtime.h>
#include <cstdio>
#include <cstdlib>
#include <vector>

// data[0] doubles until it reaches the limit; data[1] counts.
__global__ void doubled(CUgraphConditionalHandle handle, int *data, int limit) {
    data[0] *= 2;
    data[1] += 1;
    cudaGraphSetConditional(handle, data[0] < limit);
}

__global__ void decide(CUgraphConditionalHandle handle, const int *data) { cudaGraphSetConditional(handle, data[0]); }

// Rounds of a loop inside of another: data[0] counts all, data[1] the inner, data[2] the outer ones.
__global__ void inner(CUgraphConditionalHandle handle, int *data) {
    data[0] += 1;
    data[1] += 1;
    cudaGraphSetConditional(handle, data[1] < 4);
}

__global__ void outer(CUgraphConditionalHandle loop, CUgraphConditionalHandle within, int *data) {
    data[1] = 0;
    data[2] += 1;
    cudaGraphSetConditional(loop, data[2] < 3);
    cudaGraphSetConditional(within, 1);
}

__global__ void put(int *data, int value) { data[0] = value; }

typedef std::vector<CUgraphNode> Nodes;

static CUcontext context;
static CUstream stream;
static CUdeviceptr data;

static CUgraph make() {
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    return graph;
}

static CUfunction function(const void *symbol) {
    cudaFunction_t found;
    cudaGetFuncBySymbol(&found, symbol);
    return found;
}

static CUgraphNode kernel(CUgraph graph, Nodes after, const void *symbol, std::vector<void *> params) {
    CUDA_KERNEL_NODE_PARAMS node = {};
    node.func = function(symbol);
    node.gridDimX = node.gridDimY = node.gridDimZ = node.blockDimX = node.blockDimY = node.blockDimZ = 1;
    node.kernelParams = params.data();
    CUgraphNode made;
    CHECK(cuGraphAddKernelNode(&made, graph, after.data(), after.size(), &node));
    return made;
}

static CUgraphConditionalHandle condition(CUgraph graph, unsigned value, unsigned flags) {
    CUgraphConditionalHandle handle;
    CHECK(cuGraphConditionalHandleCreate(&handle, graph, context, value, flags));
    return handle;
}

static CUresult conditional(CUgraph graph, Nodes after, CUgraphConditionalHandle handle,
                            CUgraphConditionalNodeType type, unsigned size, CUgraph *bodies) {
    CUgraphNodeParams params = {};
    params.type = CU_GRAPH_NODE_TYPE_CONDITIONAL;
    params.conditional.handle = handle;
    params.conditional.type = type;
    params.conditional.size = size;
    params.conditional.ctx = context;
    CUgraphNode node;
    CUresult result = cuGraphAddNode(&node, graph, after.data(), nullptr, after.size(), &params);
    for (unsigned i = 0; result == CUDA_SUCCESS && i < size; i++) bodies[i] = params.conditional.phGraph_out[i];
    return result;
}

static CUgraphExec instantiate(CUgraph graph) {
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    return exec;
}

static int run(CUgraphExec exec, int first, int at = 0) {
    int values[4] = {first, 0, 0, 0};
    CHECK(cuMemcpyHtoD(data, values, sizeof values));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    CHECK(cuMemcpyDtoH(values, data, sizeof values));
    return values[at];
}

int main() {
    cudaFree(0);
    CHECK(cuCtxGetCurrent(&context));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuMemAlloc(&data, 64));
    int limit = 1024, value[4] = {111, 222, 0, 0};
    CUgraph bodies[3];
    {
        CUgraph graph = make();
        CUgraphConditionalHandle handle = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
        CHECK(conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_WHILE, 1, bodies));
        kernel(bodies[0], {}, (const void *)doubled, {&handle, &data, &limit});
        CUgraphExec exec = instantiate(graph);
        int result = run(exec, 1), rounds = run(exec, 1, 1);
        std::printf("while: %d after %d rounds, then again %d\n", result, rounds, run(exec, 1));
    }
    {
        CUgraph graph = make();
        CUgraphConditionalHandle handle = condition(graph, 0, 0);
        CUgraphNode first = kernel(graph, {}, (const void *)decide, {&handle, &data});
        CHECK(conditional(graph, {first}, handle, CU_GRAPH_COND_TYPE_IF, 1, bodies));
        kernel(bodies[0], {}, (const void *)put, {&data, &value[0]});
        CUgraphExec exec = instantiate(graph);
        int taken = run(exec, 3);
        CUgraph other = make();
        CUgraphConditionalHandle zero = condition(other, 0, CU_GRAPH_COND_ASSIGN_DEFAULT);
        CHECK(conditional(other, {}, zero, CU_GRAPH_COND_TYPE_IF, 1, bodies));
        kernel(bodies[0], {}, (const void *)put, {&data, &value[0]});
        std::printf("if: %d taken, %d not\n", taken, run(instantiate(other), 7));
    }
    {
        CUgraph graph = make();
        CUgraphConditionalHandle handle = condition(graph, 0, 0);
        CUgraphNode first = kernel(graph, {}, (const void *)decide, {&handle, &data});
        CHECK(conditional(graph, {first}, handle, CU_GRAPH_COND_TYPE_IF, 2, bodies));
        kernel(bodies[0], {}, (const void *)put, {&data, &value[0]});
        kernel(bodies[1], {}, (const void *)put, {&data, &value[1]});
        CUgraphExec exec = instantiate(graph);
        int taken = run(exec, 1);
        std::printf("if and else: %d %d\n", taken, run(exec, 0));
    }
    {
        CUgraph graph = make();
        CUgraphConditionalHandle handle = condition(graph, 0, 0);
        CUgraphNode first = kernel(graph, {}, (const void *)decide, {&handle, &data});
        CHECK(conditional(graph, {first}, handle, CU_GRAPH_COND_TYPE_SWITCH, 3, bodies));
        for (int i = 0; i < 3; i++) {
            int tens = 10 * (i + 1);
            CUdeviceptr out = data + 4;
            kernel(bodies[i], {}, (const void *)put, {&out, &tens});
        }
        CUgraphExec exec = instantiate(graph);
        int chosen[4];
        for (int i = 0; i < 4; i++) chosen[i] = run(exec, i, 1);
        std::printf("switch: %d %d %d %d\n", chosen[0], chosen[1], chosen[2], chosen[3]);
    }
    {
        CUgraph graph = make();
        CUgraphConditionalHandle loop = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
        CHECK(conditional(graph, {}, loop, CU_GRAPH_COND_TYPE_WHILE, 1, bodies));
        CUgraph body = bodies[0];
        CUgraphConditionalHandle within = condition(body, 0, 0);
        CUgraphNode first = kernel(body, {}, (const void *)outer, {&loop, &within, &data});
        CHECK(conditional(body, {first}, within, CU_GRAPH_COND_TYPE_WHILE, 1, bodies));
        kernel(bodies[0], {}, (const void *)inner, {&within, &data});
        int all = run(instantiate(graph), 0);
        std::printf("nested: 3 rounds of %d\n", all / 3);
    }
    {
        CUgraph graph = make();
        CUgraphConditionalHandle handle = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
        CHECK(conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_IF, 1, bodies));
        CUgraph captured;
        int five = 5;
        void *params[] = {&data, &five};
        CHECK(cuStreamBeginCaptureToGraph(stream, bodies[0], nullptr, nullptr, 0, CU_STREAM_CAPTURE_MODE_GLOBAL));
        CHECK(cuLaunchKernel(function((const void *)put), 1, 1, 1, 1, 1, 1, 0, stream, params, nullptr));
        CHECK(cuStreamEndCapture(stream, &captured));
        std::printf("captured body: %d\n", run(instantiate(graph), 0));
    }
    {
        CUgraph graph = make(), clone, parent = make();
        CUgraphConditionalHandle handle = condition(graph, 1, CU_GRAPH_COND_ASSIGN_DEFAULT);
        CUresult size = conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_WHILE, 2, bodies);
        CHECK(conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_IF, 1, bodies));
        CUresult twice = conditional(graph, {}, handle, CU_GRAPH_COND_TYPE_IF, 1, bodies);
        CUgraphNode child;
        CUresult copied = cuGraphClone(&clone, graph), embedded = cuGraphAddChildGraphNode(&child, parent, nullptr, 0, graph);
        std::printf("errors: %s %s %s %s\n", name(size), name(twice), name(copied), name(embedded));
        CUDA_HOST_NODE_PARAMS host = {[](void *) {}, nullptr};
        CHECK(cuGraphAddHostNode(&child, bodies[0], nullptr, 0, &host));
        CUDA_GRAPH_INSTANTIATE_PARAMS with = {};
        CUgraphExec exec;
        CUresult result = cuGraphInstantiateWithParams(&exec, graph, &with);
        std::printf("host node in a body: %s, result %d\n", name(result), with.result_out);
    }
    return 0;
}
