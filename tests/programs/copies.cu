// Copies and fills with what each side may be, and which shapes are none; many copies in one call.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> copies: 277 answers
#include <cstring>
#include <vector>
#include <cuda.h>
#include "driver.h"

static const size_t M = 1 << 20;
static CUdeviceptr D, E, P, G;
static char *host;
static CUstream stream;

typedef CUresult (*OldBatch)(CUdeviceptr *, CUdeviceptr *, size_t *, size_t, CUmemcpyAttributes *, size_t *, size_t, size_t *, CUstream);
typedef CUresult (*OldVolumes)(size_t, CUDA_MEMCPY3D_BATCH_OP *, size_t *, unsigned long long, CUstream);

// The same, now and in a stream.
#define BOTH(want, now, later)                                                                     \
    do {                                                                                           \
        ANSWERS(want, now);                                                                        \
        ANSWERS(want, later);                                                                      \
        OK(cuStreamSynchronize(stream));                                                           \
    } while (0)

static CUDA_MEMCPY2D plane() {
    CUDA_MEMCPY2D c = {};
    c.srcMemoryType = c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    c.srcDevice = E, c.dstDevice = D;
    c.srcHost = (void *)E, c.dstHost = (void *)D;
    c.srcPitch = c.dstPitch = 64;
    c.WidthInBytes = 32, c.Height = 4;
    return c;
}

static void planes(CUresult want, CUDA_MEMCPY2D copy) { BOTH(want, cuMemcpy2D(&copy), cuMemcpy2DAsync(&copy, stream)); }

static CUDA_MEMCPY3D volume() {
    CUDA_MEMCPY3D c = {};
    c.srcMemoryType = c.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    c.srcDevice = E, c.dstDevice = D;
    c.srcPitch = c.dstPitch = 64;
    c.srcHeight = c.dstHeight = 8;
    c.WidthInBytes = 32, c.Height = 4, c.Depth = 2;
    return c;
}

static void volumes(CUresult want, CUDA_MEMCPY3D copy) { BOTH(want, cuMemcpy3D(&copy), cuMemcpy3DAsync(&copy, stream)); }

int main() {
    CUcontext context = start();
    void *pinned;
    OK(cuMemAlloc(&D, 4 * M));
    OK(cuMemAlloc(&E, 4 * M));
    OK(cuMemHostAlloc(&pinned, 4 * M, 0));
    OK(cuMemAllocManaged(&G, 4 * M, CU_MEM_ATTACH_GLOBAL));
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    P = (CUdeviceptr)pinned;
    std::vector<char> own(8 * M);
    host = own.data();
    CUdeviceptr X = (CUdeviceptr)host;

    // From anywhere to anywhere.
    host[99] = 5;
    OK(cuMemcpy(X, X + 99, 9));
    IS(5, host[0]);
    OK(cuMemcpy(D, X, 9));
    OK(cuMemcpy(E, D, 9));
    OK(cuMemcpy(X + 1, E, 1));
    IS(5, host[1]);
    INVALID(cuMemcpy(D, X, 5 * M));
    INVALID(cuMemcpy(X, D + 3 * M, 2 * M));
    INVALID(cuMemcpy(P, X, 5 * M));
    INVALID(cuMemcpy(0, D, 4));
    OK(cuMemcpy(0, 0, 0));
    OK(cuMemcpy(D + 4, D, 64));

    // What each side must be.
    const CUresult good = CUDA_SUCCESS, bad = CUDA_ERROR_INVALID_VALUE;
    BOTH(bad, cuMemcpyHtoD(X, (void *)D, 16), cuMemcpyHtoDAsync(X, (void *)D, 16, stream));
    BOTH(good, cuMemcpyHtoD(D, (void *)E, 16), cuMemcpyHtoDAsync(D, (void *)E, 16, stream));
    BOTH(good, cuMemcpyHtoD(P, host, 16), cuMemcpyHtoDAsync(P, host, 16, stream));
    BOTH(good, cuMemcpyHtoD(G, host, 16), cuMemcpyHtoDAsync(G, host, 16, stream));
    BOTH(bad, cuMemcpyHtoD(D, nullptr, 16), cuMemcpyHtoDAsync(D, nullptr, 16, stream));
    BOTH(good, cuMemcpyDtoH((void *)D, E, 16), cuMemcpyDtoHAsync((void *)D, E, 16, stream));
    BOTH(bad, cuMemcpyDtoH(host, X + 64, 16), cuMemcpyDtoHAsync(host, X + 64, 16, stream));
    BOTH(good, cuMemcpyDtoH(host, P, 16), cuMemcpyDtoHAsync(host, P, 16, stream));
    BOTH(bad, cuMemcpyDtoD(D, X, 16), cuMemcpyDtoDAsync(D, X, 16, stream));
    BOTH(good, cuMemcpyDtoD(D, P, 16), cuMemcpyDtoDAsync(D, P, 16, stream));
    OK(cuMemcpyHtoD(X, host, 0));
    OK(cuMemcpyPeer(D, nullptr, E, nullptr, 16));
    OK(cuMemcpyPeer(D, context, E, context, 16));

    // Fills.
    INVALID(cuMemsetD16(D + 1, 1, 4));
    INVALID(cuMemsetD32(D + 2, 1, 4));
    INVALID(cuMemsetD8(X, 1, 4));
    INVALID(cuMemsetD8(D, 1, 5 * M));
    OK(cuMemsetD8(P, 9, 4));
    IS(9, ((char *)pinned)[3]);
    OK(cuMemsetD8(D, 1, 0));
    OK(cuMemsetD8(5, 1, 0));
    OK(cuMemsetD2D8(D, 64, 1, 32, 4));
    INVALID(cuMemsetD2D8(D, 16, 1, 32, 4));
    OK(cuMemsetD2D8(D, 16, 1, 32, 1));
    INVALID(cuMemsetD2D8(D, 0, 1, 32, 4));
    OK(cuMemsetD2D8(D, 64, 1, 0, 4));
    INVALID(cuMemsetD2D32(D, 66, 1, 4, 4));

    // Planes.
    CUDA_MEMCPY2D p;
    planes(good, plane());
    p = plane(), p.WidthInBytes = 0, planes(good, p);
    p = plane(), p.Height = 0, planes(good, p);
    p = plane(), p.srcPitch = 16, planes(bad, p);
    p = plane(), p.dstPitch = 16, planes(bad, p);
    p = plane(), p.srcPitch = 16, p.Height = 1, planes(bad, p);
    p = plane(), p.srcPitch = 0, planes(good, p);
    p = plane(), p.srcXInBytes = 40, planes(bad, p);
    p = plane(), p.srcMemoryType = (CUmemorytype)0, planes(bad, p);
    p = plane(), p.dstMemoryType = (CUmemorytype)5, planes(bad, p);
    p = plane(), p.srcPitch = (size_t)1 << 31, planes(bad, p);
    p = plane(), p.srcPitch = 0x7fffffff, p.Height = 1, planes(good, p);
    p = plane(), p.srcMemoryType = CU_MEMORYTYPE_HOST, planes(good, p);
    p = plane(), p.srcMemoryType = CU_MEMORYTYPE_UNIFIED, p.srcDevice = X, planes(good, p);
    p = plane(), p.srcPitch = M, p.Height = 6, planes(bad, p);
    p = plane(), p.srcDevice = 0, planes(bad, p);
    p = plane(), p.srcY = 10, planes(good, p);
    // Rows without a pitch follow each other.
    for (int i = 0; i < 12; i++) host[i] = (char)i;
    p = plane(), p.srcMemoryType = CU_MEMORYTYPE_HOST, p.srcHost = host, p.srcPitch = 0, p.WidthInBytes = 3, planes(good, p);
    char row[3];
    OK(cuMemcpyDtoH(row, D + 2 * 64, 3));
    IS(6, row[0]);

    // Volumes.
    CUDA_MEMCPY3D v;
    volumes(good, volume());
    v = volume(), v.WidthInBytes = 0, volumes(good, v);
    v = volume(), v.Depth = 0, volumes(good, v);
    v = volume(), v.srcHeight = 2, volumes(bad, v);
    v = volume(), v.srcHeight = 2, v.Depth = 1, volumes(bad, v);
    v = volume(), v.srcHeight = 0, volumes(good, v);
    v = volume(), v.srcPitch = 0, volumes(good, v);

    // Many lines.
    OldBatch old_batch;
    OldVolumes old_volumes;
    OK(cuGetProcAddress("cuMemcpyBatchAsync", (void **)&old_batch, 12080, 0, nullptr));
    OK(cuGetProcAddress("cuMemcpy3DBatchAsync", (void **)&old_volumes, 12080, 0, nullptr));
    CUdeviceptr to[2] = {D, X}, from[2] = {X + 64, E};
    size_t sizes[2] = {64, 64}, starts[2] = {0, 1};
    CUmemcpyAttributes how[2] = {};
    how[0].srcAccessOrder = how[1].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    auto lines = [&](CUresult want, size_t failed, size_t count, size_t ways, CUstream where) {
        ANSWERS(want, cuMemcpyBatchAsync(to, from, sizes, count, how, starts, ways, where));
        size_t at = 77;
        ANSWERS(want, old_batch(to, from, sizes, count, how, starts, ways, &at, where));
        IS(failed, at);
        OK(cuStreamSynchronize(stream));
    };
    const size_t none = (size_t)-1;
    OK(cuMemsetD8(E, 3, 64));
    std::memset(host + 64, 4, 64);
    lines(good, none, 2, 1, stream);
    IS(3, host[63]);
    OK(cuMemcpyDtoH(row, D + 61, 3));
    IS(4, row[2]);
    lines(good, none, 2, 2, stream);
    lines(bad, none, 0, 1, stream);
    lines(bad, none, 2, 0, stream);
    starts[0] = 1, lines(bad, none, 2, 1, stream), starts[0] = 0;
    starts[1] = 0, lines(bad, none, 2, 2, stream), starts[1] = 1;
    starts[1] = 2, lines(bad, none, 2, 2, stream), starts[1] = 1;
    for (int order = 0; order < 5; order++) {
        how[0].srcAccessOrder = (CUmemcpySrcAccessOrder)order;
        lines(order == 0 || order == 4 ? bad : good, none, 2, 1, stream);
    }
    how[0].srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    how[0].flags = 1, lines(good, none, 2, 1, stream);
    how[0].flags = 2, lines(bad, none, 2, 1, stream), how[0].flags = 0;
    lines(bad, 77, 2, 1, nullptr);
    lines(bad, none, 2, 1, CU_STREAM_LEGACY);
    sizes[1] = 0, lines(bad, 1, 2, 1, stream);
    sizes[1] = 5 * M, lines(bad, 1, 2, 1, stream), sizes[1] = 64;
    to[1] = 0, lines(bad, 1, 2, 1, stream);

    // Many volumes.
    CUDA_MEMCPY3D_BATCH_OP op = {};
    op.src.type = op.dst.type = CU_MEMCPY_OPERAND_TYPE_POINTER;
    op.src.op.ptr.ptr = E, op.dst.op.ptr.ptr = D;
    op.extent = {32, 4, 2};
    op.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
    auto blocks = [&](CUresult want, size_t failed, CUDA_MEMCPY3D_BATCH_OP op, size_t count, unsigned long long flags, CUstream where) {
        ANSWERS(want, cuMemcpy3DBatchAsync(count, &op, flags, where));
        size_t at = 77;
        ANSWERS(want, old_volumes(count, &op, &at, flags, where));
        IS(failed, at);
        OK(cuStreamSynchronize(stream));
    };
    OK(cuMemsetD8(E, 8, 256));
    blocks(good, none, op, 1, 0, stream);
    OK(cuMemcpyDtoH(row, D + 253, 3));
    IS(8, row[2]);
    CUDA_MEMCPY3D_BATCH_OP o;
    blocks(bad, none, op, 0, 0, stream);
    blocks(bad, none, op, 1, 1, stream);
    blocks(bad, 77, op, 1, 0, nullptr);
    o = op, o.src.op.ptr.rowLength = 16, blocks(bad, 0, o, 1, 0, stream);
    o = op, o.src.op.ptr.rowLength = 32, o.src.op.ptr.layerHeight = 2, blocks(bad, 0, o, 1, 0, stream);
    o = op, o.src.op.ptr.rowLength = 64, blocks(good, none, o, 1, 0, stream);
    o = op, o.src.type = (CUmemcpy3DOperandType)0, blocks(bad, 0, o, 1, 0, stream);
    o = op, o.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_INVALID, blocks(bad, 0, o, 1, 0, stream);
    o = op, o.flags = 1, blocks(good, none, o, 1, 0, stream);
    o = op, o.extent.width = 0, blocks(bad, 0, o, 1, 0, stream);
    o = op, o.extent.depth = 0, blocks(bad, 0, o, 1, 0, stream);
    return done("copies");
}
