// The linker of the driver API: texts that need each other, what both keep to themselves, errors and their log, and what
// a link that has nothing to say leaves alone.
//> empty: CUDA_SUCCESS, then CUDA_ERROR_INVALID_VALUE
//> linked: CUDA_SUCCESS CUDA_SUCCESS CUDA_SUCCESS
//> sizes of the logs: 0 0
//> 115 215
//> wrong: CUDA_ERROR_INVALID_PTX, and a log
//> kinds: CUDA_ERROR_INVALID_VALUE
#include "check_driver.h"
#include <cuda.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>

static const char *const MAIN = R"(.version 7.0
.target sm_75
.address_size 64
.extern .func (.param .b32 r) more(.param .b32 p);
.global .align 4 .u32 own = 100;
.visible .entry sum(.param .u64 out)
{
    .reg .b64 %out;
    .reg .b32 %a, %b;
    ld.param.u64 %out, [out];
    cvta.to.global.u64 %out, %out;
    ld.global.u32 %a, [own];
    {
    .param .b32 p;
    .param .b32 r;
    st.param.b32 [p], 5;
    call.uni (r), more, (p);
    ld.param.b32 %b, [r];
    }
    add.u32 %a, %a, %b;
    st.global.u32 [%out], %a;
    add.u32 %a, %a, 100;
    st.global.u32 [%out+4], %a;
    ret;
}
)";

static const char *const HELPER = R"(.version 7.0
.target sm_75
.address_size 64
.global .align 4 .u32 own = 10;
.visible .func (.param .b32 r) more(.param .b32 p)
{
    .reg .b32 %a, %b;
    ld.param.b32 %a, [p];
    ld.global.u32 %b, [own];
    add.u32 %a, %a, %b;
    st.param.b32 [r], %a;
    ret;
}
)";

static const char *const WRONG = ".version 7.0\n.target sm_75\n.address_size 64\n.visible .entry k() { nothing; }\n";

static CUresult add(CUlinkState link, const char *text, const char *name) {
    return cuLinkAddData(link, CU_JIT_INPUT_PTX, (void *)text, std::strlen(text) + 1, name, 0, nullptr, nullptr);
}

int main() {
    CHECK(cuInit(0));
    CUdevice device;
    CUcontext context;
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));

    CUlinkState link;
    void *image;
    size_t bytes;
    CHECK(cuLinkCreate(0, nullptr, nullptr, &link));
    CUresult empty = cuLinkComplete(link, &image, &bytes);
    std::printf("empty: %s, then %s\n", name(empty), name(add(link, MAIN, "main.ptx")));
    CHECK(cuLinkDestroy(link));

    static char error[4096];
    CUjit_option options[2] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[2] = {error, (void *)sizeof error};
    CHECK(cuLinkCreate(2, options, values, &link));
    size_t cleared = (size_t)values[1];
    // The driver has read them.
    options[0] = options[1] = (CUjit_option)-1;
    CUresult first = add(link, MAIN, "main.ptx"), second = add(link, HELPER, "helper.ptx");
    CUresult third = cuLinkComplete(link, &image, &bytes);
    std::printf("linked: %s %s %s\n", name(first), name(second), name(third));
    std::printf("sizes of the logs: %zu %zu\n", cleared, (size_t)values[1]);
    CUmodule module;
    CUfunction sum;
    CUdeviceptr out;
    unsigned results[2];
    CHECK(cuModuleLoadData(&module, image));
    CHECK(cuLinkDestroy(link));
    CHECK(cuModuleGetFunction(&sum, module, "sum"));
    CHECK(cuMemAlloc(&out, sizeof results));
    void *parameters[] = {&out};
    CHECK(cuLaunchKernel(sum, 1, 1, 1, 1, 1, 1, 0, nullptr, parameters, nullptr));
    CHECK(cuMemcpyDtoH(results, out, sizeof results));
    std::printf("%u %u\n", results[0], results[1]);

    options[0] = CU_JIT_ERROR_LOG_BUFFER;
    options[1] = CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES;
    values[1] = (void *)sizeof error;
    CHECK(cuLinkCreate(2, options, values, &link));
    CUresult wrong = add(link, WRONG, "wrong.ptx");
    bool told = std::strstr(error, "nothing") != nullptr && (size_t)values[1] > 0;
    std::printf("wrong: %s, and %s log\n", name(wrong), told ? "a" : "no");
    CHECK(cuLinkDestroy(link));
    CHECK(cuLinkCreate(0, nullptr, nullptr, &link));
    CUresult kind = cuLinkAddData(link, (CUjitInputType)77, (void *)MAIN, std::strlen(MAIN) + 1, "x", 0, nullptr, nullptr);
    std::printf("kinds: %s\n", name(kind));
    CHECK(cuLinkDestroy(link));
    return 0;
}
