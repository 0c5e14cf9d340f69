// Managed memory: advice, where it was brought, attributes of ranges, batches.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> doubled by a kernel: 14
//> managed: 218 answers
#include <cuda.h>
#include "driver.h"

__global__ void twice(int *data) { *data *= 2; }

static const size_t M = 1 << 20;
static CUdeviceptr memory;

static int range(int attribute, size_t bytes = M) {
    int got = 77;
    OK(cuMemRangeGetAttribute(&got, sizeof got, (CUmem_range_attribute)attribute, memory, bytes));
    return got;
}

static void users(int first, int second) {
    int got[3] = {77, 77, 77};
    OK(cuMemRangeGetAttribute(got, sizeof got, CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, memory, M));
    IS(first, got[0]);
    IS(second, got[1]);
    IS(-2, got[2]);
}

// Type and id of two places: where it is wanted, where it was last brought.
static void places(int wanted_type, int wanted, int brought_type, int brought) {
    IS(wanted_type, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE));
    IS(wanted, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID));
    IS(brought_type, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE));
    IS(brought, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID));
}

typedef CUresult (*AdviseByDevice)(CUdeviceptr, size_t, CUmem_advise, CUdevice);
typedef CUresult (*PrefetchToDevice)(CUdeviceptr, size_t, CUdevice, CUstream);

int main() {
    start();
    AdviseByDevice advise;
    PrefetchToDevice prefetch;
    OK(cuGetProcAddress("cuMemAdvise", (void **)&advise, 8000, 0, nullptr));
    OK(cuGetProcAddress("cuMemPrefetchAsync", (void **)&prefetch, 8000, 0, nullptr));
    INVALID(cuMemAllocManaged(&memory, 64, 0));
    INVALID(cuMemAllocManaged(&memory, 64, CU_MEM_ATTACH_SINGLE));
    INVALID(cuMemAllocManaged(&memory, 64, CU_MEM_ATTACH_GLOBAL | CU_MEM_ATTACH_HOST));
    INVALID(cuMemAllocManaged(&memory, 0, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemAllocManaged(&memory, 4 * M, CU_MEM_ATTACH_GLOBAL));
    CUdeviceptr device;
    OK(cuMemAlloc(&device, 4 * M));
    void *pinned;
    OK(cuMemHostAlloc(&pinned, 4 * M, 0));
    CUstream stream;
    OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));

    // Nothing was said.
    IS(0, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY));
    IS(-2, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION));
    IS(-2, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION));
    users(-2, -2);
    places(0, -2, 0, -2);

    // Advice by device.
    const CUdevice CPU = -1, NONE = 77;
    INVALID(advise(memory, M, (CUmem_advise)0, 0));
    INVALID(advise(memory, M, (CUmem_advise)7, 0));
    OK(advise(memory, M, CU_MEM_ADVISE_SET_READ_MOSTLY, NONE));
    IS(1, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY));
    IS(0, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, 2 * M));
    OK(advise(memory, M, CU_MEM_ADVISE_UNSET_READ_MOSTLY, NONE));
    IS(0, range(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY));
    OK(advise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, 0));
    IS(0, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION));
    places(1, 0, 0, -2);
    OK(advise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CPU));
    IS(-1, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION));
    places(2, -1, 0, -2);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, advise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, NONE));
    OK(advise(memory, M, CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION, NONE));
    IS(-2, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION));
    OK(advise(memory, M, CU_MEM_ADVISE_SET_ACCESSED_BY, CPU));
    OK(advise(memory, M, CU_MEM_ADVISE_SET_ACCESSED_BY, 0));
    users(0, -1);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, advise(memory, M, CU_MEM_ADVISE_SET_ACCESSED_BY, NONE));
    OK(advise(memory, M, CU_MEM_ADVISE_UNSET_ACCESSED_BY, 0));
    users(-1, -2);
    OK(advise(memory, M, CU_MEM_ADVISE_UNSET_ACCESSED_BY, CPU));
    users(-2, -2);

    // Advice by location.
    CUmemLocation here = {CU_MEM_LOCATION_TYPE_DEVICE, 0}, there = {CU_MEM_LOCATION_TYPE_DEVICE, NONE};
    CUmemLocation host = {CU_MEM_LOCATION_TYPE_HOST, 0}, nowhere = {CU_MEM_LOCATION_TYPE_NONE, 0};
    CUmemLocation node = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0}, current = {CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT, 0};
    OK(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_READ_MOSTLY, there));
    INVALID(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_READ_MOSTLY, nowhere));
    OK(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, here));
    places(1, 0, 0, -2);
    OK(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, host));
    places(2, -1, 0, -2);
    INVALID(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, there));
    INVALID(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, nowhere));
    INVALID(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_ACCESSED_BY, node));
    OK(cuMemAdvise(memory, M, CU_MEM_ADVISE_SET_ACCESSED_BY, here));
    users(0, -2);
    IS(-2, range(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, 2 * M));

    // Ranges and sizes that are wrong.
    int got[4];
    INVALID(cuMemRangeGetAttribute(got, 4, (CUmem_range_attribute)0, memory, M));
    INVALID(cuMemRangeGetAttribute(got, 4, (CUmem_range_attribute)9, memory, M));
    INVALID(cuMemRangeGetAttribute(got, 8, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory, M));
    INVALID(cuMemRangeGetAttribute(got, 0, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory, M));
    INVALID(cuMemRangeGetAttribute(got, 3, CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, memory, M));
    INVALID(cuMemRangeGetAttribute(got, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory + 3 * M, 2 * M));
    INVALID(cuMemRangeGetAttribute(got, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, memory, 0));
    INVALID(cuMemRangeGetAttribute(got, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, device, M));
    INVALID(cuMemRangeGetAttribute(got, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, (CUdeviceptr)pinned, M));
    INVALID(cuMemAdvise(device, M, CU_MEM_ADVISE_SET_READ_MOSTLY, here));
    INVALID(cuMemAdvise(memory, 5 * M, CU_MEM_ADVISE_SET_READ_MOSTLY, here));
    INVALID(cuMemAdvise(memory, 0, CU_MEM_ADVISE_SET_READ_MOSTLY, here));
    void *out[2] = {&got[0], &got[1]};
    size_t sizes[2] = {4, 4};
    CUmem_range_attribute which[2] = {CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION};
    OK(cuMemRangeGetAttributes(out, sizes, which, 2, memory, M));
    IS(1, got[0]);
    IS(-1, got[1]);

    // Bringing it somewhere.
    OK(prefetch(memory, M, 0, 0));
    IS(0, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION));
    places(2, -1, 1, 0);
    OK(prefetch(memory, M, CPU, 0));
    IS(-1, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION));
    places(2, -1, 2, -1);
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, prefetch(memory, M, NONE, 0));
    INVALID(prefetch(memory, 0, 0, 0));
    INVALID(prefetch(memory, 5 * M, 0, 0));
    INVALID(prefetch(device, M, 0, 0));
    INVALID(prefetch((CUdeviceptr)pinned, M, 0, 0));
    OK(prefetch(memory + 5, 9, 0, 0));
    IS(-2, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION));
    OK(cuMemPrefetchAsync(memory, M, node, 0, 0));
    places(2, -1, 3, 0);
    IS(-1, range(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION));
    OK(cuMemPrefetchAsync(memory, M, current, 0, 0));
    places(2, -1, 4, 0);
    INVALID(cuMemPrefetchAsync(memory, M, nowhere, 0, 0));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuMemPrefetchAsync(memory, M, there, 0, 0));
    INVALID(cuMemPrefetchAsync(memory, M, here, 1, 0));

    // Contents stay where memory is brought somewhere, and go where they are discarded.
    *(int *)memory = 7;
    CUdeviceptr parts[2] = {memory, memory + M};
    size_t lengths[2] = {M, M}, starts[2] = {0, 1}, backwards[2] = {1, 0};
    CUmemLocation ways[2] = {here, host};
    OK(cuMemPrefetchBatchAsync(parts, lengths, 2, ways, starts, 2, 0, stream));
    twice<<<1, 1, 0, (cudaStream_t)stream>>>((int *)memory);
    OK(cuStreamSynchronize(stream));
    std::printf("doubled by a kernel: %d\n", *(int *)memory);
    places(2, -1, 1, 0);
    INVALID(cuMemPrefetchBatchAsync(parts, lengths, 0, ways, starts, 2, 0, stream));
    INVALID(cuMemPrefetchBatchAsync(parts, lengths, 2, ways, starts, 0, 0, stream));
    INVALID(cuMemPrefetchBatchAsync(parts, lengths, 2, ways, backwards, 2, 0, stream));
    INVALID(cuMemPrefetchBatchAsync(parts, lengths, 2, ways, starts, 2, 1, stream));
    INVALID(cuMemPrefetchBatchAsync(&device, lengths, 1, ways, starts, 1, 0, stream));
    OK(cuMemDiscardBatchAsync(parts, lengths, 2, 0, stream));
    INVALID(cuMemDiscardBatchAsync(parts, lengths, 2, 1, stream));
    INVALID(cuMemDiscardBatchAsync(parts, lengths, 0, 0, stream));
    INVALID(cuMemDiscardBatchAsync(&device, lengths, 1, 0, stream));
    OK(cuMemDiscardAndPrefetchBatchAsync(parts, lengths, 2, ways, starts, 2, 0, stream));
    OK(cuStreamSynchronize(stream));
    places(2, -1, 1, 0);

    // Streams that have it for themselves.
    OK(cuStreamAttachMemAsync(stream, memory, 0, CU_MEM_ATTACH_GLOBAL));
    OK(cuStreamAttachMemAsync(stream, memory, 0, CU_MEM_ATTACH_HOST));
    OK(cuStreamAttachMemAsync(stream, memory, 4 * M, CU_MEM_ATTACH_SINGLE));
    INVALID(cuStreamAttachMemAsync(0, memory, 0, CU_MEM_ATTACH_SINGLE));
    INVALID(cuStreamAttachMemAsync(stream, memory, M, CU_MEM_ATTACH_SINGLE));
    INVALID(cuStreamAttachMemAsync(stream, memory + 8, 0, CU_MEM_ATTACH_SINGLE));
    OK(cuMemFree(memory));
    return done("managed");
}
