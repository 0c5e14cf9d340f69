// Copies and fills in their less common forms, and references of textures, as programs of old have them.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> references: 112 answers
#include <cuda.h>
#include <cstring>
#include "driver.h"

static const char *text = R"(
.version 7.0
.target sm_75, texmode_unified
.address_size 64
.visible .global .texref image;
.visible .entry fetch(.param .u64 out, .param .f32 x, .param .f32 y)
{
    .reg .f32 %f<8>;
    .reg .b64 %rd<2>;
    ld.param.u64 %rd1, [out];
    cvta.to.global.u64 %rd1, %rd1;
    ld.param.f32 %f1, [x];
    ld.param.f32 %f2, [y];
    tex.2d.v4.f32.f32 {%f3, %f4, %f5, %f6}, [image, {%f1, %f2}];
    st.global.f32 [%rd1], %f3;
    ret;
}
)";

static unsigned words[64];

static bool all(CUdeviceptr at, int pitch, int width, int height, unsigned want, int size) {
    static unsigned char bytes[4096];
    OK(cuMemcpyDtoH(bytes, at, pitch * height));
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            if (std::memcmp(bytes + y * pitch + x * size, &want, size)) return false;
    return true;
}

int main() {
    CUcontext context = start();
    CUstream stream;
    CUdeviceptr memory, second;
    size_t pitch;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    OK(cuMemAllocPitch(&memory, &pitch, 64, 8, 4));
    OK(cuMemAlloc(&second, 4096));
    IS(1, pitch >= 64 && pitch * 8 <= 4096);

    // Fills of every width, in rows.
    OK(cuMemsetD2D8(memory, pitch, 0x11, 64, 8));
    IS(1, all(memory, pitch, 64, 8, 0x11, 1));
    OK(cuMemsetD2D16(memory, pitch, 0x2233, 32, 8));
    IS(1, all(memory, pitch, 32, 8, 0x2233, 2));
    OK(cuMemsetD2D32Async(memory, pitch, 0x44556677, 16, 8, stream));
    OK(cuStreamSynchronize(stream));
    IS(1, all(memory, pitch, 16, 8, 0x44556677, 4));
    OK(cuMemsetD2D16Async(memory, pitch, 0x8899, 3, 2, stream));
    OK(cuMemsetD2D8Async(memory + 6, pitch, 0x77, 2, 2, stream));
    OK(cuMemsetD8Async(second, 5, 100, stream));
    OK(cuMemsetD16Async(second + 100, 6, 10, stream));
    OK(cuStreamSynchronize(stream));
    IS(1, all(memory, pitch, 3, 2, 0x8899, 2));
    IS(1, all(second, 100, 100, 1, 5, 1));
    IS(1, all(second + 100, 20, 10, 1, 6, 2));
    INVALID(cuMemsetD16(memory + 1, 0, 4));
    INVALID(cuMemsetD32(memory + 2, 0, 4));
    INVALID(cuMemsetD2D8(memory, 32, 0, 64, 8));
    OK(cuMemsetD8(memory, 0, 0));

    // Copies by place alone, between contexts, unaligned.
    unsigned host[16];
    for (int i = 0; i < 16; i++) host[i] = i * i;
    OK(cuMemcpy(second, (CUdeviceptr)host, sizeof host));
    OK(cuMemcpyAsync(second + 64, second, sizeof host, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpy((CUdeviceptr)words, second + 64, sizeof host));
    IS(225, words[15]);
    OK(cuMemcpyPeer(second + 128, context, second, context, 64));
    OK(cuMemcpyPeerAsync(second + 192, context, second + 128, context, 64, stream));
    OK(cuStreamSynchronize(stream));
    OK(cuMemcpyDtoH(words, second + 192, 64));
    IS(196, words[14]);
    CUDA_MEMCPY3D_PEER peer = {};
    peer.srcMemoryType = peer.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    peer.srcContext = peer.dstContext = context;
    peer.srcDevice = second;
    peer.dstDevice = second + 512;
    peer.srcPitch = 16;
    peer.dstPitch = 32;
    peer.srcHeight = peer.dstHeight = 4;
    peer.WidthInBytes = 16;
    peer.Height = 4;
    peer.Depth = 1;
    OK(cuMemcpy3DPeer(&peer));
    OK(cuMemcpyDtoH(words, second + 512 + 96, 16));
    IS(225, words[3]);
    OK(cuMemcpy3DPeerAsync(&peer, stream));
    OK(cuStreamSynchronize(stream));
    CUDA_MEMCPY2D rows = {};
    rows.srcMemoryType = CU_MEMORYTYPE_HOST;
    rows.srcHost = (char *)host + 1;
    rows.srcPitch = 7;
    rows.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    rows.dstDevice = second + 1001;
    rows.dstPitch = 5;
    rows.WidthInBytes = 3;
    rows.Height = 4;
    OK(cuMemcpy2DUnaligned(&rows));
    unsigned char bytes[18];
    OK(cuMemcpyDtoH(bytes, second + 1001, sizeof bytes));
    IS(0, std::memcmp(bytes + 15, (char *)host + 22, 3));
    rows.dstPitch = 2;
    INVALID(cuMemcpy2DUnaligned(&rows));

    // Arrays of one dimension, by bytes.
    CUDA_ARRAY_DESCRIPTOR line = {16, 0, CU_AD_FORMAT_UNSIGNED_INT32, 1}, described;
    CUarray one, two;
    OK(cuArrayCreate(&one, &line));
    OK(cuArrayCreate(&two, &line));
    OK(cuArrayGetDescriptor(&described, one));
    IS(16, described.Width);
    IS(0, described.Height);
    OK(cuMemcpyHtoA(one, 0, host, sizeof host));
    OK(cuMemcpyAtoA(two, 16, one, 32, 16));
    OK(cuMemcpyAtoH(words, two, 16, 16));
    IS(64, words[0]);
    OK(cuMemcpyDtoA(two, 0, second, 8));
    OK(cuMemcpyAtoD(second + 2048, two, 0, 32));
    OK(cuMemcpyDtoH(words, second + 2048, 32));
    IS(1, words[1]);
    IS(121, words[7]);
    OK(cuMemcpyHtoAAsync(two, 4, host + 9, 4, stream));
    OK(cuMemcpyAtoHAsync(words, two, 0, 8, stream));
    OK(cuStreamSynchronize(stream));
    IS(81, words[1]);
    INVALID(cuMemcpyAtoH(words, two, 60, 8));
    CUDA_ARRAY_MEMORY_REQUIREMENTS needs;
    ANSWERS(CUDA_ERROR_INVALID_VALUE, cuArrayGetMemoryRequirements(&needs, one, 0));

    // A reference of a texture.
    CUmodule module;
    CUfunction fetch;
    CUtexref image;
    OK(cuModuleLoadData(&module, text));
    OK(cuModuleGetFunction(&fetch, module, "fetch"));
    OK(cuModuleGetTexRef(&image, module, "image"));
    CUarray plane, bound;
    CUDA_ARRAY_DESCRIPTOR extent = {4, 4, CU_AD_FORMAT_FLOAT, 1};
    float texels[16], result;
    for (int i = 0; i < 16; i++) texels[i] = i;
    OK(cuArrayCreate(&plane, &extent));
    CUDA_MEMCPY2D into = {};
    into.srcMemoryType = CU_MEMORYTYPE_HOST;
    into.srcHost = texels;
    into.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    into.dstArray = plane;
    into.WidthInBytes = 16;
    into.Height = 4;
    OK(cuMemcpy2D(&into));
    OK(cuTexRefSetArray(image, plane, CU_TRSA_OVERRIDE_FORMAT));
    OK(cuTexRefGetArray(&bound, image));
    IS(plane, bound);
    OK(cuTexRefSetFilterMode(image, CU_TR_FILTER_MODE_LINEAR));
    OK(cuTexRefSetAddressMode(image, 0, CU_TR_ADDRESS_MODE_BORDER));
    OK(cuTexRefSetAddressMode(image, 1, CU_TR_ADDRESS_MODE_CLAMP));
    float border[4] = {50, 0, 0, 0}, bordered[4] = {}, low, high, bias;
    OK(cuTexRefSetBorderColor(image, border));
    OK(cuTexRefGetBorderColor(bordered, image));
    IS(50, bordered[0]);
    CUfilter_mode filter;
    CUaddress_mode address;
    int anisotropy;
    unsigned flags;
    OK(cuTexRefGetFilterMode(&filter, image));
    IS(CU_TR_FILTER_MODE_LINEAR, filter);
    OK(cuTexRefGetAddressMode(&address, image, 1));
    IS(CU_TR_ADDRESS_MODE_CLAMP, address);
    OK(cuTexRefSetMaxAnisotropy(image, 4));
    OK(cuTexRefGetMaxAnisotropy(&anisotropy, image));
    IS(4, anisotropy);
    OK(cuTexRefSetMipmapFilterMode(image, CU_TR_FILTER_MODE_POINT));
    OK(cuTexRefGetMipmapFilterMode(&filter, image));
    IS(CU_TR_FILTER_MODE_POINT, filter);
    OK(cuTexRefSetMipmapLevelBias(image, 0.5f));
    OK(cuTexRefGetMipmapLevelBias(&bias, image));
    IS(1, bias == 0.5f);
    OK(cuTexRefSetMipmapLevelBias(image, 0));
    OK(cuTexRefSetMipmapLevelClamp(image, 0, 3));
    OK(cuTexRefGetMipmapLevelClamp(&low, &high, image));
    IS(3, high);
    OK(cuTexRefGetFlags(&flags, image));
    IS(0, flags);
    float x = 1.0f, y = 0.5f;
    void *params[] = {&second, &x, &y};
    OK(cuLaunchKernel(fetch, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
    OK(cuMemcpyDtoH(&result, second, sizeof result));
    IS(1, result == 0.5f);
    x = -3;
    OK(cuLaunchKernel(fetch, 1, 1, 1, 1, 1, 1, 0, nullptr, params, nullptr));
    OK(cuMemcpyDtoH(&result, second, sizeof result));
    IS(50, result);
    CUtexref made;
    OK(cuTexRefCreate(&made));
    OK(cuTexRefDestroy(made));
    return done("references");
}
