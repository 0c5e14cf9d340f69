// A driver of a card that computes nothing. With PRETEND_TIME=1 its kernels take time, one after the other in each stream, and its calls
// take about as long as those of a real one on an H200: so it shows where a device would stand idle. Otherwise all is done at once, and
// what is left is what is in front of the driver.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int Result;
typedef void* Handle;
typedef uint64_t Number;
enum { NOT_READY = 600, NOT_SUPPORTED = 801 };

// Nanoseconds of calls, and of the first launch of a kernel beside what it takes.
enum { LAUNCH_NS = 3500, RECORD_NS = 400, QUERY_NS = 1300, WAKE_NS = 3000, COLD_NS = 300000 };

typedef struct { double busy_until; } Stream;
typedef struct { double passed_at; } Event;
typedef struct { double takes; int launched; } Kernel;

static int takes_time;
__attribute__((constructor)) static void begin(void) { takes_time = getenv("PRETEND_TIME") != NULL; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void wait_until(double time) {
    while (takes_time && now() < time) __builtin_ia32_pause();
}

static double busy_until(Stream* stream) { return stream ? stream->busy_until : 0; }
static double later(double a, double b) { return a > b ? a : b; }

static Handle fresh(void) {
    static uintptr_t last = 4096;
    return (Handle)__atomic_add_fetch(&last, 16, __ATOMIC_RELAXED);
}

static Number address(size_t bytes) {
    static Number next = 0x600000000000;
    return __atomic_fetch_add(&next, (bytes + 0x1fffff) & ~(Number)0x1fffff, __ATOMIC_RELAXED);
}

// The card.
Result cuInit(unsigned flags) { return 0; }
Result cuDriverGetVersion(int* version) { return *version = 13000, 0; }
Result cuGetErrorName(int status, const char** name) { return *name = "CUDA_ERROR", 0; }
Result cuDeviceGetCount(int* count) { return *count = 1, 0; }
Result cuDeviceGet(int* device, int number) { return *device = number, 0; }
Result cuDeviceGetName(char* name, int room, int device) { return strncpy(name, "A card that computes nothing", room), 0; }
Result cuDeviceGetUuid_v2(char* uuid, int device) { return memset(uuid, 7, 16), 0; }
Result cuDeviceTotalMem_v2(size_t* bytes, int device) { return *bytes = (size_t)64 << 30, 0; }
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
    static const int known[][2] = {
        {1, 1024}, {2, 1024}, {3, 1024}, {4, 64}, {5, 0x7fffffff}, {6, 65535}, {7, 65535}, {8, 49152}, {10, 32}, {12, 65536},
        {16, 132}, {39, 2048}, {75, 9}, {76, 0}, {81, 233472}, {82, 65536}, {97, 232448}, {106, 32}, {111, 1024},
    };
    *value = 1;
    for (size_t i = 0; i < sizeof known / sizeof *known; ++i)
        if (known[i][0] == attribute) *value = known[i][1];
    return 0;
}
Result cuDevicePrimaryCtxRetain(Handle* context, int device) { return *context = fresh(), 0; }
Result cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
Result cuCtxSetCurrent(Handle context) { return 0; }
Result cuCtxGetStreamPriorityRange(int* least, int* greatest) { return *least = 0, *greatest = -5, 0; }

// Memory.
Result cuMemGetInfo_v2(size_t* free, size_t* total) { return *free = *total = (size_t)64 << 30, 0; }
Result cuMemAddressReserve(Number* at, size_t bytes, size_t alignment, Number wanted, uint64_t flags) {
    return *at = wanted ? wanted : address(bytes), 0;
}
Result cuMemAddressFree(Number at, size_t bytes) { return 0; }
Result cuMemCreate(Number* memory, size_t bytes, const void* properties, uint64_t flags) { return *memory = (Number)fresh(), 0; }
Result cuMemRelease(Number memory) { return 0; }
Result cuMemMap(Number at, size_t bytes, size_t offset, Number memory, uint64_t flags) { return 0; }
Result cuMemUnmap(Number at, size_t bytes) { return 0; }
Result cuMemSetAccess(Number at, size_t bytes, const void* access, size_t count) { return 0; }
Result cuMemAlloc_v2(Number* at, size_t bytes) { return *at = address(bytes), 0; }
Result cuMemFree_v2(Number at) { return 0; }
Result cuMemHostRegister_v2(void* start, size_t bytes, unsigned flags) { return 0; }
Result cuMemHostUnregister(void* start) { return 0; }
Result cuMemHostGetDevicePointer_v2(Number* at, void* start, unsigned flags) { return *at = (Number)start, 0; }
Result cuMemcpyHtoDAsync_v2(Number to, const void* from, size_t bytes, Handle stream) { return 0; }
Result cuMemcpyDtoHAsync_v2(void* to, Number from, size_t bytes, Handle stream) { return 0; }
Result cuMemcpyDtoDAsync_v2(Number to, Number from, size_t bytes, Handle stream) { return 0; }
Result cuMemcpy3DAsync_v2(const void* copy, Handle stream) { return 0; }
Result cuMemsetD8Async(Number at, uint8_t value, size_t count, Handle stream) { return 0; }
Result cuMemsetD16Async(Number at, uint16_t value, size_t count, Handle stream) { return 0; }
Result cuMemsetD32Async(Number at, unsigned value, size_t count, Handle stream) { return 0; }

// Streams and events.
Result cuStreamCreateWithPriority(Handle* stream, unsigned flags, int priority) { return *stream = calloc(1, sizeof(Stream)), 0; }
Result cuStreamDestroy_v2(Handle stream) { return free(stream), 0; }
Result cuStreamSynchronize(Handle stream) { return wait_until(busy_until(stream)), 0; }
Result cuStreamWaitEvent(Handle stream, Handle event, unsigned flags) {
    Stream* of = stream;
    return of->busy_until = later(of->busy_until, ((Event*)event)->passed_at), 0;
}
Result cuEventCreate(Handle* event, unsigned flags) { return *event = calloc(1, sizeof(Event)), 0; }
Result cuEventDestroy_v2(Handle event) { return free(event), 0; }
Result cuEventRecord(Handle event, Handle stream) {
    double start = now();
    ((Event*)event)->passed_at = later(busy_until(stream), start);
    return wait_until(start + RECORD_NS), 0;
}
Result cuEventQuery(Handle event) {
    double start = now();
    wait_until(start + QUERY_NS);
    return takes_time && start < ((Event*)event)->passed_at ? NOT_READY : 0;
}
Result cuEventSynchronize(Handle event) { return wait_until(((Event*)event)->passed_at + WAKE_NS), 0; }
Result cuEventElapsedTime(float* milliseconds, Handle from, Handle to) { return *milliseconds = 0.5f, 0; }

// Kernels: how long one takes is said by its name.
Result cuModuleLoadDataEx(Handle* module, const void* image, unsigned count, int* options, void** values) { return *module = fresh(), 0; }
Result cuModuleUnload(Handle module) { return 0; }
Result cuModuleGetFunction(Handle* function, Handle module, const char* name) {
    Kernel* kernel = calloc(1, sizeof *kernel);
    kernel->takes = strstr(name, "long") ? 60000 : strstr(name, "middle") ? 8000 : 2000;
    return *function = kernel, 0;
}
Result cuModuleGetGlobal_v2(Number* at, size_t* bytes, Handle module, const char* name) {
    return *at = address(1), bytes ? *bytes = 65536 : 0, 0;
}
Result cuFuncGetAttribute(int* value, int attribute, Handle function) { return *value = attribute == 0 ? 1024 : attribute == 4 ? 32 : 0, 0; }
Result cuFuncSetAttribute(Handle function, int attribute, int value) { return 0; }
Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Handle function, int threads, size_t shared) {
    return *blocks = 2048 / (threads ? threads : 1), 0;
}
Result cuLaunchKernelEx(const void* config, Handle function, void** params, void** extra) {
    Stream* stream = ((Stream* const*)config)[4];
    Kernel* kernel = function;
    double start = now(), cold = kernel->launched++ ? 0 : COLD_NS;
    stream->busy_until = later(stream->busy_until, start) + kernel->takes + cold;
    return wait_until(start + LAUNCH_NS), 0;
}

// What it does not have.
#define MISSING(name) \
    Result name(void) { return NOT_SUPPORTED; }
MISSING(cuMemExportToShareableHandle)
MISSING(cuMemImportFromShareableHandle)
MISSING(cuArray3DCreate_v2)
MISSING(cuArrayDestroy)
MISSING(cuMipmappedArrayCreate)
MISSING(cuMipmappedArrayGetLevel)
MISSING(cuMipmappedArrayDestroy)
MISSING(cuTexObjectCreate)
MISSING(cuTexObjectDestroy)
MISSING(cuSurfObjectCreate)
MISSING(cuSurfObjectDestroy)
MISSING(cuStreamBeginCapture_v2)
MISSING(cuStreamGetCaptureInfo_v2)
MISSING(cuStreamUpdateCaptureDependencies)
MISSING(cuStreamEndCapture)
MISSING(cuGraphInstantiateWithFlags)
MISSING(cuGraphDestroy)
MISSING(cuGraphLaunch)
MISSING(cuGraphExecDestroy)
