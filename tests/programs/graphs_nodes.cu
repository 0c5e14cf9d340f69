// Graphs made node by node, by the driver API: parameters, edges, clones, child graphs, memory and events.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> diamond: 23 23 23 23
//> parameters kept: 4 1 7
//> parameters set: 29
//> edges 5, roots 1, after the copy 2
//> copied by rows: 0 1 2 4 5 6
//> clone without a node: 3, the original: 4
//> two children: 12
//> cycle: CUDA_ERROR_INVALID_VALUE, result 2
//> host nodes in order: 123
//> batch wrote 77 and 99
//> event recorded by the graph: 64
//> waited for the event: 65
//> memory of the graph: 42
//> memory not freed: CUDA_ERROR_INVALID_VALUE, freed: CUDA_SUCCESS
//> memory in use 1, then 0
//> objects destroyed: 0, then 1
//> dot 5 nodes, 4 edges
//> errors: CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_VALUE CUDA_ERROR_INVALID_VALUE CUDA_ERROR_NOT_SUPPORTED
//> launched by 4 threads: 400
#include "check_driver.h"
#include <cuda.h>
#include <cuda_runtime.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>
#include <vector>

__global__ void multiply_add(int *data, int factor, int addend) {
    data[threadIdx.x] = data[threadIdx.x] * factor + addend;
}

__global__ void sum(int *out, const int *a, const int *b) { out[threadIdx.x] = a[threadIdx.x] + b[threadIdx.x]; }

typedef std::vector<CUgraphNode> Nodes;

static CUfunction multiply_function, sum_function;
static CUcontext context;
static CUstream stream;

static CUgraph make() {
    CUgraph graph;
    CHECK(cuGraphCreate(&graph, 0));
    return graph;
}

static CUgraphNode kernel(CUgraph graph, Nodes after, CUfunction function, void **params) {
    CUDA_KERNEL_NODE_PARAMS node = {};
    node.func = function;
    node.gridDimX = node.gridDimY = node.gridDimZ = node.blockDimY = node.blockDimZ = 1;
    node.blockDimX = 4;
    node.kernelParams = params;
    CUgraphNode made;
    CHECK(cuGraphAddKernelNode(&made, graph, after.data(), after.size(), &node));
    return made;
}

static CUgraphNode multiply(CUgraph graph, Nodes after, CUdeviceptr data, int factor, int addend) {
    void *params[] = {&data, &factor, &addend};
    return kernel(graph, after, multiply_function, params);
}

static CUgraphNode set(CUgraph graph, Nodes after, CUdeviceptr data, unsigned value) {
    CUDA_MEMSET_NODE_PARAMS node = {data, 0, value, 4, 4, 1};
    CUgraphNode made;
    CHECK(cuGraphAddMemsetNode(&made, graph, after.data(), after.size(), &node, context));
    return made;
}

static CUgraphExec run(CUgraph graph) {
    CUgraphExec exec;
    CHECK(cuGraphInstantiate(&exec, graph, 0));
    CHECK(cuGraphLaunch(exec, stream));
    CHECK(cuStreamSynchronize(stream));
    return exec;
}

static int first(CUdeviceptr data) {
    int value;
    CHECK(cuMemcpyDtoH(&value, data, sizeof value));
    return value;
}

static int written;
static void digit(void *value) { written = written * 10 + (int)(size_t)value; }
static void destroyed(void *flag) { *(int *)flag = 1; }

static void dot(CUgraph graph) {
    char path[] = "/tmp/graphs_nodes.XXXXXX", line[512];
    close(mkstemp(path));
    CHECK(cuGraphDebugDotPrint(graph, path, CU_GRAPH_DEBUG_DOT_FLAGS_VERBOSE));
    FILE *file = std::fopen(path, "r");
    int nodes = 0, edges = 0;
    while (std::fgets(line, sizeof line, file)) {
        bool edge = std::strstr(line, " -> ");
        edges += edge;
        nodes += !edge && std::strncmp(line, "\"graph_", 7) == 0;
    }
    std::fclose(file);
    unlink(path);
    std::printf("dot %d nodes, %d edges\n", nodes, edges);
}

int main() {
    CHECK(cudaFree(0) == cudaSuccess ? CUDA_SUCCESS : CUDA_ERROR_UNKNOWN);
    CHECK(cuCtxGetCurrent(&context));
    cudaFunction_t function;
    cudaGetFuncBySymbol(&function, (const void *)multiply_add);
    multiply_function = function;
    cudaGetFuncBySymbol(&function, (const void *)sum);
    sum_function = function;
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUdeviceptr a, b, c;
    CHECK(cuMemAlloc(&a, 256));
    CHECK(cuMemAlloc(&b, 256));
    CHECK(cuMemAlloc(&c, 256));

    // a = 2; b = a * 4 + 7 beside a = a * 3 + 2; c = a + b, which is 8 + 15.
    CUgraph graph = make();
    CUgraphNode root = set(graph, {}, a, 2);
    CUDA_MEMCPY3D across = {};
    across.srcMemoryType = across.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    across.srcDevice = a;
    across.dstDevice = b;
    across.WidthInBytes = 16;
    across.Height = across.Depth = 1;
    CUgraphNode copied;
    CHECK(cuGraphAddMemcpyNode(&copied, graph, &root, 1, &across, context));
    CUgraphNode left = multiply(graph, {copied}, b, 4, 7), right = multiply(graph, {copied}, a, 3, 2);
    void *params[] = {&c, &a, &b};
    CUgraphNode last = kernel(graph, {left, right}, sum_function, params);
    CUgraphExec exec = run(graph);
    int out[8];
    CHECK(cuMemcpyDtoH(out, c, 16));
    std::printf("diamond: %d %d %d %d\n", out[0], out[1], out[2], out[3]);

    CUDA_KERNEL_NODE_PARAMS kept;
    CHECK(cuGraphKernelNodeGetParams(left, &kept));
    std::printf("parameters kept: %d %u %d\n", *(int *)kept.kernelParams[1], kept.gridDimX, *(int *)kept.kernelParams[2]);
    int factor = 10, addend = 1;
    void *changed[] = {&b, &factor, &addend};
    kept.kernelParams = changed;
    CHECK(cuGraphKernelNodeSetParams(left, &kept));
    factor = addend = 1000;
    CHECK(cuGraphExecDestroy(exec));
    exec = run(graph);
    std::printf("parameters set: %d\n", first(c));

    size_t edges, roots, dependents;
    CHECK(cuGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
    CHECK(cuGraphGetRootNodes(graph, nullptr, &roots));
    CHECK(cuGraphNodeGetDependentNodes(copied, nullptr, nullptr, &dependents));
    std::printf("edges %zu, roots %zu, after the copy %zu\n", edges, roots, dependents);

    {
        CUgraph rows = make();
        const int field[8] = {0, 1, 2, 3, 4, 5, 6, 7};
        CUDA_MEMCPY3D copy = {};
        copy.srcMemoryType = CU_MEMORYTYPE_HOST;
        copy.srcHost = field;
        copy.srcPitch = 16;
        copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
        copy.dstDevice = c;
        copy.dstPitch = 12;
        copy.WidthInBytes = 12;
        copy.Height = 2;
        copy.Depth = 1;
        CUgraphNode node;
        CHECK(cuGraphAddMemcpyNode(&node, rows, nullptr, 0, &copy, context));
        run(rows);
        CHECK(cuMemcpyDtoH(out, c, 24));
        std::printf("copied by rows: %d %d %d %d %d %d\n", out[0], out[1], out[2], out[3], out[4], out[5]);
    }
    {
        CUgraph chain = make(), clone;
        CUgraphNode zero = set(chain, {}, a, 0), one = multiply(chain, {zero}, a, 1, 1),
                    two = multiply(chain, {one}, a, 1, 3), found;
        CHECK(cuGraphClone(&clone, chain));
        CHECK(cuGraphNodeFindInClone(&found, one, clone));
        CHECK(cuGraphDestroyNode(found));
        CUgraphNode ends[2];
        CHECK(cuGraphNodeFindInClone(&ends[0], zero, clone));
        CHECK(cuGraphNodeFindInClone(&ends[1], two, clone));
        CHECK(cuGraphAddDependencies(clone, &ends[0], &ends[1], nullptr, 1));
        run(clone);
        int without = first(a);
        run(chain);
        std::printf("clone without a node: %d, the original: %d\n", without, first(a));

        // 0, then (+1 +3) without the beginning twice: the child is a copy, so that the change below does not reach it.
        CUgraph child = make(), parent = make();
        multiply(child, {}, a, 1, 1);
        CUgraphNode start = set(parent, {}, a, 1), middle, end;
        CHECK(cuGraphAddChildGraphNode(&middle, parent, &start, 1, child));
        multiply(child, {}, b, 1, 1);
        CHECK(cuGraphAddChildGraphNode(&end, parent, &middle, 1, child));
        multiply(parent, {end}, a, 4, 0);
        run(parent);
        std::printf("two children: %d\n", first(a));
    }
    {
        CUgraph round = make();
        CUgraphNode x = multiply(round, {}, a, 1, 1), y = multiply(round, {x}, a, 1, 1);
        CHECK(cuGraphAddDependencies(round, &y, &x, nullptr, 1));
        CUDA_GRAPH_INSTANTIATE_PARAMS with = {};
        CUgraphExec none;
        CUresult result = cuGraphInstantiateWithParams(&none, round, &with);
        std::printf("cycle: %s, result %d\n", name(result), with.result_out);
    }
    {
        CUgraph order = make();
        CUgraphNode before = nullptr;
        for (size_t value = 1; value <= 3; value++) {
            CUDA_HOST_NODE_PARAMS host = {digit, (void *)value};
            CUgraphNode node;
            CHECK(cuGraphAddHostNode(&node, order, &before, before != nullptr, &host));
            before = node;
        }
        run(order);
        std::printf("host nodes in order: %d\n", written);
    }
    {
        CUgraph words = make();
        CUstreamBatchMemOpParams operations[3] = {};
        operations[0].writeValue = {CU_STREAM_MEM_OP_WRITE_VALUE_32, a, {77}, 0, 0};
        operations[1].waitValue = {CU_STREAM_MEM_OP_WAIT_VALUE_32, a, {77}, CU_STREAM_WAIT_VALUE_EQ, 0};
        operations[2].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
        operations[2].writeValue.address = b;
        operations[2].writeValue.value64 = 99;
        CUDA_BATCH_MEM_OP_NODE_PARAMS batch = {context, 3, operations, 0};
        CUgraphNode node;
        CHECK(cuGraphAddBatchMemOpNode(&node, words, nullptr, 0, &batch));
        run(words);
        std::printf("batch wrote %d and %d\n", first(a), first(b));
    }
    {
        // What follows in another stream waits for the event that the graph records.
        CUevent event;
        CUstream other;
        CHECK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
        CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
        CUgraph recording = make(), waiting = make();
        CUgraphNode value = set(recording, {}, a, 64), record, wait;
        CHECK(cuGraphAddEventRecordNode(&record, recording, &value, 1, event));
        CUgraphExec records, waits;
        CHECK(cuGraphInstantiate(&records, recording, 0));
        CHECK(cuGraphLaunch(records, stream));
        CHECK(cuStreamWaitEvent(other, event, 0));
        CHECK(cuMemcpyDtoDAsync(b, a, 4, other));
        CHECK(cuStreamSynchronize(other));
        std::printf("event recorded by the graph: %d\n", first(b));
        CHECK(cuGraphAddEventWaitNode(&wait, waiting, nullptr, 0, event));
        multiply(waiting, {wait}, a, 1, 1);
        CHECK(cuGraphInstantiate(&waits, waiting, 0));
        CHECK(cuGraphLaunch(waits, other));
        CHECK(cuStreamSynchronize(other));
        std::printf("waited for the event: %d\n", first(a));
    }
    {
        CUDA_MEM_ALLOC_NODE_PARAMS wanted = {};
        wanted.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        wanted.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        wanted.bytesize = 64;
        CUgraph memory = make();
        CUgraphNode allocated;
        CHECK(cuGraphAddMemAllocNode(&allocated, memory, nullptr, 0, &wanted));
        CUgraphNode value = set(memory, {allocated}, wanted.dptr, 42);
        across.srcDevice = wanted.dptr;
        across.dstDevice = c;
        CUgraphNode out;
        CHECK(cuGraphAddMemcpyNode(&out, memory, &value, 1, &across, context));
        CUgraphExec keeps = run(memory);
        std::printf("memory of the graph: %d\n", first(c));
        CUresult again = cuGraphLaunch(keeps, stream);
        CHECK(cuMemFreeAsync(wanted.dptr, stream));
        CUresult after = cuGraphLaunch(keeps, stream);
        std::printf("memory not freed: %s, freed: %s\n", name(again), name(after));
        cuuint64_t used, later;
        CHECK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &used));
        CHECK(cuMemFree(wanted.dptr));
        CHECK(cuGraphExecDestroy(keeps));
        CHECK(cuGraphDestroy(memory));
        CHECK(cuStreamSynchronize(stream));
        CHECK(cuDeviceGraphMemTrim(0));
        CHECK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT, &later));
        std::printf("memory in use %d, then %d\n", used != 0, later != 0);
    }
    {
        static int flag = 0;
        CUuserObject object;
        CHECK(cuUserObjectCreate(&object, &flag, destroyed, 1, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
        CUgraph keeper = make();
        set(keeper, {}, a, 1);
        CHECK(cuGraphRetainUserObject(keeper, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
        CUgraphExec keeps = run(keeper);
        CHECK(cuGraphDestroy(keeper));
        int before = flag;
        CHECK(cuGraphExecDestroy(keeps));
        for (int i = 0; i < 1000 && flag == 0; i++) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::printf("objects destroyed: %d, then %d\n", before, flag);
    }
    CHECK(cuGraphRemoveDependencies(graph, &right, &last, nullptr, 1));
    dot(graph);
    {
        CUgraph other = make();
        CUgraphNode foreign = multiply(other, {}, a, 1, 1), node;
        CUgraphNode twice[2] = {root, root};
        CUresult results[4] = {cuGraphAddEmptyNode(&node, graph, &foreign, 1), cuGraphAddEmptyNode(&node, graph, twice, 2),
                               cuGraphDestroy(nullptr), CUDA_SUCCESS};
        CUDA_MEM_ALLOC_NODE_PARAMS wanted = {};
        wanted.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
        wanted.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
        wanted.bytesize = 64;
        CHECK(cuGraphAddMemAllocNode(&node, other, nullptr, 0, &wanted));
        CUgraph clone;
        results[3] = cuGraphClone(&clone, other);
        std::printf("errors: %s %s %s %s\n", name(results[0]), name(results[1]), name(results[2]), name(results[3]));
    }
    {
        // Launches of one executable wait for each other, whatever stream they are in.
        CUgraph counting = make();
        multiply(counting, {}, a, 1, 1);
        CUgraphExec counts;
        CHECK(cuGraphInstantiate(&counts, counting, 0));
        CHECK(cuMemsetD32(a, 0, 4));
        std::vector<std::thread> threads;
        for (int t = 0; t < 4; t++)
            threads.emplace_back([&] {
                CHECK(cuCtxSetCurrent(context));
                CUstream own;
                CHECK(cuStreamCreate(&own, CU_STREAM_NON_BLOCKING));
                for (int i = 0; i < 100; i++) CHECK(cuGraphLaunch(counts, own));
                CHECK(cuStreamSynchronize(own));
            });
        for (std::thread &thread : threads) thread.join();
        std::printf("launched by 4 threads: %d\n", first(a));
    }
    return 0;
}
