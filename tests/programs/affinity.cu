// Contexts that are kept to a number of multiprocessors from their creation on: a driver has such where a service shares
// its devices out, and says so where there is none. What a context has can be asked for everywhere.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> affinity: 12 answers
#include <cuda.h>
#include "driver.h"

int main() {
    CUcontext context = start(), made = nullptr, current;
    int supported = 7;
    OK(cuDeviceGetExecAffinitySupport(&supported, CU_EXEC_AFFINITY_TYPE_SM_COUNT, 0));
    IS(0, supported);
    CUexecAffinityParam affinity = {};
    int multiprocessors;
    OK(cuCtxGetExecAffinity(&affinity, CU_EXEC_AFFINITY_TYPE_SM_COUNT));
    OK(cuDeviceGetAttribute(&multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 0));
    IS(multiprocessors, affinity.param.smCount.val);
    affinity.type = CU_EXEC_AFFINITY_TYPE_SM_COUNT;
    affinity.param.smCount.val = 3;
    CUctxCreateParams params = {};
    params.execAffinityParams = &affinity;
    params.numExecAffinityParams = 1;
    ANSWERS(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY, cuCtxCreate(&made, &params, 0, 0));
    IS(nullptr, made);
    OK(cuCtxGetCurrent(&current));
    IS(context, current);
    return done("affinity");
}
