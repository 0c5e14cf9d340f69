// Nodes of graphs, kind by kind: what was told is told again, can be set in the graph and in an executable, and happens.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> nodes: 195 answers
#include <cuda.h>
#include <atomic>
#include <cstdint>
#include "driver.h"

static std::atomic<int> called;
static void add(void *data) { called += (int)(intptr_t)data; }

static const char *text = R"(
.version 7.0
.target sm_75
.address_size 64
.visible .entry put(.param .u64 out, .param .u32 number)
{
    .reg .b32 %r<2>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd1, %rd1;
    ld.param.u32 %r1, [number];
    st.global.u32 [%rd1], %r1;
    ret;
}
)";

static unsigned word(CUdeviceptr at) {
    unsigned found = 0;
    OK(cuMemcpyDtoH(&found, at, sizeof found));
    return found;
}

static void run(CUgraph graph, CUgraphExec exec = nullptr) {
    CUgraphExec made = exec;
    if (!exec) OK(cuGraphInstantiate(&made, graph, 0));
    OK(cuGraphUpload(made, nullptr));
    OK(cuGraphLaunch(made, nullptr));
    OK(cuCtxSynchronize());
    if (!exec) OK(cuGraphExecDestroy(made));
}

int main() {
    CUcontext context = start();
    CUgraph graph;
    CUgraphExec exec;
    CUgraphNode node, second;
    CUdeviceptr memory;
    OK(cuMemAlloc(&memory, 1024));
    OK(cuMemsetD32(memory, 0, 256));

    // Fills.
    CUDA_MEMSET_NODE_PARAMS fill = {}, told;
    fill.dst = memory;
    fill.value = 7;
    fill.elementSize = 4;
    fill.width = 2;
    fill.height = 1;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &fill, context));
    OK(cuGraphMemsetNodeGetParams(node, &told));
    IS(memory, told.dst);
    IS(7, told.value);
    IS(2, told.width);
    run(graph);
    IS(7, word(memory + 4));
    fill.value = 8;
    OK(cuGraphMemsetNodeSetParams(node, &fill));
    OK(cuGraphInstantiate(&exec, graph, 0));
    run(graph, exec);
    IS(8, word(memory));
    fill.value = 9;
    OK(cuGraphExecMemsetNodeSetParams(exec, node, &fill, context));
    run(graph, exec);
    IS(9, word(memory + 4));
    OK(cuGraphMemsetNodeGetParams(node, &told));
    IS(8, told.value);
    fill.elementSize = 3;
    INVALID(cuGraphMemsetNodeSetParams(node, &fill));
    unsigned long long flags = 9;
    OK(cuGraphExecGetFlags(exec, (cuuint64_t *)&flags));
    IS(0, flags);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Functions of the host, and any node by the call for all.
    CUDA_HOST_NODE_PARAMS host = {add, (void *)1}, asked;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddHostNode(&node, graph, nullptr, 0, &host));
    OK(cuGraphHostNodeGetParams(node, &asked));
    IS(1, asked.fn == add && asked.userData == (void *)1);
    host.userData = (void *)10;
    OK(cuGraphHostNodeSetParams(node, &host));
    OK(cuGraphInstantiate(&exec, graph, 0));
    run(graph, exec);
    IS(10, called.load());
    CUgraphNodeParams any = {};
    any.type = CU_GRAPH_NODE_TYPE_HOST;
    any.host.fn = add;
    any.host.userData = (void *)100;
    OK(cuGraphExecNodeSetParams(exec, node, &any));
    run(graph, exec);
    IS(110, called.load());
    any.host.userData = (void *)1000;
    OK(cuGraphNodeSetParams(node, &any));
    OK(cuGraphHostNodeGetParams(node, &asked));
    IS(1000, (intptr_t)asked.userData);
    any.type = CU_GRAPH_NODE_TYPE_MEMSET;
    INVALID(cuGraphNodeSetParams(node, &any));
    OK(cuGraphExecDestroy(exec));

    // Who depends on whom.
    CUgraphNode nodes[4];
    size_t count;
    OK(cuGraphAddHostNode(&second, graph, &node, 1, &host));
    OK(cuGraphNodeGetDependencies(second, nullptr, nullptr, &count));
    IS(1, count);
    count = 4;
    OK(cuGraphNodeGetDependencies(second, nodes, nullptr, &count));
    IS(1, count);
    IS(node, nodes[0]);
    IS(nullptr, nodes[3]);
    OK(cuGraphNodeGetDependentNodes(node, nodes, nullptr, &count));
    IS(second, nodes[0]);
    OK(cuGraphDestroyNode(second));
    count = 9;
    OK(cuGraphNodeGetDependentNodes(node, nullptr, nullptr, &count));
    IS(0, count);

    // A graph in a graph.
    CUgraph outer, inner;
    OK(cuGraphCreate(&outer, 0));
    OK(cuGraphAddChildGraphNode(&node, outer, nullptr, 0, graph));
    OK(cuGraphChildGraphNodeGetGraph(node, &inner));
    IS(1, inner != graph);
    count = 4;
    OK(cuGraphGetNodes(inner, nodes, &count));
    IS(1, count);
    called = 0;
    run(outer);
    IS(1000, called.load());
    OK(cuGraphDestroy(outer));
    OK(cuGraphDestroy(graph));

    // Events.
    CUevent one, two, seen;
    OK(cuEventCreate(&one, CU_EVENT_DEFAULT));
    OK(cuEventCreate(&two, CU_EVENT_DEFAULT));
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddEventRecordNode(&node, graph, nullptr, 0, one));
    OK(cuGraphAddEventWaitNode(&second, graph, &node, 1, two));
    OK(cuGraphEventRecordNodeGetEvent(node, &seen));
    IS(one, seen);
    OK(cuGraphEventWaitNodeGetEvent(second, &seen));
    IS(two, seen);
    OK(cuGraphEventRecordNodeSetEvent(node, two));
    OK(cuGraphEventWaitNodeSetEvent(second, one));
    OK(cuGraphInstantiate(&exec, graph, 0));
    run(graph, exec);
    OK(cuEventQuery(two));
    OK(cuGraphExecEventRecordNodeSetEvent(exec, node, one));
    OK(cuGraphExecEventWaitNodeSetEvent(exec, second, two));
    run(graph, exec);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Kernels and their attributes.
    CUmodule module;
    CUfunction put;
    unsigned number = 5;
    void *params[] = {&memory, &number};
    CUDA_KERNEL_NODE_PARAMS launch = {}, back;
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&put, module, "put"));
    launch.func = put;
    launch.gridDimX = launch.gridDimY = launch.gridDimZ = launch.blockDimX = launch.blockDimY = launch.blockDimZ = 1;
    launch.kernelParams = params;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddKernelNode(&node, graph, nullptr, 0, &launch));
    number = 6;
    OK(cuGraphAddKernelNode(&second, graph, &node, 1, &launch));
    CUkernelNodeAttrValue attribute = {}, copied = {};
    attribute.priority = -2;
    OK(cuGraphKernelNodeSetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &attribute));
    OK(cuGraphKernelNodeCopyAttributes(second, node));
    OK(cuGraphKernelNodeGetAttribute(second, CU_LAUNCH_ATTRIBUTE_PRIORITY, &copied));
    IS(-2, copied.priority);
    OK(cuGraphKernelNodeGetParams(second, &back));
    IS(put, back.func);
    IS(6, *(unsigned *)back.kernelParams[1]);
    OK(cuGraphInstantiate(&exec, graph, 0));
    run(graph, exec);
    IS(6, word(memory));
    number = 61;
    OK(cuGraphExecKernelNodeSetParams(exec, second, &launch));
    run(graph, exec);
    IS(61, word(memory));
    OK(cuGraphNodeSetEnabled(exec, second, 0));
    unsigned enabled = 1;
    OK(cuGraphNodeGetEnabled(exec, second, &enabled));
    IS(0, enabled);
    run(graph, exec);
    IS(5, word(memory));
    OK(cuGraphExecDestroy(exec));
    CUgraph clone;
    CUgraphNode there;
    OK(cuGraphClone(&clone, graph));
    OK(cuGraphNodeFindInClone(&there, second, clone));
    CUgraphNodeType type;
    OK(cuGraphNodeGetType(there, &type));
    IS(CU_GRAPH_NODE_TYPE_KERNEL, type);
    INVALID(cuGraphNodeFindInClone(&there, second, graph));
    OK(cuGraphDestroy(clone));
    OK(cuGraphDestroy(graph));

    // Memory of a graph.
    CUDA_MEM_ALLOC_NODE_PARAMS wish = {}, given;
    wish.poolProps.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
    wish.poolProps.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    wish.bytesize = 4096;
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddMemAllocNode(&node, graph, nullptr, 0, &wish));
    OK(cuGraphMemAllocNodeGetParams(node, &given));
    IS(wish.dptr, given.dptr);
    IS(4096, given.bytesize);
    fill.dst = wish.dptr;
    fill.elementSize = 4;
    fill.value = 77;
    OK(cuGraphAddMemsetNode(&second, graph, &node, 1, &fill, context));
    CUDA_MEMCPY3D copy = {};
    copy.srcMemoryType = copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = wish.dptr;
    copy.dstDevice = memory + 64;
    copy.WidthInBytes = 8;
    copy.Height = copy.Depth = 1;
    CUgraphNode third, last;
    OK(cuGraphAddMemcpyNode(&third, graph, &second, 1, &copy, context));
    OK(cuGraphAddMemFreeNode(&last, graph, &third, 1, wish.dptr));
    CUdeviceptr freed;
    OK(cuGraphMemFreeNodeGetParams(last, &freed));
    IS(wish.dptr, freed);
    run(graph);
    IS(77, word(memory + 68));
    cuuint64_t used = 0;
    OK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used));
    IS(1, used >= 4096);
    OK(cuGraphDestroy(graph));
    used = 0;
    OK(cuDeviceSetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used));
    OK(cuDeviceGetGraphMemAttribute(0, CU_GRAPH_MEM_ATTR_USED_MEM_HIGH, &used));
    OK(cuDeviceGraphMemTrim(0));

    // Words.
    CUstreamBatchMemOpParams words[2] = {};
    words[0].writeValue.operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    words[0].writeValue.address = memory;
    words[0].writeValue.value = 123;
    words[1].waitValue.operation = CU_STREAM_MEM_OP_WAIT_VALUE_32;
    words[1].waitValue.address = memory;
    words[1].waitValue.value = 100;
    words[1].waitValue.flags = CU_STREAM_WAIT_VALUE_GEQ;
    CUDA_BATCH_MEM_OP_NODE_PARAMS batch = {context, 2, words, 0};
    OK(cuGraphCreate(&graph, 0));
    OK(cuGraphAddBatchMemOpNode(&node, graph, nullptr, 0, &batch));
    OK(cuGraphInstantiate(&exec, graph, 0));
    run(graph, exec);
    IS(123, word(memory));
    words[0].writeValue.value = 124;
    OK(cuGraphBatchMemOpNodeSetParams(node, &batch));
    OK(cuGraphExecBatchMemOpNodeSetParams(exec, node, &batch));
    run(graph, exec);
    IS(124, word(memory));
    OK(cuGraphExecDestroy(exec));

    // Objects that live as long as a graph.
    CUuserObject object;
    called = 0;
    OK(cuUserObjectCreate(&object, (void *)1, [](void *data) { called += (int)(intptr_t)data; }, 2, CU_USER_OBJECT_NO_DESTRUCTOR_SYNC));
    OK(cuGraphRetainUserObject(graph, object, 1, CU_GRAPH_USER_OBJECT_MOVE));
    OK(cuUserObjectRetain(object, 1));
    OK(cuUserObjectRelease(object, 2));
    IS(0, called.load());
    OK(cuGraphReleaseUserObject(graph, object, 1));
    for (int turn = 0; turn < 2000 && !called.load(); turn++) cuCtxSynchronize();
    IS(1, called.load());
    OK(cuGraphDestroy(graph));
    INVALID(cuGraphDestroy(graph));
    return done("nodes");
}
