// Graphs with copies of arrays, as nodes and from capture, and with words that streams write and wait for.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> captured copies: 64 texels, then 64 others
//> a node's copy: 64 texels
//> graphs_arrays: 128 answers
#include <cuda.h>
#include <cstring>
#include "driver.h"

static const int W = 16, H = 4;

static CUarray array(CUarray_format format, int channels, int width, int height) {
    CUDA_ARRAY_DESCRIPTOR description = {};
    description.Width = width;
    description.Height = height;
    description.Format = format;
    description.NumChannels = channels;
    CUarray made;
    OK(cuArrayCreate(&made, &description));
    return made;
}

static CUDA_MEMCPY2D into(CUarray to, const void *from) {
    CUDA_MEMCPY2D copy = {};
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = from;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = to;
    copy.WidthInBytes = W * sizeof(int);
    copy.Height = H;
    return copy;
}

static CUDA_MEMCPY2D out_of(CUarray from, CUdeviceptr to) {
    CUDA_MEMCPY2D copy = {};
    copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.srcArray = from;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = to;
    copy.WidthInBytes = W * sizeof(int);
    copy.Height = H;
    return copy;
}

static CUgraphNodeType type_of(CUgraphNode node) {
    CUgraphNodeType type;
    OK(cuGraphNodeGetType(node, &type));
    return type;
}

static int same(CUdeviceptr memory, const int *want) {
    int found[W * H], right = 0;
    OK(cuMemcpyDtoH(found, memory, sizeof found));
    for (int i = 0; i < W * H; i++) right += found[i] == want[i];
    return right;
}

int main() {
    CUcontext context = start();
    CUstream stream, other;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    int *host;
    CUdeviceptr memory, second;
    OK(cuMemAllocHost((void **)&host, W * H * sizeof(int)));
    OK(cuMemAlloc(&memory, W * H * sizeof(int)));
    OK(cuMemAlloc(&second, W * H * sizeof(int)));
    OK(cuMemsetD32(memory, 0, W * H));
    CUarray texels = array(CU_AD_FORMAT_SIGNED_INT32, 1, W, H);

    // Captured: into an array and out of it.
    CUgraph graph;
    CUgraphExec exec;
    CUDA_MEMCPY2D in = into(texels, host), out = out_of(texels, memory);
    for (int i = 0; i < W * H; i++) host[i] = i + 1;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuMemcpy2DAsync(&in, stream));
    OK(cuMemcpy2DAsync(&out, stream));
    OK(cuStreamEndCapture(stream, &graph));
    IS(0, same(memory, host));
    CUgraphNode nodes[4];
    size_t count = 4;
    OK(cuGraphGetNodes(graph, nodes, &count));
    IS(2, count);
    IS(CU_GRAPH_NODE_TYPE_MEMCPY, type_of(nodes[0]));
    CUDA_MEMCPY3D described;
    OK(cuGraphMemcpyNodeGetParams(nodes[0], &described));
    IS(CU_MEMORYTYPE_ARRAY, described.dstMemoryType);
    IS(texels, described.dstArray);
    IS(W * sizeof(int), described.WidthInBytes);
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    int first = same(memory, host);
    for (int i = 0; i < W * H; i++) host[i] = 1000 - i;
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    std::printf("captured copies: %d texels, then %d others\n", first, same(memory, host));

    // An executable's copies of several rows stay where they are, also where all of the graph is taken over.
    OK(cuGraphMemcpyNodeGetParams(nodes[1], &described));
    described.dstDevice = second;
    INVALID(cuGraphExecMemcpyNodeSetParams(exec, nodes[1], &described, context));
    OK(cuGraphMemcpyNodeSetParams(nodes[1], &described));
    CUgraphExecUpdateResultInfo update;
    ANSWERS(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE, cuGraphExecUpdate(exec, graph, &update));
    OK(cuMemsetD32(memory, 0, W * H));
    OK(cuMemsetD32(second, 0, W * H));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    IS(W * H, same(memory, host));
    IS(0, same(second, host));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    IS(W * H, same(second, host));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Nodes that are made one by one: array to array, and out of the second one.
    CUarray copied = array(CU_AD_FORMAT_SIGNED_INT32, 1, W, H);
    CUDA_MEMCPY3D across = {};
    across.srcMemoryType = across.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    across.srcArray = texels;
    across.dstArray = copied;
    across.WidthInBytes = W * sizeof(int);
    across.Height = H;
    across.Depth = 1;
    CUDA_MEMCPY3D back = across;
    back.srcArray = copied;
    back.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    back.dstArray = nullptr;
    back.dstDevice = memory;
    OK(cuGraphCreate(&graph, 0));
    CUDA_MEMCPY3D beyond = across;
    beyond.srcXInBytes = 4;
    INVALID(cuGraphAddMemcpyNode(&nodes[0], graph, nullptr, 0, &beyond, context));
    OK(cuGraphAddMemcpyNode(&nodes[0], graph, nullptr, 0, &across, context));
    OK(cuGraphAddMemcpyNode(&nodes[1], graph, nodes, 1, &back, context));
    OK(cuGraphMemcpyNodeGetParams(nodes[0], &described));
    IS(copied, described.dstArray);
    OK(cuMemsetD32(memory, 0, W * H));
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    std::printf("a node's copy: %d texels\n", same(memory, host));
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // A part of a texel.
    CUarray pairs = array(CU_AD_FORMAT_SIGNED_INT32, 2, W / 2, H);
    in = into(pairs, host);
    OK(cuMemcpy2D(&in));
    CUDA_MEMCPY2D part = {};
    part.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    part.srcDevice = second;
    part.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    part.dstArray = pairs;
    part.dstXInBytes = 4;
    part.WidthInBytes = 8;
    part.Height = 1;
    out = out_of(pairs, memory);
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuMemcpy2DAsync(&part, stream));
    OK(cuMemcpy2DAsync(&out, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuMemsetD32(second, 77, W * H));
    OK(cuGraphLaunch(exec, stream));
    OK(cuStreamSynchronize(stream));
    int found[W * H];
    OK(cuMemcpyDtoH(found, memory, sizeof found));
    IS(host[0], found[0]);
    IS(77, found[1]);
    IS(77, found[2]);
    IS(host[3], found[3]);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Words of a captured stream: a write, then a wait for what the host writes, then another write.
    volatile unsigned *word;
    CUdeviceptr address;
    OK(cuMemAllocHost((void **)&word, 64));
    OK(cuMemHostGetDevicePointer(&address, (void *)word, 0));
    word[0] = word[1] = word[2] = 0;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuStreamWriteValue32(stream, address, 5, 0));
    OK(cuStreamWaitValue32(stream, address + 4, 9, CU_STREAM_WAIT_VALUE_EQ));
    CUstreamBatchMemOpParams batch[2] = {};
    batch[0].operation = CU_STREAM_MEM_OP_WRITE_VALUE_32;
    batch[0].writeValue.address = address + 8;
    batch[0].writeValue.value = 6;
    batch[1].operation = CU_STREAM_MEM_OP_WRITE_VALUE_64;
    batch[1].writeValue.address = address + 16;
    batch[1].writeValue.value64 = 7;
    OK(cuStreamBatchMemOp(stream, 2, batch, 0));
    OK(cuStreamEndCapture(stream, &graph));
    IS(0, word[0]);
    count = 4;
    OK(cuGraphGetNodes(graph, nodes, &count));
    IS(3, count);
    for (size_t i = 0; i < count; i++) IS(CU_GRAPH_NODE_TYPE_BATCH_MEM_OP, type_of(nodes[i]));
    CUDA_BATCH_MEM_OP_NODE_PARAMS told;
    OK(cuGraphBatchMemOpNodeGetParams(nodes[1], &told));
    IS(1, told.count);
    IS(CU_STREAM_MEM_OP_WAIT_VALUE_32, told.paramArray[0].operation);
    IS(address + 4, told.paramArray[0].waitValue.address);
    IS(9, told.paramArray[0].waitValue.value);
    IS(CU_STREAM_WAIT_VALUE_EQ, told.paramArray[0].waitValue.flags);
    OK(cuGraphBatchMemOpNodeGetParams(nodes[2], &told));
    IS(2, told.count);
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuGraphLaunch(exec, stream));
    while (word[0] != 5) {}
    ANSWERS(CUDA_ERROR_NOT_READY, cuStreamQuery(stream));
    IS(0, word[2]);
    word[1] = 9;
    OK(cuStreamSynchronize(stream));
    IS(6, word[2]);
    IS(7, word[4]);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Copies in one call cannot be captured; the capture goes on without them.
    CUdeviceptr to = memory, from = second;
    size_t bytes = 64, index = 0;
    CUmemcpyAttributes attributes = {};
    attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    ANSWERS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
            cuMemcpyBatchAsync(&to, &from, &bytes, 1, &attributes, &index, 1, stream));
    OK(cuMemsetD32Async(memory, 1, 16, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuGraphDestroy(graph));

    // Outside of capture they take arrays as well: extents and offsets count texels.
    CUDA_MEMCPY3D_BATCH_OP volumes[2] = {};
    volumes[0].src.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
    volumes[0].src.op.ptr.ptr = (CUdeviceptr)host;
    volumes[0].dst.type = CU_MEMCPY_OPERAND_TYPE_ARRAY;
    volumes[0].dst.op.array.array = texels;
    volumes[0].extent = {W, H, 1};
    volumes[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    OK(cuMemcpy3DBatchAsync(1, volumes, 0, stream));
    volumes[1].src = volumes[0].dst;
    volumes[1].src.op.array.offset = {4, 1, 0};
    volumes[1].dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
    volumes[1].dst.op.ptr.ptr = memory;
    volumes[1].extent = {2, 2, 1};
    volumes[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    OK(cuMemcpy3DBatchAsync(1, volumes + 1, 0, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(found, memory, sizeof found));
    IS(host[W + 4], found[0]);
    IS(host[W + 5], found[1]);
    IS(host[2 * W + 4], found[2]);
    IS(host[2 * W + 5], found[3]);
    return done("graphs_arrays");
}
