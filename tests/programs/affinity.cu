// Contexts that are kept to a number of multiprocessors from their creation on (an H200 has such under MPS alone).
//$ HETGPU_CPU_THREADS=16
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> kernels ran on at most 3 multiprocessors
//> affinity: 27 answers
#include <cuda.h>
#include "driver.h"

static const char *text = R"(
.version 7.0
.target sm_75
.address_size 64
.visible .entry where(.param .u64 seen)
{
    .reg .b32 %r<4>;
    .reg .b64 %rd<4>;
    .reg .pred %p<2>;
    ld.param.u64 %rd1, [seen];
    cvta.to.global.u64 %rd1, %rd1;
    mov.u32 %r1, %smid;
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd3, %rd1, %rd2;
    mov.u32 %r3, 2000;
again:
    atom.global.add.u32 %r2, [%rd3], 1;
    sub.u32 %r3, %r3, 1;
    setp.ne.u32 %p1, %r3, 0;
    @%p1 bra again;
    ret;
}
)";

static int multiprocessors() {
    CUexecAffinityParam affinity;
    OK(cuCtxGetExecAffinity(&affinity, CU_EXEC_AFFINITY_TYPE_SM_COUNT));
    IS(CU_EXEC_AFFINITY_TYPE_SM_COUNT, affinity.type);
    return affinity.param.smCount.val;
}

int main() {
    start();
    int supported;
    OK(cuDeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0));
    IS(1, supported);
    IS(16, multiprocessors());
    CUexecAffinityParam wish = {};
    wish.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT;
    wish.param.smCount.val = 3;
    CUctxCreateParams params = {};
    params.execAffinityParams = &wish;
    params.numExecAffinityParams = 1;
    CUcontext context;
    OK(cuCtxCreate(&context, &params, 0, 0));
    IS(3, multiprocessors());
    CUdevResource resource;
    OK(cuCtxGetDevResource(context, &resource, CU_DEV_RESOURCE_TYPE_SM));
    IS(3, resource.sm.smCount);

    CUmodule module;
    CUfunction where;
    CUdeviceptr seen;
    unsigned words[16];
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&where, module, "where"));
    OK(cuMemAlloc(&seen, sizeof words));
    OK(cuMemsetD8(seen, 0, sizeof words));
    void *arguments[] = {&seen};
    OK(cuLaunchKernel(where, 512, 1, 1, 64, 1, 1, 0, nullptr, arguments, nullptr));
    OK(cuMemcpyDtoH(words, seen, sizeof words));
    int most = 0;
    for (int i = 0; i < 16; i++) if (words[i]) most = i + 1;
    std::printf("kernels ran on at most %d multiprocessors\n", most > 3 ? most : 3);
    IS(1, most >= 1);

    // All blocks of a cooperative grid fit the context's multiprocessors, or none start.
    int each;
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&each, where, 64, 0));
    OK(cuLaunchCooperativeKernel(where, 3 * each, 1, 1, 64, 1, 1, 0, nullptr, arguments));
    ANSWERS(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE,
            cuLaunchCooperativeKernel(where, 3 * each + 1, 1, 1, 64, 1, 1, 0, nullptr, arguments));
    OK(cuCtxDestroy(context));
    wish.param.smCount.val = 0;
    INVALID(cuCtxCreate(&context, &params, 0, 0));
    wish.type = (CUexecAffinityType)7;
    INVALID(cuCtxCreate(&context, &params, 0, 0));
    return done("affinity");
}
