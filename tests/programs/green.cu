// Green contexts: multiprocessors are divided, and kernels of a part stay on the multiprocessors of that part.
//$ HETGPU_CPU_THREADS=16
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//% nvidia a launch does not yet stay on the multiprocessors of its part
//> kernels of two parts met on 0 multiprocessors
//> green: 135 answers
#include <cuda.h>
#include <cstring>
#include <set>
#include <vector>
#include "driver.h"

// Says which multiprocessors its blocks ran on, and does so for a while.
static const char *text = R"(
.version 7.0
.target sm_75
.address_size 64

.visible .entry where(.param .u64 seen, .param .u32 loops)
{
    .reg .b32 %r<6>;
    .reg .b64 %rd<4>;
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [seen];
    cvta.to.global.u64 %rd1, %rd1;
    mov.u32 %r1, %smid;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    ld.param.u32 %r3, [loops];
again:
    atom.global.add.u32 %r2, [%rd3], 1;
    sub.u32 %r3, %r3, 1;
    setp.ne.u32 %p1, %r3, 0;
    @%p1 bra again;
    ret;
}
)";

static const int MOST = 1024;

struct Part {
    CUgreenCtx green;
    CUcontext context;
    CUstream stream;
    CUdeviceptr seen;
    unsigned count;
};

static CUdevResource described(CUdevice device) {
    CUdevResource all;
    OK(cuDeviceGetDevResource(device, &all, CU_DEV_RESOURCE_TYPE_SM));
    return all;
}

static CUgreenCtx made(CUdevice device, CUdevResource *resources, unsigned count) {
    CUdevResourceDesc description;
    CUgreenCtx green;
    OK(cuDevResourceGenerateDesc(&description, resources, count));
    OK(cuGreenCtxCreate(&green, description, device, CU_GREEN_CTX_DEFAULT_STREAM));
    return green;
}

static std::set<int> places(CUdeviceptr seen) {
    std::vector<unsigned> words(MOST);
    std::set<int> found;
    OK(cuMemcpyDtoH(words.data(), seen, MOST * sizeof(unsigned)));
    for (int i = 0; i < MOST; i++) if (words[i]) found.insert(i);
    return found;
}

int main() {
    CUcontext primary = start();
    CUdevice device = 0;
    int multiprocessors;
    OK(cuDeviceGetAttribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device));
    CUdevResource all = described(device), groups[64], rest, told;
    IS(CU_DEV_RESOURCE_TYPE_SM, all.type);
    IS(multiprocessors, all.sm.smCount);
    IS(1, all.sm.minSmPartitionSize >= 1 && all.sm.smCoscheduledAlignment >= 1);
    OK(cuCtxGetDevResource(primary, &told, CU_DEV_RESOURCE_TYPE_SM));
    IS(multiprocessors, told.sm.smCount);
    ANSWERS(CUDA_ERROR_INVALID_RESOURCE_TYPE, cuDeviceGetDevResource(device, &told, CU_DEV_RESOURCE_TYPE_INVALID));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetDevResource(99, &told, CU_DEV_RESOURCE_TYPE_SM));

    // How many groups there would be, then two of them and what is left.
    unsigned least = 8, count = 0;
    OK(cuDevSmResourceSplitByCount(nullptr, &count, &all, nullptr, 0, least));
    IS(1, count >= 2 && count <= multiprocessors / least);
    unsigned possible = count;
    count = 2;
    OK(cuDevSmResourceSplitByCount(groups, &count, &all, &rest, 0, least));
    IS(2, count);
    IS(1, groups[0].sm.smCount >= least);
    IS(groups[0].sm.smCount, groups[1].sm.smCount);
    unsigned left = rest.type == CU_DEV_RESOURCE_TYPE_SM ? rest.sm.smCount : 0;
    IS(multiprocessors, groups[0].sm.smCount + groups[1].sm.smCount + left);
    count = 64;
    CUdevResource many[64];
    OK(cuDevSmResourceSplitByCount(many, &count, &all, nullptr, 0, least));
    IS(possible, count);
    OK(cuDevSmResourceSplitByCount(nullptr, &count, &all, nullptr, 1u << 20, least));
    CUdevResource nothing = {};
    ANSWERS(CUDA_ERROR_INVALID_RESOURCE_TYPE, cuDevSmResourceSplitByCount(nullptr, &count, &nothing, nullptr, 0, least));
    CUdevResourceDesc description;
    CUdevResource mixed[2] = {groups[0], many[1]};
    OK(cuDevResourceGenerateDesc(&description, mixed, 2));

    // Contexts of both groups. What a context says it has is what it was given.
    Part parts[2];
    CUmodule module;
    CUfunction foreign;
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&foreign, module, "where"));
    CUlibrary library;
    CUkernel kernel;
    OK(cuLibraryLoadData(&library, text, nullptr, nullptr, 0, nullptr, nullptr, 0));
    OK(cuLibraryGetKernel(&kernel, library, "where"));
    CUfunction where = (CUfunction)kernel;
    for (Part &part : parts) {
        part.green = made(device, &groups[&part - parts], 1);
        OK(cuCtxFromGreenCtx(&part.context, part.green));
        OK(cuGreenCtxStreamCreate(&part.stream, part.green, CU_STREAM_NON_BLOCKING, 0));
        OK(cuGreenCtxGetDevResource(part.green, &told, CU_DEV_RESOURCE_TYPE_SM));
        part.count = told.sm.smCount;
        IS(groups[0].sm.smCount, part.count);
        OK(cuCtxGetDevResource(part.context, &told, CU_DEV_RESOURCE_TYPE_SM));
        IS(part.count, told.sm.smCount);
        OK(cuMemAlloc(&part.seen, MOST * sizeof(unsigned)));
        OK(cuMemsetD8(part.seen, 0, MOST * sizeof(unsigned)));
    }
    CUstream refused;
    INVALID(cuGreenCtxStreamCreate(&refused, parts[0].green, CU_STREAM_DEFAULT, 0));
    unsigned long long ids[2];
    for (int i = 0; i < 2; i++) OK(cuGreenCtxGetId(parts[i].green, &ids[i]));
    IS(1, ids[0] != ids[1]);

    // Which context a stream is of.
    CUcontext context;
    CUgreenCtx green;
    OK(cuStreamGetCtx_v2(parts[1].stream, &context, &green));
    IS(primary, context);
    IS(parts[1].green, green);
    OK(cuStreamGetCtx(parts[1].stream, &context));
    IS(parts[1].context, context);
    OK(cuStreamGetGreenCtx(parts[1].stream, &green));
    IS(parts[1].green, green);
    OK(cuStreamGetGreenCtx(nullptr, &green));
    IS(0, green);

    // A function of the primary context runs in a part's stream.
    {
        unsigned once = 1;
        void *params[] = {&parts[0].seen, &once};
        OK(cuLaunchKernel(foreign, 1, 1, 1, 1, 1, 1, 0, parts[0].stream, params, nullptr));
    }

    // Kernels of both at once, from enough blocks for every multiprocessor.
    unsigned loops = 2000;
    for (Part &part : parts) {
        void *params[] = {&part.seen, &loops};
        for (int i = 0; i < 4; i++) OK(cuLaunchKernel(where, 512, 1, 1, 64, 1, 1, 0, part.stream, params, nullptr));
    }
    for (Part &part : parts) OK(cuStreamSynchronize(part.stream));
    std::set<int> one = places(parts[0].seen), two = places(parts[1].seen);
    int met = 0;
    for (int place : one) met += two.count(place);
    std::printf("kernels of two parts met on %d multiprocessors\n", met);
    IS(1, one.size() >= 1 && one.size() <= parts[0].count);
    IS(1, two.size() >= 1 && two.size() <= parts[1].count);

    // A graph's kernel stays where it was captured, whatever stream launches it.
    CUgraph graph;
    CUgraphExec exec;
    CUstream plain;
    OK(cuStreamCreate(&plain, CU_STREAM_NON_BLOCKING));
    OK(cuStreamBeginCapture(parts[1].stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    void *params[] = {&parts[0].seen, &loops};
    OK(cuLaunchKernel(where, 512, 1, 1, 64, 1, 1, 0, parts[1].stream, params, nullptr));
    OK(cuStreamEndCapture(parts[1].stream, &graph));
    OK(cuGraphInstantiate(&exec, graph, 0));
    OK(cuMemsetD8(parts[0].seen, 0, MOST * sizeof(unsigned)));
    OK(cuGraphLaunch(exec, plain));
    OK(cuStreamSynchronize(plain));
    met = 0;
    for (int place : places(parts[0].seen)) met += one.count(place);
    IS(0, met);
    OK(cuGraphExecDestroy(exec));
    OK(cuGraphDestroy(graph));

    // Current like any context: streams made now and the default stream are of the part, memory and modules in common.
    CUstream inside;
    OK(cuCtxSetCurrent(parts[0].context));
    OK(cuStreamCreate(&inside, CU_STREAM_DEFAULT));
    OK(cuStreamGetGreenCtx(inside, &green));
    IS(parts[0].green, green);
    OK(cuStreamGetGreenCtx(nullptr, &green));
    IS(parts[0].green, green);
    unsigned long long id;
    OK(cuGreenCtxGetId(nullptr, &id));
    IS(ids[0], id);
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuStreamGetCtx_v2(CU_STREAM_PER_THREAD, &context, &green));
    OK(cuMemsetD8(parts[0].seen, 0, MOST * sizeof(unsigned)));
    OK(cuLaunchKernel(where, 512, 1, 1, 64, 1, 1, 0, nullptr, params, nullptr));
    OK(cuCtxSynchronize());
    met = 0;
    for (int place : places(parts[0].seen)) met += two.count(place);
    IS(0, met);
    CUdeviceptr own;
    OK(cuMemAlloc(&own, 64));
    OK(cuStreamDestroy(inside));
    OK(cuCtxSetCurrent(primary));
    OK(cuMemsetD32(own, 7, 16));
    OK(cuMemFree(own));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuGreenCtxGetId(nullptr, &id));

    // Events of all that a part was given; what a part is given waits for an event.
    CUevent event;
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    OK(cuMemsetD8(parts[0].seen, 0, MOST * sizeof(unsigned)));
    loops = 100;
    OK(cuLaunchKernel(where, 1, 1, 1, 1, 1, 1, 0, parts[0].stream, params, nullptr));
    OK(cuGreenCtxRecordEvent(parts[0].green, event));
    OK(cuGreenCtxWaitEvent(parts[1].green, event));
    unsigned *copy;
    OK(cuMemAllocHost((void **)&copy, MOST * sizeof(unsigned)));
    OK(cuMemcpyDtoHAsync(copy, parts[0].seen, MOST * sizeof(unsigned), parts[1].stream));
    OK(cuStreamSynchronize(parts[1].stream));
    unsigned sum = 0;
    for (int i = 0; i < MOST; i++) sum += copy[i];
    IS(100, sum);
    OK(cuEventQuery(event));
    OK(cuStreamBeginCapture(parts[0].stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    OK(cuGreenCtxRecordEvent(parts[1].green, event));
    ANSWERS(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuGreenCtxRecordEvent(parts[0].green, event));
    ANSWERS(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(parts[0].stream, &graph));

    // A part can be divided again; a group only once there is a context of it.
    count = 1;
    unsigned half = parts[0].count / 2;
    OK(cuGreenCtxGetDevResource(parts[0].green, &told, CU_DEV_RESOURCE_TYPE_SM));
    OK(cuDevSmResourceSplitByCount(nullptr, &count, &told, nullptr, CU_DEV_SM_RESOURCE_SPLIT_IGNORE_SM_COSCHEDULING, half));
    IS(2, count);

    // Streams outlive their part only to say so.
    OK(cuGreenCtxDestroy(parts[1].green));
    ANSWERS(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuStreamSynchronize(parts[1].stream));
    ANSWERS(CUDA_ERROR_CONTEXT_IS_DESTROYED, cuStreamDestroy(parts[1].stream));
    OK(cuStreamDestroy(parts[0].stream));
    OK(cuGreenCtxDestroy(parts[0].green));
    OK(cuMemsetD32(parts[0].seen, 7, 16));
    OK(cuGreenCtxCreate(&green, description = nullptr, device, CU_GREEN_CTX_DEFAULT_STREAM));
    OK(cuGreenCtxDestroy(green));
    OK(cuDevResourceGenerateDesc(&description, groups, 1));
    INVALID(cuGreenCtxCreate(&green, description, device, 0));
    return done("green");
}
//^ interp has four multiprocessors, and parts of sixteen were asked for
