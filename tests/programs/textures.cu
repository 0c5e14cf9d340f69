// Textures and surfaces by way of the runtime library: each way to make one, and reads whose values follow from what the
// texels hold.
//> line: 10 11 12 13, beyond 0
//> plane: clamp 0 3, wrap 1, mirror 1, border 7
//> between: 0.5 at a quarter 0.25, of both 2.5
//> bytes as fractions: 0 0.2 1, as numbers 0 51 255
//> pitched: 0 1 2 10 11 12
//> volume: 0 1 2 4 7, in the middle 3.5
//> layers: 0 100 200, between texels 100.5
//> cube: 0 1 2 3 4 5
//> levels: 1 2 3, between 1.5, clamped 2
//> gathered: 4 5 1 0
//> surface: 0 2 4 6 8 10 12 14
//> surface of a volume: 0 1 2 3 4 5 6 7
//> copied to and fro: same
//> an array is 8 by 4 of 4 channels
//> half: 1 0.5 0.25 2
#include "check.h"
#include <cuda_fp16.h>
#include <vector>

template <class T> static cudaArray_t array_of(const std::vector<T> &texels, int width, int height, int depth, unsigned flags) {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<T>();
    cudaArray_t array;
    CHECK(cudaMalloc3DArray(&array, &format, make_cudaExtent(width, height, depth), flags));
    cudaMemcpy3DParms copy = {};
    int rows = height ? height : 1, slices = depth ? depth : 1;
    copy.srcPtr = make_cudaPitchedPtr((void *)texels.data(), width * sizeof(T), width, rows);
    copy.dstArray = array;
    copy.extent = make_cudaExtent(width, rows, slices);
    copy.kind = cudaMemcpyHostToDevice;
    CHECK(cudaMemcpy3D(&copy));
    return array;
}

static cudaTextureDesc reading(cudaTextureAddressMode mode, cudaTextureFilterMode filter, bool normalized) {
    cudaTextureDesc how = {};
    for (auto &address : how.addressMode) address = mode;
    how.filterMode = filter;
    how.readMode = cudaReadModeElementType;
    how.normalizedCoords = normalized;
    return how;
}

static cudaTextureObject_t texture_of(cudaArray_t array, const cudaTextureDesc &how) {
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeArray;
    what.res.array.array = array;
    cudaTextureObject_t texture;
    CHECK(cudaCreateTextureObject(&texture, &what, &how, nullptr));
    return texture;
}

static cudaSurfaceObject_t surface_of(cudaArray_t array) {
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeArray;
    what.res.array.array = array;
    cudaSurfaceObject_t surface;
    CHECK(cudaCreateSurfaceObject(&surface, &what));
    return surface;
}

enum Kind { Line, Plane, PlaneBytes, Volume, Layers, Cube, Levels, Gather, Halves };

__global__ void read(Kind kind, cudaTextureObject_t texture, const float4 *at, float *out, int count) {
    int i = threadIdx.x;
    if (i >= count) return;
    float4 p = at[i];
    switch (kind) {
    case Line: out[i] = tex1Dfetch<float>(texture, (int)p.x); break;
    case Plane: out[i] = tex2D<float>(texture, p.x, p.y); break;
    case PlaneBytes: out[i] = tex2D<unsigned char>(texture, p.x, p.y); break;
    case Volume: out[i] = tex3D<float>(texture, p.x, p.y, p.z); break;
    case Layers: out[i] = tex2DLayered<float>(texture, p.x, p.y, (int)p.z); break;
    case Cube: out[i] = texCubemap<float>(texture, p.x, p.y, p.z); break;
    case Levels: out[i] = tex2DLod<float>(texture, p.x, p.y, p.z); break;
    case Gather: {
        float4 four = tex2Dgather<float4>(texture, p.x, p.y, 0);
        out[4 * i] = four.x, out[4 * i + 1] = four.y, out[4 * i + 2] = four.z, out[4 * i + 3] = four.w;
        break;
    }
    case Halves: out[i] = tex1D<float>(texture, p.x); break;
    }
}

static std::vector<float> reads(Kind kind, cudaTextureObject_t texture, const std::vector<float4> &at, int results = 1) {
    float4 *places;
    float *out;
    std::vector<float> values(at.size() * results);
    CHECK(cudaMalloc(&places, at.size() * sizeof(float4)));
    CHECK(cudaMalloc(&out, values.size() * sizeof(float)));
    CHECK(cudaMemcpy(places, at.data(), at.size() * sizeof(float4), cudaMemcpyHostToDevice));
    read<<<1, 32>>>(kind, texture, places, out, (int)at.size());
    CHECK(cudaGetLastError());
    CHECK(cudaMemcpy(values.data(), out, values.size() * sizeof(float), cudaMemcpyDeviceToHost));
    CHECK(cudaFree(places));
    CHECK(cudaFree(out));
    return values;
}

__global__ void fill_plane(cudaSurfaceObject_t surface, int width) {
    surf2Dwrite((float)(2 * (threadIdx.y * width + threadIdx.x)), surface, threadIdx.x * sizeof(float), threadIdx.y);
}

__global__ void fill_volume(cudaSurfaceObject_t surface) {
    int value = threadIdx.x + 2 * threadIdx.y + 4 * threadIdx.z;
    surf3Dwrite(value, surface, threadIdx.x * sizeof(int), threadIdx.y, threadIdx.z);
}

static void line() {
    std::vector<float> host = {10, 11, 12, 13};
    float *device;
    CHECK(cudaMalloc(&device, host.size() * sizeof(float)));
    CHECK(cudaMemcpy(device, host.data(), host.size() * sizeof(float), cudaMemcpyHostToDevice));
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeLinear;
    what.res.linear.devPtr = device;
    what.res.linear.desc = cudaCreateChannelDesc<float>();
    what.res.linear.sizeInBytes = host.size() * sizeof(float);
    cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModePoint, false);
    cudaTextureObject_t texture;
    CHECK(cudaCreateTextureObject(&texture, &what, &how, nullptr));
    auto got = reads(Line, texture, {{0}, {1}, {2}, {3}, {4}});
    std::printf("line: %g %g %g %g, beyond %g\n", got[0], got[1], got[2], got[3], got[4]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(device));
}

static void plane() {
    cudaArray_t array = array_of<float>({0, 1, 2, 3, 4, 5, 6, 7}, 4, 2, 0, cudaArrayTextureGather);
    auto clamp = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto wrap = texture_of(array, reading(cudaAddressModeWrap, cudaFilterModePoint, true));
    auto mirror = texture_of(array, reading(cudaAddressModeMirror, cudaFilterModePoint, true));
    cudaTextureDesc how = reading(cudaAddressModeBorder, cudaFilterModePoint, false);
    how.borderColor[0] = 7;
    auto border = texture_of(array, how);
    auto got = reads(Plane, clamp, {{-5, 0.5f}, {9, 0.5f}});
    std::printf("plane: clamp %g %g, wrap %g, mirror %g, border %g\n", got[0], got[1],
                reads(Plane, wrap, {{1.375f, 0.25f}})[0], reads(Plane, mirror, {{-0.375f, 0.25f}})[0],
                reads(Plane, border, {{-1, 0.5f}})[0]);
    auto mixed = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModeLinear, false));
    got = reads(Plane, mixed, {{1, 0.5f}, {0.75f, 0.5f}, {1, 1}});
    std::printf("between: %g at a quarter %g, of both %g\n", got[0], got[1], got[2]);
    for (auto texture : {clamp, wrap, mirror, border, mixed}) CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(array));
}

static void bytes() {
    cudaArray_t array = array_of<unsigned char>({0, 51, 255, 1}, 4, 1, 0, 0);
    cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModePoint, false);
    auto numbers = texture_of(array, how);
    how.readMode = cudaReadModeNormalizedFloat;
    auto fractions = texture_of(array, how);
    std::vector<float4> at = {{0.5f, 0.5f}, {1.5f, 0.5f}, {2.5f, 0.5f}};
    auto f = reads(Plane, fractions, at), n = reads(PlaneBytes, numbers, at);
    std::printf("bytes as fractions: %g %g %g, as numbers %g %g %g\n", f[0], f[1], f[2], n[0], n[1], n[2]);
    CHECK(cudaDestroyTextureObject(numbers));
    CHECK(cudaDestroyTextureObject(fractions));
    CHECK(cudaFreeArray(array));
}

static void pitched() {
    float host[2][3] = {{0, 1, 2}, {10, 11, 12}};
    void *device;
    size_t pitch;
    CHECK(cudaMallocPitch(&device, &pitch, sizeof host[0], 2));
    CHECK(cudaMemcpy2D(device, pitch, host, sizeof host[0], sizeof host[0], 2, cudaMemcpyHostToDevice));
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypePitch2D;
    what.res.pitch2D.devPtr = device;
    what.res.pitch2D.desc = cudaCreateChannelDesc<float>();
    what.res.pitch2D.width = 3;
    what.res.pitch2D.height = 2;
    what.res.pitch2D.pitchInBytes = pitch;
    cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModePoint, false);
    cudaTextureObject_t texture;
    CHECK(cudaCreateTextureObject(&texture, &what, &how, nullptr));
    auto got = reads(Plane, texture, {{0.5f, 0.5f}, {1.5f, 0.5f}, {2.5f, 0.5f}, {0.5f, 1.5f}, {1.5f, 1.5f}, {2.5f, 1.5f}});
    std::printf("pitched: %g %g %g %g %g %g\n", got[0], got[1], got[2], got[3], got[4], got[5]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFree(device));
}

static void volume() {
    cudaArray_t array = array_of<float>({0, 1, 2, 3, 4, 5, 6, 7}, 2, 2, 2, 0);
    auto nearest = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto mixed = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModeLinear, true));
    auto got = reads(Volume, nearest, {{0.5f, 0.5f, 0.5f}, {1.5f, 0.5f, 0.5f}, {0.5f, 1.5f, 0.5f}, {0.5f, 0.5f, 1.5f}, {1.5f, 1.5f, 1.5f}});
    std::printf("volume: %g %g %g %g %g, in the middle %g\n", got[0], got[1], got[2], got[3], got[4],
                reads(Volume, mixed, {{0.5f, 0.5f, 0.5f}})[0]);
    CHECK(cudaDestroyTextureObject(nearest));
    CHECK(cudaDestroyTextureObject(mixed));
    CHECK(cudaFreeArray(array));
}

static void layers() {
    cudaArray_t array = array_of<float>({0, 1, 100, 101, 200, 201}, 2, 1, 3, cudaArrayLayered);
    auto nearest = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto mixed = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModeLinear, false));
    auto got = reads(Layers, nearest, {{0.5f, 0.5f, 0}, {0.5f, 0.5f, 1}, {0.5f, 0.5f, 2}});
    std::printf("layers: %g %g %g, between texels %g\n", got[0], got[1], got[2], reads(Layers, mixed, {{1, 0.5f, 1}})[0]);
    CHECK(cudaDestroyTextureObject(nearest));
    CHECK(cudaDestroyTextureObject(mixed));
    CHECK(cudaFreeArray(array));
}

static void cube() {
    std::vector<float> faces;
    for (int face = 0; face < 6; face++) faces.insert(faces.end(), 4, (float)face);
    cudaArray_t array = array_of<float>(faces, 2, 2, 6, cudaArrayCubemap);
    auto texture = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, true));
    auto got = reads(Cube, texture, {{1, 0, 0}, {-1, 0, 0}, {0, 1, 0}, {0, -1, 0}, {0, 0, 1}, {0, 0, -1}});
    std::printf("cube: %g %g %g %g %g %g\n", got[0], got[1], got[2], got[3], got[4], got[5]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(array));
}

static void levels() {
    cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
    cudaMipmappedArray_t array;
    CHECK(cudaMallocMipmappedArray(&array, &format, make_cudaExtent(4, 4, 0), 3));
    for (int level = 0; level < 3; level++) {
        int side = 4 >> level;
        std::vector<float> texels(side * side, level + 1.0f);
        cudaArray_t one;
        CHECK(cudaGetMipmappedArrayLevel(&one, array, level));
        CHECK(cudaMemcpy2DToArray(one, 0, 0, texels.data(), side * sizeof(float), side * sizeof(float), side, cudaMemcpyHostToDevice));
    }
    cudaResourceDesc what = {};
    what.resType = cudaResourceTypeMipmappedArray;
    what.res.mipmap.mipmap = array;
    cudaTextureDesc how = reading(cudaAddressModeClamp, cudaFilterModeLinear, true);
    how.mipmapFilterMode = cudaFilterModeLinear;
    how.maxMipmapLevelClamp = 2;
    cudaTextureObject_t texture, clamped;
    CHECK(cudaCreateTextureObject(&texture, &what, &how, nullptr));
    how.maxMipmapLevelClamp = 1;
    CHECK(cudaCreateTextureObject(&clamped, &what, &how, nullptr));
    auto got = reads(Levels, texture, {{0.5f, 0.5f, 0}, {0.5f, 0.5f, 1}, {0.5f, 0.5f, 2}, {0.5f, 0.5f, 0.5f}});
    std::printf("levels: %g %g %g, between %g, clamped %g\n", got[0], got[1], got[2], got[3],
                reads(Levels, clamped, {{0.5f, 0.5f, 2}})[0]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaDestroyTextureObject(clamped));
    CHECK(cudaFreeMipmappedArray(array));
}

static void gather() {
    cudaArray_t array = array_of<float>({0, 1, 2, 3, 4, 5, 6, 7}, 4, 2, 0, cudaArrayTextureGather);
    auto texture = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto got = reads(Gather, texture, {{1, 1}}, 4);
    std::printf("gathered: %g %g %g %g\n", got[0], got[1], got[2], got[3]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(array));
}

static void surfaces() {
    cudaArray_t array = array_of<float>(std::vector<float>(8), 4, 2, 0, cudaArraySurfaceLoadStore);
    auto surface = surface_of(array);
    fill_plane<<<1, dim3(4, 2)>>>(surface, 4);
    float host[8];
    CHECK(cudaMemcpy2DFromArray(host, 16, array, 0, 0, 16, 2, cudaMemcpyDeviceToHost));
    std::printf("surface:");
    for (float value : host) std::printf(" %g", value);
    CHECK(cudaDestroySurfaceObject(surface));
    CHECK(cudaFreeArray(array));
    cudaArray_t cells = array_of<int>(std::vector<int>(8), 2, 2, 2, cudaArraySurfaceLoadStore);
    surface = surface_of(cells);
    fill_volume<<<1, dim3(2, 2, 2)>>>(surface);
    int numbers[8];
    cudaMemcpy3DParms copy = {};
    copy.srcArray = cells;
    copy.dstPtr = make_cudaPitchedPtr(numbers, 8, 2, 2);
    copy.extent = make_cudaExtent(2, 2, 2);
    copy.kind = cudaMemcpyDeviceToHost;
    CHECK(cudaMemcpy3D(&copy));
    std::printf("\nsurface of a volume:");
    for (int value : numbers) std::printf(" %d", value);
    std::printf("\n");
    CHECK(cudaDestroySurfaceObject(surface));
    CHECK(cudaFreeArray(cells));
}

// Through arrays, device memory and streams, and parts of rows.
static void copies() {
    std::vector<unsigned char> in(8 * 4 * 4), out(in.size());
    for (size_t i = 0; i < in.size(); i++) in[i] = (unsigned char)(37 * i + 5);
    cudaChannelFormatDesc format = cudaCreateChannelDesc<uchar4>(), found;
    cudaArray_t first, second;
    CHECK(cudaMallocArray(&first, &format, 8, 4));
    CHECK(cudaMallocArray(&second, &format, 8, 4));
    cudaStream_t stream;
    CHECK(cudaStreamCreate(&stream));
    CHECK(cudaMemcpy2DToArrayAsync(first, 0, 0, in.data(), 32, 16, 4, cudaMemcpyHostToDevice, stream));
    CHECK(cudaMemcpy2DToArrayAsync(first, 16, 0, in.data() + 16, 32, 16, 4, cudaMemcpyHostToDevice, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaMemcpy2DArrayToArray(second, 0, 0, first, 0, 0, 32, 4, cudaMemcpyDeviceToDevice));
    unsigned char *device;
    CHECK(cudaMalloc(&device, in.size()));
    CHECK(cudaMemcpy2DFromArrayAsync(device, 32, second, 0, 0, 32, 4, cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaMemcpyAsync(out.data(), device, out.size(), cudaMemcpyDeviceToHost, stream));
    CHECK(cudaStreamSynchronize(stream));
    std::printf("copied to and fro: %s\n", in == out ? "same" : "different");
    cudaExtent extent;
    unsigned flags;
    CHECK(cudaArrayGetInfo(&found, &extent, &flags, second));
    std::printf("an array is %zu by %zu of %d channels\n", extent.width, extent.height,
                (found.x > 0) + (found.y > 0) + (found.z > 0) + (found.w > 0));
    CHECK(cudaFree(device));
    CHECK(cudaFreeArray(first));
    CHECK(cudaFreeArray(second));
    CHECK(cudaStreamDestroy(stream));
}

static void halves() {
    std::vector<__half> texels;
    for (float value : {1.0f, 0.5f, 0.25f, 2.0f}) texels.push_back(__float2half(value));
    cudaChannelFormatDesc format = cudaCreateChannelDescHalf();
    cudaArray_t array;
    CHECK(cudaMallocArray(&array, &format, 4));
    CHECK(cudaMemcpy2DToArray(array, 0, 0, texels.data(), 8, 8, 1, cudaMemcpyHostToDevice));
    auto texture = texture_of(array, reading(cudaAddressModeClamp, cudaFilterModePoint, false));
    auto got = reads(Halves, texture, {{0.5f}, {1.5f}, {2.5f}, {3.5f}});
    std::printf("half: %g %g %g %g\n", got[0], got[1], got[2], got[3]);
    CHECK(cudaDestroyTextureObject(texture));
    CHECK(cudaFreeArray(array));
}

int main() {
    line();
    plane();
    bytes();
    pitched();
    volume();
    layers();
    cube();
    levels();
    gather();
    surfaces();
    copies();
    halves();
}
