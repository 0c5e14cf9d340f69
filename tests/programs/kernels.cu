// Kernels and functions: how they are found and counted, what they are called, what they take, and what is set for them.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> kernels: 140 answers
#include <cuda.h>
#include <cstring>
#include <fstream>
#include <string>
#include <unistd.h>
#include "driver.h"

static const char *text = R"(
.version 7.0
.target sm_75
.address_size 64

.visible .global .align 8 .b8 table[24];
.visible .const .align 4 .u32 scale = 3;
.global .attribute(.managed) .align 4 .u32 shared_by_all = 11;
.extern .shared .align 16 .b8 room[];

.visible .entry first(.param .u64 out, .param .u32 number, .param .align 16 .b8 block[48], .param .u8 last)
{
    .reg .b32 %r<3>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd1, %rd1;
    ld.param.u32 %r1, [number];
    ld.const.u32 %r2, [scale];
    mul.lo.u32 %r1, %r1, %r2;
    st.global.u32 [%rd1], %r1;
    ret;
}

.visible .entry second()
.maxntid 128, 1, 1
{
    .shared .align 4 .b8 own[1024];
    .reg .b32 %r<2>;
    mov.u32 %r1, 5;
    st.shared.u32 [own], %r1;
    st.shared.u32 [room], %r1;
    ret;
}
)";

int main() {
    start();
    CUlibrary library, other;
    CUkernel kernel, kernels[4], second;
    CUfunction function, functions[4];
    CUmodule module;
    const char *name;
    unsigned count = 9;
    size_t offset, size;
    OK(cuLibraryLoadData(&library, text, nullptr, nullptr, 0, nullptr, nullptr, 0));
    OK(cuLibraryGetKernelCount(&count, library));
    IS(2, count);
    OK(cuLibraryEnumerateKernels(kernels, 4, library));
    OK(cuLibraryGetKernel(&kernel, library, "first"));
    OK(cuLibraryGetKernel(&second, library, "second"));
    IS(1, (kernels[0] == kernel && kernels[1] == second) || (kernels[1] == kernel && kernels[0] == second));
    OK(cuKernelGetName(&name, kernel));
    IS(0, std::strcmp(name, "first"));
    OK(cuKernelGetLibrary(&other, kernel));
    IS(library, other);
    ANSWERS(CUDA_ERROR_NOT_FOUND, cuLibraryGetKernel(&kernels[3], library, "third"));
    INVALID(cuLibraryGetKernelCount(nullptr, library));
    INVALID(cuLibraryEnumerateKernels(nullptr, 1, library));

    // What they take.
    size_t wanted[][2] = {{0, 8}, {8, 4}, {16, 48}, {64, 1}};
    OK(cuKernelGetFunction(&function, kernel));
    for (int at = 0; at < 4; at++) {
        OK(cuKernelGetParamInfo(kernel, at, &offset, &size));
        IS(wanted[at][0], offset);
        IS(wanted[at][1], size);
        OK(cuFuncGetParamInfo(function, at, &offset, nullptr));
        IS(wanted[at][0], offset);
    }
    INVALID(cuKernelGetParamInfo(kernel, 4, &offset, &size));
    INVALID(cuFuncGetParamInfo(function, 4, &offset, &size));
    INVALID(cuKernelGetParamInfo(second, 0, &offset, &size));
    INVALID(cuKernelGetParamInfo(kernel, 0, nullptr, &size));
    OK(cuFuncGetName(&name, function));
    IS(0, std::strcmp(name, "first"));
    CUfunctionLoadingState loaded = (CUfunctionLoadingState)7;
    OK(cuFuncLoad(function));
    OK(cuFuncIsLoaded(&loaded, function));
    IS(CU_FUNCTION_LOADING_STATE_LOADED, loaded);

    // What is set for a kernel holds for its functions, by whatever handle it is set or asked for.
    int told, most;
    OK(cuDeviceGetAttribute(&most, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0));
    OK(cuKernelGetAttribute(&told, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK, second, 0));
    IS(128, told);
    OK(cuKernelGetAttribute(&told, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, second, 0));
    IS(1024, told);
    OK(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 65536, second, 0));
    OK(cuKernelGetAttribute(&told, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, second, 0));
    IS(65536, told);
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuFuncGetAttribute(&told, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (CUfunction)second));
    OK(cuLaunchKernel((CUfunction)second, 1, 1, 1, 32, 1, 1, 65536, nullptr, nullptr, nullptr));
    OK(cuKernelGetFunction(&function, second));
    OK(cuFuncGetAttribute(&told, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, function));
    IS(65536, told);
    OK(cuLaunchKernel(function, 1, 1, 1, 32, 1, 1, 65536, nullptr, nullptr, nullptr));
    INVALID(cuLaunchKernel(function, 1, 1, 1, 129, 1, 1, 0, nullptr, nullptr, nullptr));
    INVALID(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, most, second, 0));
    INVALID(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_NUM_REGS, 8, second, 0));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuKernelGetAttribute(&told, CU_FUNC_ATTRIBUTE_NUM_REGS, second, 99));
    OK(cuKernelSetCacheConfig(second, CU_FUNC_CACHE_PREFER_L1, 0));
    OK(cuFuncSetCacheConfig(function, CU_FUNC_CACHE_PREFER_SHARED));
    OK(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 50));
    OK(cuFuncGetAttribute(&told, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, function));
    IS(50, told);
    INVALID(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT, 101));
    OK(cuFuncGetAttribute(&told, CU_FUNC_ATTRIBUTE_PTX_VERSION, function));
    IS(75, told);

    // Variables.
    CUdeviceptr at, managed;
    OK(cuLibraryGetGlobal(&at, &size, library, "table"));
    IS(24, size);
    OK(cuLibraryGetGlobal(nullptr, &size, library, "scale"));
    IS(4, size);
    ANSWERS(CUDA_ERROR_NOT_FOUND, cuLibraryGetGlobal(&at, &size, library, "nothing"));
    OK(cuLibraryGetManaged(&managed, &size, library, "shared_by_all"));
    IS(4, size);
    OK(cuCtxSynchronize());
    IS(11, *(unsigned *)managed);
    ANSWERS(CUDA_ERROR_NOT_FOUND, cuLibraryGetManaged(&managed, &size, library, "table"));

    // A library's module in the current context.
    OK(cuLibraryGetModule(&module, library));
    OK(cuModuleGetFunctionCount(&count, module));
    IS(2, count);
    OK(cuModuleEnumerateFunctions(functions, 2, module));
    IS(1, functions[0] != functions[1]);
    CUmodule same;
    OK(cuFuncGetModule(&same, functions[0]));
    IS(module, same);
    CUdeviceptr twice;
    OK(cuModuleGetGlobal(&twice, &size, module, "table"));
    IS(at, twice);
    CUmoduleLoadingMode mode;
    OK(cuModuleGetLoadingMode(&mode));
    IS(1, mode == CU_MODULE_EAGER_LOADING || mode == CU_MODULE_LAZY_LOADING);

    // From files.
    std::string path = "/tmp/hetgpu-kernels-" + std::to_string(getpid()) + ".ptx";
    std::ofstream(path) << text;
    CUlibrary filed;
    CUmodule own;
    OK(cuLibraryLoadFromFile(&filed, path.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
    OK(cuLibraryGetKernelCount(&count, filed));
    IS(2, count);
    OK(cuLibraryUnload(filed));
    OK(cuModuleLoad(&own, path.c_str()));
    OK(cuModuleGetFunction(&function, own, "first"));
    CUdeviceptr out;
    OK(cuMemAlloc(&out, 64));
    unsigned number = 14, result;
    char block[48] = {}, last = 1;
    void *params[] = {&out, &number, block, &last};
    OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
    OK(cuMemcpyDtoH(&result, out, sizeof result));
    IS(42, result);
    OK(cuModuleUnload(own));
    CUlinkState link;
    OK(cuLinkCreate(0, nullptr, nullptr, &link));
    OK(cuLinkAddFile(link, CU_JIT_INPUT_PTX, path.c_str(), 0, nullptr, nullptr));
    void *image;
    OK(cuLinkComplete(link, &image, &size));
    OK(cuModuleLoadFatBinary(&own, image));
    OK(cuModuleGetFunction(&function, own, "first"));
    number = 15;
    OK(cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
    OK(cuMemcpyDtoH(&result, out, sizeof result));
    IS(45, result);
    OK(cuLinkDestroy(link));
    unlink(path.c_str());
    ANSWERS(CUDA_ERROR_FILE_NOT_FOUND, cuModuleLoad(&own, path.c_str()));
    ANSWERS(CUDA_ERROR_FILE_NOT_FOUND, cuLibraryLoadFromFile(&filed, path.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));

    // How long it took to read.
    CUjit_option option = CU_JIT_WALL_TIME;
    void *filled = nullptr;
    float milliseconds;
    OK(cuModuleLoadDataEx(&own, text, 1, &option, &filled));
    std::memcpy(&milliseconds, &filled, sizeof milliseconds);
    IS(1, milliseconds > 0 && milliseconds < 60000);
    OK(cuModuleUnload(own));

    // How many blocks fit.
    int blocks, grid, threads, multiprocessors;
    OK(cuDeviceGetAttribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 1024, 0));
    IS(2, blocks);
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(&blocks, function, 64, 0, CU_OCCUPANCY_DISABLE_CACHING_OVERRIDE));
    IS(32, blocks);
    OK(cuKernelGetFunction(&function, second));
    OK(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 256, 0));
    IS(0, blocks);
    OK(cuOccupancyMaxPotentialBlockSize(&grid, &threads, function, nullptr, 0, 0));
    IS(128, threads);
    IS(16 * multiprocessors, grid);
    OK(cuOccupancyMaxPotentialBlockSizeWithFlags(&grid, &threads, function, nullptr, 0, 64, 0));
    IS(64, threads);
    OK(cuOccupancyMaxPotentialBlockSize(&grid, &threads, function, [](int threads) { return (size_t)threads * 512; }, 0, 0));
    IS(1, threads >= 32 && threads <= 128 && grid >= multiprocessors);
    OK(cuOccupancyAvailableDynamicSMemPerBlock(&size, function, 16, 128));
    IS(1, size > 0 && size < 16384);
    INVALID(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, function, 0, 0));
    INVALID(cuOccupancyMaxActiveBlocksPerMultiprocessor(nullptr, function, 32, 0));
    OK(cuLibraryUnload(library));
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuLibraryGetKernelCount(&count, library));
    return done("kernels");
}
