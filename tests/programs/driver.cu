// The driver API by itself: PTX text as an image, both ways to pass parameters, globals, contexts, and what it says when
// something is wrong.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> device: compute 9.0, warp 32
//> launched with a list: 3 5 7 9
//> launched with a buffer: 13 33 53 73
//> variable scale: 4 bytes, value 10
//> parameters: 0 8, 8 4, then CUDA_ERROR_INVALID_VALUE
//> unknown kernel: CUDA_ERROR_NOT_FOUND
//> bad PTX: CUDA_ERROR_INVALID_PTX, and a log with its line
//> not an image: CUDA_ERROR_INVALID_IMAGE
//> library kernel: 13 33 53 73
//> context stack: 2, 1, 0
//> without a context: CUDA_ERROR_INVALID_CONTEXT
//> string of 700: an illegal memory access was encountered
#include "check_driver.h"
#include <cuda.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// data[i] = data[i] * scale + bias
static const char *ptx = R"(
.version 7.5
.target sm_75
.address_size 64

.visible .global .align 4 .u32 scale = 10;

.visible .entry affine(.param .u64 data, .param .u32 bias)
{
    .reg .b32 %r<6>;
    .reg .b64 %rd<5>;
    ld.param.u64 %rd1, [data];
    ld.param.u32 %r1, [bias];
    mov.u32 %r2, %tid.x;
    mul.wide.u32 %rd2, %r2, 4;
    cvta.to.global.u64 %rd3, %rd1;
    add.s64 %rd4, %rd3, %rd2;
    ld.global.u32 %r3, [%rd4];
    ld.global.u32 %r4, [scale];
    mad.lo.u32 %r5, %r3, %r4, %r1;
    st.global.u32 [%rd4], %r5;
    ret;
}
)";

static const char *bad_ptx = R"(.version 7.5
.target sm_75
.address_size 64
.visible .entry broken()
{
    .reg .b32 %r<2>;
    frobnicate.b32 %r0, %r1;
    ret;
}
)";

static void show(const char *what, CUdeviceptr data) {
    unsigned host[4];
    CHECK(cuMemcpyDtoH(host, data, sizeof host));
    std::printf("%s: %u %u %u %u\n", what, host[0], host[1], host[2], host[3]);
}

int main() {
    CHECK(cuInit(0));
    CUdevice device;
    CHECK(cuDeviceGet(&device, 0));
    int major, minor, warp;
    CHECK(cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device));
    CHECK(cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device));
    CHECK(cuDeviceGetAttribute(&warp, CU_DEVICE_ATTRIBUTE_WARP_SIZE, device));
    std::printf("device: compute %d.%d, warp %d\n", major, minor, warp);

    CUcontext context;
    CHECK(cuCtxCreate(&context, nullptr, 0, device));
    CUmodule module;
    CUfunction affine;
    CHECK(cuModuleLoadData(&module, ptx));
    CHECK(cuModuleGetFunction(&affine, module, "affine"));

    CUdeviceptr scale, data;
    size_t bytes;
    CHECK(cuModuleGetGlobal(&scale, &bytes, module, "scale"));
    unsigned value = 0, one = 1, ten = 10;
    CHECK(cuMemcpyDtoH(&value, scale, sizeof value));
    unsigned before = value;
    CHECK(cuMemcpyHtoD(scale, &one, sizeof one));

    const unsigned in[4] = {1, 3, 5, 7};
    CHECK(cuMemAlloc(&data, sizeof in));
    CHECK(cuMemcpyHtoD(data, in, sizeof in));
    unsigned bias = 2;
    void *list[] = {&data, &bias};
    CHECK(cuLaunchKernel(affine, 1, 1, 1, 4, 1, 1, 0, nullptr, list, nullptr));
    show("launched with a list", data);

    CHECK(cuMemcpyHtoD(scale, &ten, sizeof ten));
    CHECK(cuMemcpyHtoD(data, in, sizeof in));
    struct {
        CUdeviceptr data;
        unsigned bias;
    } packed = {data, 3};
    size_t packed_bytes = 12;
    void *extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &packed_bytes,
                     CU_LAUNCH_PARAM_END};
    CHECK(cuLaunchKernel(affine, 1, 1, 1, 4, 1, 1, 0, nullptr, nullptr, extra));
    show("launched with a buffer", data);
    std::printf("variable scale: %zu bytes, value %u\n", bytes, before);

    size_t offset[2], size[2];
    CHECK(cuFuncGetParamInfo(affine, 0, &offset[0], &size[0]));
    CHECK(cuFuncGetParamInfo(affine, 1, &offset[1], &size[1]));
    CUresult third = cuFuncGetParamInfo(affine, 2, &offset[0], &size[0]);
    std::printf("parameters: 0 %zu, %zu %zu, then %s\n", size[0], offset[1], size[1], name(third));

    CUfunction unknown;
    std::printf("unknown kernel: %s\n", name(cuModuleGetFunction(&unknown, module, "nothing")));

    char log[4096] = "";
    CUjit_option options[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    void *values[] = {log, (void *)sizeof log};
    CUmodule broken;
    CUresult result = cuModuleLoadDataEx(&broken, bad_ptx, 2, options, values);
    bool names_line = std::strstr(log, "7") && std::strstr(log, "frobnicate");
    std::printf("bad PTX: %s, and %s\n", name(result), names_line ? "a log with its line" : log);
    std::printf("not an image: %s\n", name(cuModuleLoadData(&broken, "nonsense, as long as a header should be")));

    CUlibrary library;
    CUkernel kernel;
    CHECK(cuLibraryLoadData(&library, ptx, nullptr, nullptr, 0, nullptr, nullptr, 0));
    CHECK(cuLibraryGetKernel(&kernel, library, "affine"));
    CHECK(cuMemcpyHtoD(data, in, sizeof in));
    CHECK(cuLaunchKernel((CUfunction)kernel, 1, 1, 1, 4, 1, 1, 0, nullptr, nullptr, extra));
    show("library kernel", data);
    CHECK(cuLibraryUnload(library));

    CUcontext second, top;
    CHECK(cuCtxCreate(&second, nullptr, 0, device));
    int depth[3];
    CHECK(cuCtxGetCurrent(&top));
    depth[0] = top == second ? 2 : -1;
    CHECK(cuCtxDestroy(second));
    CHECK(cuCtxGetCurrent(&top));
    depth[1] = top == context ? 1 : -1;
    CHECK(cuModuleUnload(module));
    CHECK(cuMemFree(data));
    CHECK(cuCtxDestroy(context));
    CHECK(cuCtxGetCurrent(&top));
    depth[2] = top == nullptr ? 0 : -1;
    std::printf("context stack: %d, %d, %d\n", depth[0], depth[1], depth[2]);
    std::printf("without a context: %s\n", name(cuMemAlloc(&data, 16)));

    const char *text;
    CHECK(cuGetErrorString(CUDA_ERROR_ILLEGAL_ADDRESS, &text));
    std::printf("string of %d: %s\n", CUDA_ERROR_ILLEGAL_ADDRESS, text);
    return 0;
}
