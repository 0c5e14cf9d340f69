// What is asked of devices and contexts, and what can be set for a context: limits, flags, preferences, the stack of a thread.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> contexts: 104 answers
#include <cuda.h>
#include <cstring>
#include "driver.h"

int main() {
    CUcontext context = start(), own, current;
    char name[100], bus[20], shorter[5];
    CUdevice device;
    CUdevprop properties;
    size_t bytes, half;
    int attribute, major, minor;
    OK(cuDeviceGetName(name, sizeof name, 0));
    IS(1, std::strlen(name) > 0);
    OK(cuDeviceGetName(shorter, sizeof shorter, 0));
    IS(4, std::strlen(shorter));
    INVALID(cuDeviceGetName(name, 0, 0));
    OK(cuDeviceTotalMem(&bytes, 0));
    IS(1, bytes > 0);
    OK(cuDeviceGetPCIBusId(bus, sizeof bus, 0));
    IS(12, std::strlen(bus));
    OK(cuDeviceGetByPCIBusId(&device, bus));
    IS(0, device);
    INVALID(cuDeviceGetByPCIBusId(&device, "nothing"));
    INVALID(cuDeviceGetPCIBusId(nullptr, 13, 0));
    OK(cuDeviceGetProperties(&properties, 0));
    OK(cuDeviceGetAttribute(&attribute, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 0));
    IS(attribute, properties.maxThreadsPerBlock);
    IS(32, properties.SIMDWidth);
    OK(cuDeviceComputeCapability(&major, &minor, 0));
    OK(cuDeviceGetAttribute(&attribute, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0));
    IS(attribute, major);
    INVALID(cuDeviceGetAttribute(&attribute, (CUdevice_attribute)0, 0));
    INVALID(cuDeviceGetAttribute(&attribute, (CUdevice_attribute)5000, 0));
    INVALID(cuDeviceGetAttribute(nullptr, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 0));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetAttribute(&attribute, CU_DEVICE_ATTRIBUTE_WARP_SIZE, 99));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGetAttribute(&attribute, CU_DEVICE_ATTRIBUTE_WARP_SIZE, -1));
    ANSWERS(CUDA_ERROR_INVALID_DEVICE, cuDeviceGet(&device, 99));
    OK(cuDeviceGetTexture1DLinearMaxWidth(&bytes, CU_AD_FORMAT_FLOAT, 1, 0));
    IS(1, bytes >= 1 << 27);

    // The primary context.
    unsigned flags;
    int active;
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    IS(1, active);
    IS(0, flags);
    OK(cuDevicePrimaryCtxSetFlags(0, CU_CTX_SCHED_BLOCKING_SYNC));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    IS(CU_CTX_SCHED_BLOCKING_SYNC, flags);
    OK(cuCtxGetFlags(&flags));
    IS(CU_CTX_SCHED_BLOCKING_SYNC, flags & CU_CTX_SCHED_MASK);
    INVALID(cuDevicePrimaryCtxSetFlags(0, 3));
    OK(cuCtxSetFlags(CU_CTX_SCHED_AUTO));
    INVALID(cuCtxSetFlags(1u << 30));

    // A context of one's own, and the stack of contexts.
    OK(cuCtxCreate(&own, nullptr, CU_CTX_SCHED_SPIN, 0));
    OK(cuCtxGetCurrent(&current));
    IS(own, current);
    OK(cuCtxGetFlags(&flags));
    IS(CU_CTX_SCHED_SPIN, flags & CU_CTX_SCHED_MASK);
    OK(cuCtxGetDevice(&device));
    IS(0, device);
    unsigned long long one, two;
    OK(cuCtxGetId(own, &one));
    OK(cuCtxGetId(context, &two));
    IS(1, one != two);
    OK(cuCtxGetId(nullptr, &two));
    IS(one, two);
    unsigned version;
    OK(cuCtxGetApiVersion(own, &version));
    IS(1, version >= 3020);
    OK(cuCtxPushCurrent(context));
    OK(cuCtxPopCurrent(&current));
    IS(context, current);
    OK(cuCtxGetCurrent(&current));
    IS(own, current);

    // Limits.
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_STACK_SIZE));
    IS(1024, bytes);
    OK(cuCtxSetLimit(CU_LIMIT_STACK_SIZE, 4096));
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_STACK_SIZE));
    IS(4096, bytes);
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_MALLOC_HEAP_SIZE));
    IS(8 << 20, bytes);
    OK(cuCtxSetLimit(CU_LIMIT_MALLOC_HEAP_SIZE, 64 << 20));
    OK(cuCtxGetLimit(&half, CU_LIMIT_MALLOC_HEAP_SIZE));
    IS(64 << 20, half);
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_PRINTF_FIFO_SIZE));
    IS(1, bytes >= 1 << 20);
    OK(cuCtxSetLimit(CU_LIMIT_PRINTF_FIFO_SIZE, 2 << 20));
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_MAX_L2_FETCH_GRANULARITY));
    OK(cuCtxGetLimit(&bytes, CU_LIMIT_PERSISTING_L2_CACHE_SIZE));
    INVALID(cuCtxGetLimit(nullptr, CU_LIMIT_STACK_SIZE));

    // Preferences.
    CUfunc_cache cache;
    CUsharedconfig banks;
    OK(cuCtxSetCacheConfig(CU_FUNC_CACHE_PREFER_L1));
    OK(cuCtxGetCacheConfig(&cache));
    INVALID(cuCtxSetCacheConfig((CUfunc_cache)9));
    OK(cuCtxSetSharedMemConfig(CU_SHARED_MEM_CONFIG_DEFAULT_BANK_SIZE));
    OK(cuCtxGetSharedMemConfig(&banks));
    IS(CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE, banks);
    OK(cuCtxResetPersistingL2Cache());

    // Events of a context; what is current to nobody.
    CUevent event;
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    OK(cuCtxRecordEvent(own, event));
    OK(cuCtxWaitEvent(own, event));
    OK(cuCtxSynchronize());
    OK(cuEventDestroy(event));
    OK(cuCtxDestroy(own));
    OK(cuCtxGetCurrent(&current));
    IS(context, current);
    OK(cuCtxSetCurrent(nullptr));
    OK(cuCtxGetCurrent(&current));
    IS(nullptr, current);
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxGetDevice(&device));
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxSynchronize());
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuCtxPopCurrent(&current));
    CUdeviceptr memory;
    ANSWERS(CUDA_ERROR_INVALID_CONTEXT, cuMemAlloc(&memory, 64));
    OK(cuCtxSetCurrent(context));
    OK(cuMemAlloc(&memory, 64));
    OK(cuDevicePrimaryCtxReset(0));
    OK(cuDevicePrimaryCtxGetState(0, &flags, &active));
    IS(0, active);
    return done("contexts");
}
