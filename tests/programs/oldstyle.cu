// Launches that are put together call by call, as programs did before cuLaunchKernel, and calls on contexts of that time;
// attributes of functions and launches that few programs set.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> grids of the old style: 4 words right
//> oldstyle: 96 answers
#include <cuda.h>
#include "driver.h"
#include <cstring>

// out[0] += grid.x * 100 + grid.y * 10 + block.x, out[1] = word, out[2] = float's bits, out[3] = dynamic shared memory
static const char *text = R"(
.version 7.8
.target sm_90
.address_size 64

.visible .entry probe(.param .u64 out, .param .u32 word, .param .f32 number)
{
    .reg .b32 %r<9>;
    .reg .b64 %rd<3>;
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd2, %rd1;
    mov.u32 %r1, %nctaid.x;
    mov.u32 %r2, %nctaid.y;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %cluster_nctarank;
    mad.lo.u32 %r5, %r1, 100, %r3;
    mad.lo.u32 %r5, %r2, 10, %r5;
    mad.lo.u32 %r5, %r4, 10000, %r5;
    st.global.u32 [%rd2], %r5;
    ld.param.u32 %r6, [word];
    st.global.u32 [%rd2+4], %r6;
    ld.param.b32 %r7, [number];
    st.global.u32 [%rd2+8], %r7;
    mov.u32 %r8, %dynamic_smem_size;
    st.global.u32 [%rd2+12], %r8;
    ret;
}
)";

static unsigned result(CUdeviceptr out, int word) {
    unsigned words[4];
    OK(cuMemcpyDtoH(words, out, sizeof words));
    return words[word];
}

int main() {
    CUcontext context = start();
    CUmodule module;
    CUfunction probe;
    CUdeviceptr out;
    CUstream stream;
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&probe, module, "probe"));
    OK(cuMemAlloc(&out, 64));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));

    // Parameters in pieces, one launch of one block.
    float number = 1.5f;
    unsigned bits;
    std::memcpy(&bits, &number, sizeof bits);
    OK(cuFuncSetBlockShape(probe, 32, 1, 1));
    OK(cuFuncSetSharedSize(probe, 256));
    OK(cuParamSetv(probe, 0, &out, sizeof out));
    OK(cuParamSeti(probe, 8, 77));
    OK(cuParamSetf(probe, 12, number));
    OK(cuParamSetSize(probe, 16));
    OK(cuLaunch(probe));
    OK(cuCtxSynchronize());
    int right = 0;
    right += result(out, 0) == 10000 + 100 + 10 + 32;
    right += result(out, 1) == 77;
    right += result(out, 2) == bits;
    right += result(out, 3) == 256;
    std::printf("grids of the old style: %d words right\n", right);

    // What was set stays until it is set again.
    OK(cuParamSeti(probe, 8, 78));
    OK(cuLaunchGrid(probe, 3, 2));
    OK(cuCtxSynchronize());
    IS(10000 + 300 + 20 + 32, result(out, 0));
    IS(78, result(out, 1));
    OK(cuFuncSetBlockShape(probe, 8, 2, 1));
    OK(cuFuncSetSharedSize(probe, 0));
    OK(cuLaunchGridAsync(probe, 2, 4, stream));
    OK(cuStreamSynchronize(stream));
    IS(10000 + 200 + 40 + 8, result(out, 0));
    IS(0, result(out, 3));

    // They are no part of a capture: they run.
    CUgraph graph;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuParamSeti(probe, 8, 79));
    OK(cuLaunchGridAsync(probe, 1, 1, stream));
    OK(cuStreamEndCapture(stream, &graph));
    OK(cuStreamSynchronize(stream));
    IS(79, result(out, 1));
    OK(cuGraphDestroy(graph));

    INVALID(cuFuncSetBlockShape(probe, 0, 1, 1));
    INVALID(cuFuncSetBlockShape(probe, 32, -1, 1));
    INVALID(cuLaunchGrid(probe, 0, 1));
    INVALID(cuLaunchGrid(probe, 1, -1));
    OK(cuFuncSetSharedMemConfig(probe, CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE));
    INVALID(cuFuncSetSharedMemConfig(probe, (CUsharedconfig)3));

    // Clusters that the function is set to; a launch that says something else has its way.
    OK(cuFuncSetAttribute(probe, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, 2));
    OK(cuFuncSetAttribute(probe, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT, 1));
    OK(cuFuncSetAttribute(probe, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH, 1));
    int width;
    OK(cuFuncGetAttribute(&width, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, probe));
    IS(2, width);
    void *params[] = {&out, &bits, &number};
    OK(cuLaunchKernel(probe, 4, 1, 1, 32, 1, 1, 0, nullptr, params, nullptr));
    OK(cuCtxSynchronize());
    IS(20000 + 400 + 10 + 32, result(out, 0));
    for (int dimension = 0; dimension < 3; dimension++) {
        OK(cuFuncSetAttribute(probe, (CUfunction_attribute)(CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH + dimension), 0));
    }
    OK(cuLaunchKernel(probe, 4, 1, 1, 32, 1, 1, 0, nullptr, params, nullptr));
    OK(cuCtxSynchronize());
    IS(10000 + 400 + 10 + 32, result(out, 0));

    // Events of a launch; a node keeps what its launch was asked for with.
    CUevent event;
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    CUlaunchAttribute attributes[2] = {};
    attributes[0].id = CU_LAUNCH_ATTRIBUTE_LAUNCH_COMPLETION_EVENT;
    attributes[0].value.launchCompletionEvent.event = event;
    attributes[1].id = CU_LAUNCH_ATTRIBUTE_PRIORITY;
    attributes[1].value.priority = -3;
    CUlaunchConfig config = {};
    config.gridDimX = config.gridDimY = config.gridDimZ = 1;
    config.blockDimX = 16;
    config.blockDimY = config.blockDimZ = 1;
    config.hStream = stream;
    config.attrs = attributes;
    config.numAttrs = 2;
    OK(cuLaunchKernelEx(&config, probe, params, nullptr));
    OK(cuEventSynchronize(event));
    OK(cuStreamSynchronize(stream));
    IS(10000 + 100 + 10 + 16, result(out, 0));
    config.attrs = attributes + 1;
    config.numAttrs = 1;
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuLaunchKernelEx(&config, probe, params, nullptr));
    OK(cuStreamEndCapture(stream, &graph));
    CUgraphNode node;
    size_t nodes = 1;
    OK(cuGraphGetNodes(graph, &node, &nodes));
    IS(1, nodes);
    CUkernelNodeAttrValue kept;
    OK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &kept));
    IS(-3, kept.priority);
    CUDA_KERNEL_NODE_PARAMS described;
    OK(cuGraphKernelNodeGetParams(node, &described));
    described.blockDimX = 64;
    OK(cuGraphKernelNodeSetParams(node, &described));
    OK(cuGraphKernelNodeGetAttribute(node, CU_LAUNCH_ATTRIBUTE_PRIORITY, &kept));
    IS(-3, kept.priority);
    OK(cuGraphDestroy(graph));

    // Contexts that are attached and detached.
    CUcontext own, same, current;
    OK(cuCtxCreate(&own, nullptr, 0, 0));
    OK(cuCtxAttach(&same, 0));
    IS(own, same);
    OK(cuCtxDetach(own));
    OK(cuCtxGetCurrent(&current));
    IS(own, current);
    OK(cuCtxSynchronize());
    OK(cuCtxDetach(own));
    OK(cuCtxGetCurrent(&current));
    IS(context, current);
    INVALID(cuCtxAttach(&same, 1));

    // Nothing here is called by one address on host and device.
    CUlibrary library;
    OK(cuLibraryLoadData(&library, text, nullptr, nullptr, 0, nullptr, nullptr, 0));
    void *function;
    INVALID(cuLibraryGetUnifiedFunction(&function, library, "nothing"));
    OK(cuLibraryUnload(library));
    return done("oldstyle");
}
