// Arrays, texture objects and references of the driver API: what is refused and with which code, what descriptors come
// back, and a texture variable that a kernel reads.
//> arrays: without texels INVALID_VALUE, a volume without rows INVALID_VALUE, 3 channels INVALID_VALUE, no format INVALID_VALUE
//> lines: 131072 SUCCESS, 131073 INVALID_VALUE, to write to 32768 SUCCESS, 32769 INVALID_VALUE
//> volumes: 16385 INVALID_VALUE, 32768 deep SUCCESS, and to write to INVALID_VALUE
//> layers: none INVALID_VALUE, 2048 SUCCESS, 2049 INVALID_VALUE
//> cubes: 5 faces INVALID_VALUE, no squares INVALID_VALUE, 12 faces INVALID_VALUE, in layers SUCCESS, 8 INVALID_VALUE
//> gathers: planes SUCCESS, lines INVALID_VALUE, 32769 wide INVALID_VALUE
//> too much: OUT_OF_MEMORY
//> described: 4 4 6, format 1, 1 channels, flags 4
//> levels: 4 of 99, one of 0; 8x6 4x3 2x1, level 3 INVALID_VALUE, the same handle again 1
//> queries: plane INVALID_VALUE, sparse INVALID_VALUE, requirements INVALID_VALUE
//> rows of an array: whole SUCCESS, too long INVALID_VALUE, parts of texels SUCCESS, on to the next row INVALID_VALUE
//> the line holds 00 01 00 01 02 03 06 07
//> copies: too wide INVALID_VALUE, too high INVALID_VALUE, too deep INVALID_VALUE, a level INVALID_VALUE, null INVALID_VALUE, none SUCCESS
//> textures: null INVALID_VALUE, address mode INVALID_VALUE, filter INVALID_VALUE, seamless INVALID_VALUE, reserved INVALID_VALUE
//> memory: SUCCESS, misaligned INVALID_VALUE, a pitch of 80 INVALID_VALUE, 65001 rows INVALID_VALUE
//> views: SUCCESS, as float SUCCESS, as bytes INVALID_VALUE, of other extents INVALID_VALUE, of layers SUCCESS, of no layers INVALID_VALUE
//> described again: anisotropy 40, bias 100, the same array 1
//> after destruction: INVALID_VALUE
//> surfaces: SUCCESS, of a mipmapped array INVALID_VALUE, of memory INVALID_VALUE
//> references: SUCCESS, unknown NOT_FOUND, a surface NOT_FOUND, another variable NOT_FOUND
//> at first: address 1 1 1, format 0x20 of 1, flags 0
//> kernel: 100 101 102 103, then 7 8 9 from memory 4 bytes on
//> surface reference: SUCCESS, not to write to INVALID_VALUE
//> a destroyed array: CONTEXT_IS_DESTROYED, and null INVALID_HANDLE
//> a texture outlives its array's handle: SUCCESS
#include <cuda.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>

// References are deprecated, and still there.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static const char *name(CUresult result) {
    const char *text = nullptr;
    if (cuGetErrorName(result, &text) != CUDA_SUCCESS) return "?";
    const char *error = std::strstr(text, "ERROR_");
    return error ? error + 6 : text + 5;
}

#define CHECK(call)                                                                  \
    do {                                                                             \
        CUresult result_ = (call);                                                   \
        if (result_ != CUDA_SUCCESS) {                                               \
            std::printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, name(result_)); \
            std::exit(EXIT_FAILURE);                                                 \
        }                                                                            \
    } while (0)

static const unsigned U8 = 1, U16 = 2, U32 = 3, S32 = 10, F32 = 32;
static const unsigned LAYERED = 1, SURFACE = 2, CUBE = 4, GATHER = 8;

static CUresult make(CUarray *array, size_t width, size_t height, size_t depth, unsigned format, unsigned channels, unsigned flags) {
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {width, height, depth, (CUarray_format)format, channels, flags};
    return cuArray3DCreate(array, &descriptor);
}

// Whether such an array can be made.
static const char *tried(size_t width, size_t height, size_t depth, unsigned format, unsigned channels, unsigned flags) {
    CUarray array;
    CUresult result = make(&array, width, height, depth, format, channels, flags);
    if (result == CUDA_SUCCESS) CHECK(cuArrayDestroy(array));
    return name(result);
}

static CUDA_RESOURCE_DESC of(CUresourcetype type, void *handle) {
    CUDA_RESOURCE_DESC resource;
    std::memset(&resource, 0, sizeof resource);
    resource.resType = type;
    resource.res.array.hArray = (CUarray)handle;
    return resource;
}

static CUDA_RESOURCE_DESC line_at(CUdeviceptr at, size_t bytes) {
    CUDA_RESOURCE_DESC resource = of(CU_RESOURCE_TYPE_LINEAR, nullptr);
    resource.res.linear.devPtr = at;
    resource.res.linear.format = (CUarray_format)F32;
    resource.res.linear.numChannels = 1;
    resource.res.linear.sizeInBytes = bytes;
    return resource;
}

static CUDA_RESOURCE_DESC rows_at(CUdeviceptr at, size_t height, size_t pitch) {
    CUDA_RESOURCE_DESC resource = of(CU_RESOURCE_TYPE_PITCH2D, nullptr);
    resource.res.pitch2D = {at, (CUarray_format)F32, 1, 16, height, pitch};
    return resource;
}

static CUDA_TEXTURE_DESC plain() {
    CUDA_TEXTURE_DESC texture;
    std::memset(&texture, 0, sizeof texture);
    for (auto &mode : texture.addressMode) mode = CU_TR_ADDRESS_MODE_CLAMP;
    return texture;
}

static const char *textured(const CUDA_RESOURCE_DESC &resource, const CUDA_TEXTURE_DESC &texture, const CUDA_RESOURCE_VIEW_DESC *view = nullptr) {
    CUtexObject object;
    CUresult result = cuTexObjectCreate(&object, &resource, &texture, view);
    if (result == CUDA_SUCCESS) CHECK(cuTexObjectDestroy(object));
    return name(result);
}

static const char *viewed(CUarray array, unsigned format, size_t width, size_t height, size_t depth, unsigned layer, unsigned last) {
    CUDA_RESOURCE_VIEW_DESC view;
    std::memset(&view, 0, sizeof view);
    view.format = (CUresourceViewFormat)format;
    view.width = width, view.height = height, view.depth = depth;
    view.firstLayer = layer, view.lastLayer = last;
    return textured(of(CU_RESOURCE_TYPE_ARRAY, array), plain(), &view);
}

static const char *surfaced(const CUDA_RESOURCE_DESC &resource) {
    CUsurfObject object;
    CUresult result = cuSurfObjectCreate(&object, &resource);
    if (result == CUDA_SUCCESS) CHECK(cuSurfObjectDestroy(object));
    return name(result);
}

template <class Change> static const char *copied(CUarray array, Change change) {
    static char host[4096];
    CUDA_MEMCPY3D copy;
    std::memset(&copy, 0, sizeof copy);
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = host;
    copy.srcPitch = 64, copy.srcHeight = 4;
    copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
    copy.dstArray = array;
    copy.WidthInBytes = 32, copy.Height = 4, copy.Depth = 1;
    change(copy);
    return name(cuMemcpy3D(&copy));
}

// out[i] = the texel of number i
static const char *ptx = R"(
.version 7.5
.target sm_75
.address_size 64

.global .texref texels;
.global .surfref cells;
.global .u32 other;

.visible .entry fetch(.param .u64 out)
{
    .reg .b32 %r<6>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [out];
    mov.u32 %r1, %tid.x;
    tex.1d.v4.s32.s32 {%r2, %r3, %r4, %r5}, [texels, {%r1}];
    mul.wide.u32 %rd2, %r1, 4;
    add.s64 %rd1, %rd1, %rd2;
    st.global.u32 [%rd1], %r2;
    ret;
}
)";

static void fetch(CUfunction kernel, CUdeviceptr out, int (&got)[4]) {
    void *parameters[] = {&out};
    CHECK(cuLaunchKernel(kernel, 1, 1, 1, 4, 1, 1, 0, nullptr, parameters, nullptr));
    CHECK(cuMemcpyDtoH(got, out, sizeof got));
}

static void arrays() {
    std::printf("arrays: without texels %s, a volume without rows %s, 3 channels %s, no format %s\n", tried(0, 0, 0, U8, 1, 0),
                tried(4, 0, 4, U8, 1, 0), tried(4, 0, 0, U8, 3, 0), tried(4, 0, 0, 5, 1, 0));
    std::printf("lines: 131072 %s, 131073 %s, to write to 32768 %s, 32769 %s\n", tried(131072, 0, 0, U8, 1, 0),
                tried(131073, 0, 0, U8, 1, 0), tried(32768, 0, 0, U8, 1, SURFACE), tried(32769, 0, 0, U8, 1, SURFACE));
    std::printf("volumes: 16385 %s, 32768 deep %s, and to write to %s\n", tried(16385, 1, 1, U8, 1, 0),
                tried(1, 1, 32768, U8, 1, 0), tried(1, 1, 32768, U8, 1, SURFACE));
    std::printf("layers: none %s, 2048 %s, 2049 %s\n", tried(4, 4, 0, U8, 1, LAYERED), tried(4, 0, 2048, U8, 1, LAYERED),
                tried(4, 0, 2049, U8, 1, LAYERED));
    std::printf("cubes: 5 faces %s, no squares %s, 12 faces %s, in layers %s, 8 %s\n", tried(4, 4, 5, U8, 1, CUBE),
                tried(4, 8, 6, U8, 1, CUBE), tried(4, 4, 12, U8, 1, CUBE), tried(4, 4, 12, U8, 1, CUBE | LAYERED),
                tried(4, 4, 8, U8, 1, CUBE | LAYERED));
    std::printf("gathers: planes %s, lines %s, 32769 wide %s\n", tried(4, 4, 0, U8, 1, GATHER), tried(4, 0, 0, U8, 1, GATHER),
                tried(32769, 1, 0, U8, 1, GATHER));
    std::printf("too much: %s\n", tried(16384, 16384, 16384, U32, 4, 0));
    CUarray cube;
    CUDA_ARRAY3D_DESCRIPTOR descriptor;
    CHECK(make(&cube, 4, 4, 6, U8, 1, CUBE));
    CHECK(cuArray3DGetDescriptor(&descriptor, cube));
    std::printf("described: %zu %zu %zu, format %d, %u channels, flags %u\n", descriptor.Width, descriptor.Height,
                descriptor.Depth, descriptor.Format, descriptor.NumChannels, descriptor.Flags);
    CHECK(cuArrayDestroy(cube));
}

static unsigned levels_of(CUmipmappedArray array) {
    unsigned count = 0;
    for (CUarray level; cuMipmappedArrayGetLevel(&level, array, count) == CUDA_SUCCESS;) count++;
    return count;
}

static CUmipmappedArray levels() {
    CUDA_ARRAY3D_DESCRIPTOR descriptor = {8, 8, 0, (CUarray_format)F32, 1, 0};
    CUmipmappedArray many, one, array;
    CHECK(cuMipmappedArrayCreate(&many, &descriptor, 99));
    CHECK(cuMipmappedArrayCreate(&one, &descriptor, 0));
    descriptor.Height = 6;
    descriptor.Flags = SURFACE;
    CHECK(cuMipmappedArrayCreate(&array, &descriptor, 3));
    std::printf("levels: %u of 99, %s of 0;", levels_of(many), levels_of(one) == 1 ? "one" : "not one");
    CUarray level, again;
    for (unsigned n = 0; n < 3; n++) {
        CHECK(cuMipmappedArrayGetLevel(&level, array, n));
        CHECK(cuArray3DGetDescriptor(&descriptor, level));
        std::printf(" %zux%zu%s", descriptor.Width, descriptor.Height, n < 2 ? "" : ",");
    }
    CHECK(cuMipmappedArrayGetLevel(&again, array, 2));
    std::printf(" level 3 %s, the same handle again %d\n", name(cuMipmappedArrayGetLevel(&again, array, 3)), again == level);
    CHECK(cuMipmappedArrayDestroy(many));
    CHECK(cuMipmappedArrayDestroy(one));
    return array;
}

int main() {
    CUdevice device;
    CUcontext context;
    CUdeviceptr memory;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuMemAlloc(&memory, 1 << 20));
    arrays();
    CUmipmappedArray mipmapped = levels();

    CUarray line, plane, volume, layers;
    CHECK(make(&line, 8, 0, 0, F32, 1, 0));
    CHECK(make(&plane, 8, 4, 0, U8, 4, SURFACE | GATHER));
    CHECK(make(&volume, 8, 4, 2, U16, 2, 0));
    CHECK(make(&layers, 8, 4, 3, S32, 1, LAYERED));
    CUDA_ARRAY_SPARSE_PROPERTIES sparse;
    CUDA_ARRAY_MEMORY_REQUIREMENTS needed;
    CUarray part;
    std::printf("queries: plane %s, sparse %s, requirements %s\n", name(cuArrayGetPlane(&part, plane, 0)),
                name(cuArrayGetSparseProperties(&sparse, plane)), name(cuArrayGetMemoryRequirements(&needed, plane, device)));

    unsigned char host[64], back[64];
    for (int i = 0; i < 64; i++) host[i] = (unsigned char)i;
    CUresult whole = cuMemcpyHtoA(line, 0, host, 32), beyond = cuMemcpyHtoA(line, 0, host, 33);
    CUresult split = cuMemcpyHtoA(line, 2, host, 4), next = cuMemcpyHtoA(plane, 16, host, 32);
    std::printf("rows of an array: whole %s, too long %s, parts of texels %s, on to the next row %s\n", name(whole), name(beyond),
                name(split), name(next));
    CHECK(cuMemcpyAtoH(back, line, 0, 8));
    std::printf("the line holds");
    for (int i = 0; i < 8; i++) std::printf(" %02x", back[i]);
    std::printf("\ncopies: too wide %s, too high %s, too deep %s, a level %s, null %s, none %s\n",
                copied(plane, [](CUDA_MEMCPY3D &copy) { copy.dstXInBytes = 4; }),
                copied(plane, [](CUDA_MEMCPY3D &copy) { copy.dstY = 1; }),
                copied(volume, [](CUDA_MEMCPY3D &copy) { copy.Depth = 3; }),
                copied(plane, [](CUDA_MEMCPY3D &copy) { copy.dstLOD = 1; }),
                copied(nullptr, [](CUDA_MEMCPY3D &) {}),
                copied(plane, [](CUDA_MEMCPY3D &copy) { copy.WidthInBytes = 0, copy.dstXInBytes = 99; }));

    CUDA_RESOURCE_DESC resource = of(CU_RESOURCE_TYPE_ARRAY, plane);
    CUDA_TEXTURE_DESC mode = plain(), filter = plain(), seamless = plain(), reserved = plain();
    mode.addressMode[1] = (CUaddress_mode)4;
    filter.filterMode = (CUfilter_mode)2;
    seamless.flags = CU_TRSF_SEAMLESS_CUBEMAP;
    reserved.reserved[3] = 1;
    std::printf("textures: null %s, address mode %s, filter %s, seamless %s, reserved %s\n",
                textured(of(CU_RESOURCE_TYPE_ARRAY, nullptr), plain()), textured(resource, mode), textured(resource, filter),
                textured(resource, seamless), textured(resource, reserved));
    std::printf("memory: %s, misaligned %s, a pitch of 80 %s, 65001 rows %s\n", textured(line_at(memory, 64), plain()),
                textured(line_at(memory + 32, 64), plain()), textured(rows_at(memory, 4, 80), plain()),
                textured(rows_at(memory, 65001, 64), plain()));
    std::printf("views: %s, as float %s, as bytes %s, of other extents %s, of layers %s, of no layers %s\n",
                viewed(plane, CU_RES_VIEW_FORMAT_UINT_4X8, 8, 4, 0, 0, 0), viewed(plane, CU_RES_VIEW_FORMAT_FLOAT_1X32, 8, 4, 0, 0, 0),
                viewed(plane, CU_RES_VIEW_FORMAT_UINT_2X8, 8, 4, 0, 0, 0), viewed(plane, CU_RES_VIEW_FORMAT_UINT_4X8, 4, 4, 0, 0, 0),
                viewed(layers, CU_RES_VIEW_FORMAT_SINT_1X32, 8, 4, 3, 1, 2), viewed(plane, CU_RES_VIEW_FORMAT_UINT_4X8, 8, 4, 0, 0, 1));

    CUtexObject texture;
    CUDA_TEXTURE_DESC how = plain(), described;
    CUDA_RESOURCE_DESC found;
    how.maxAnisotropy = 40;
    how.mipmapLevelBias = 100;
    CHECK(cuTexObjectCreate(&texture, &resource, &how, nullptr));
    CHECK(cuTexObjectGetTextureDesc(&described, texture));
    CHECK(cuTexObjectGetResourceDesc(&found, texture));
    std::printf("described again: anisotropy %u, bias %g, the same array %d\n", described.maxAnisotropy,
                described.mipmapLevelBias, found.res.array.hArray == plane);
    CHECK(cuTexObjectDestroy(texture));
    std::printf("after destruction: %s\n", name(cuTexObjectGetResourceDesc(&found, texture)));
    std::printf("surfaces: %s, of a mipmapped array %s, of memory %s\n", surfaced(resource),
                surfaced(of(CU_RESOURCE_TYPE_MIPMAPPED_ARRAY, mipmapped)), surfaced(line_at(memory, 64)));

    CUmodule module;
    CUfunction kernel;
    CUtexref texels, none;
    CUsurfref cells;
    CHECK(cuModuleLoadData(&module, ptx));
    CHECK(cuModuleGetFunction(&kernel, module, "fetch"));
    CUresult known = cuModuleGetTexRef(&texels, module, "texels");
    std::printf("references: %s, unknown %s, a surface %s, another variable %s\n", name(known),
                name(cuModuleGetTexRef(&none, module, "nothing")), name(cuModuleGetTexRef(&none, module, "cells")),
                name(cuModuleGetTexRef(&none, module, "other")));
    CUaddress_mode modes[3];
    CUarray_format format;
    int channels;
    unsigned flags;
    for (int n = 0; n < 3; n++) CHECK(cuTexRefGetAddressMode(&modes[n], texels, n));
    CHECK(cuTexRefGetFormat(&format, &channels, texels));
    CHECK(cuTexRefGetFlags(&flags, texels));
    std::printf("at first: address %d %d %d, format %#x of %d, flags %u\n", modes[0], modes[1], modes[2], format, channels, flags);

    int numbers[256] = {0, 7, 8, 9}, got[4], then[4];
    CUarray numbered;
    size_t offset;
    CHECK(make(&numbered, 4, 0, 0, S32, 1, 0));
    int hundreds[4] = {100, 101, 102, 103};
    CHECK(cuMemcpyHtoA(numbered, 0, hundreds, sizeof hundreds));
    CHECK(cuMemcpyHtoD(memory, numbers, sizeof numbers));
    CHECK(cuTexRefSetFlags(texels, CU_TRSF_READ_AS_INTEGER));
    // A kernel fetches by number from memory only; an array's texels are at the halves.
    CHECK(cuMemcpyAtoD(memory + 4096, numbered, 0, sizeof hundreds));
    CHECK(cuTexRefSetFormat(texels, (CUarray_format)S32, 1));
    CHECK(cuTexRefSetAddress(&offset, texels, memory + 4096, sizeof hundreds));
    fetch(kernel, memory + 8192, got);
    CHECK(cuTexRefSetAddress(&offset, texels, memory + 4, sizeof numbers - 4));
    fetch(kernel, memory + 8192, then);
    std::printf("kernel: %d %d %d %d, then %d %d %d from memory %zu bytes on\n", got[0], got[1], got[2], got[3], then[1],
                then[2], then[3], offset);
    CHECK(cuModuleGetSurfRef(&cells, module, "cells"));
    std::printf("surface reference: %s, not to write to %s\n", name(cuSurfRefSetArray(cells, plane, 0)),
                name(cuSurfRefSetArray(cells, line, 0)));

    CHECK(cuTexObjectCreate(&texture, &resource, &how, nullptr));
    CHECK(cuArrayDestroy(plane));
    std::printf("a destroyed array: %s, and null %s\n", name(cuArrayDestroy(plane)), name(cuArrayDestroy(nullptr)));
    std::printf("a texture outlives its array's handle: %s\n", name(cuTexObjectGetResourceDesc(&found, texture)));
    CHECK(cuTexObjectDestroy(texture));
    CHECK(cuMipmappedArrayDestroy(mipmapped));
}
