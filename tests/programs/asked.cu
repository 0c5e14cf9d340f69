// What is asked of streams, events and captures: numbers, flags, priorities, callbacks, and how a capture is steered.
//- 12.4 its calls are those of later headers
//- 11.8 its calls are those of later headers
//> asked: 88 answers
#include <cuda.h>
#include <atomic>
#include <cstdint>
#include "driver.h"

static std::atomic<int> called;
static CUresult heard = CUDA_ERROR_UNKNOWN;

static void callback(CUstream, CUresult status, void *data) {
    heard = status;
    called += (int)(intptr_t)data;
}

int main() {
    CUcontext context = start(), found;
    int least, greatest, priority;
    unsigned flags;
    unsigned long long one, two, id;
    cuuint64_t capture = 0;
    CUdevice device = 9;
    CUstream stream, other;
    OK(cuCtxGetStreamPriorityRange(&least, &greatest));
    IS(0, least);
    IS(1, greatest < 0);
    OK(cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, greatest));
    OK(cuStreamCreateWithPriority(&other, CU_STREAM_DEFAULT, greatest - 100));
    OK(cuStreamGetPriority(stream, &priority));
    IS(greatest, priority);
    OK(cuStreamGetPriority(other, &priority));
    IS(greatest, priority);
    OK(cuStreamGetPriority(nullptr, &priority));
    IS(0, priority);
    OK(cuStreamGetFlags(stream, &flags));
    IS(CU_STREAM_NON_BLOCKING, flags);
    OK(cuStreamGetFlags(other, &flags));
    IS(CU_STREAM_DEFAULT, flags);
    OK(cuStreamGetDevice(stream, &device));
    IS(0, device);
    OK(cuStreamGetCtx(other, &found));
    IS(context, found);
    OK(cuStreamGetId(stream, &one));
    OK(cuStreamGetId(other, &two));
    IS(1, one != two);
    OK(cuStreamGetId(stream, &id));
    IS(one, id);
    OK(cuStreamGetId(nullptr, &id));
    OK(cuStreamGetId(CU_STREAM_LEGACY, &two));
    IS(id, two);
    INVALID(cuStreamCreate(&stream, 7));
    INVALID(cuStreamGetPriority(stream, nullptr));

    // Callbacks are called in order, before the stream is done.
    OK(cuStreamAddCallback(stream, callback, (void *)1, 0));
    OK(cuStreamAddCallback(stream, callback, (void *)10, 0));
    OK(cuStreamSynchronize(stream));
    IS(11, called.load());
    IS(CUDA_SUCCESS, heard);
    INVALID(cuStreamAddCallback(stream, callback, nullptr, 1));
    INVALID(cuStreamAddCallback(stream, nullptr, nullptr, 0));

    CUevent event, timed;
    float time = -1;
    OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    OK(cuEventCreate(&timed, CU_EVENT_BLOCKING_SYNC));
    INVALID(cuEventCreate(&event, 64));
    INVALID(cuEventCreate(&event, CU_EVENT_INTERPROCESS));
    OK(cuEventQuery(event));
    OK(cuEventRecordWithFlags(timed, stream, CU_EVENT_RECORD_DEFAULT));
    INVALID(cuEventRecordWithFlags(timed, stream, 2));
    OK(cuStreamWaitEvent(other, timed, CU_EVENT_WAIT_DEFAULT));
    INVALID(cuStreamWaitEvent(other, timed, 2));
    OK(cuEventSynchronize(timed));
    OK(cuEventElapsedTime(&time, timed, timed));
    IS(1, time == 0);
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(&time, event, timed));

    // A capture that is asked about and steered.
    CUstreamCaptureStatus status;
    CUgraph graph, asked = nullptr;
    const CUgraphNode *dependencies = nullptr;
    size_t count = 9;
    OK(cuStreamIsCapturing(stream, &status));
    IS(CU_STREAM_CAPTURE_STATUS_NONE, status);
    OK(cuStreamGetCaptureInfo(stream, &status, nullptr, nullptr, nullptr, nullptr, nullptr));
    IS(CU_STREAM_CAPTURE_STATUS_NONE, status);
    OK(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(cuStreamIsCapturing(stream, &status));
    IS(CU_STREAM_CAPTURE_STATUS_ACTIVE, status);
    OK(cuStreamGetCaptureInfo(stream, &status, &capture, &asked, &dependencies, nullptr, &count));
    IS(0, count);
    IS(1, capture != 0 && asked != nullptr);
    CUdeviceptr memory;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    IS(CU_STREAM_CAPTURE_MODE_GLOBAL, mode);
    OK(cuMemAlloc(&memory, 64));
    OK(cuThreadExchangeStreamCaptureMode(&mode));
    IS(CU_STREAM_CAPTURE_MODE_RELAXED, mode);
    OK(cuMemsetD32Async(memory, 1, 4, stream));
    CUgraphNode made;
    OK(cuGraphAddEmptyNode(&made, asked, nullptr, 0));
    OK(cuStreamUpdateCaptureDependencies(stream, &made, nullptr, 1, CU_STREAM_ADD_CAPTURE_DEPENDENCIES));
    OK(cuStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &dependencies, nullptr, &count));
    IS(2, count);
    OK(cuStreamUpdateCaptureDependencies(stream, &made, nullptr, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    OK(cuStreamGetCaptureInfo(stream, &status, nullptr, nullptr, &dependencies, nullptr, &count));
    IS(1, count);
    IS(made, dependencies[0]);
    OK(cuEventRecordWithFlags(timed, stream, CU_EVENT_RECORD_EXTERNAL));
    OK(cuStreamEndCapture(stream, &graph));
    IS(asked, graph);
    OK(cuGraphGetNodes(graph, nullptr, &count));
    IS(3, count);
    ANSWERS(CUDA_ERROR_ILLEGAL_STATE, cuStreamUpdateCaptureDependencies(stream, &made, nullptr, 1, CU_STREAM_SET_CAPTURE_DEPENDENCIES));
    ANSWERS(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(stream, &graph));
    OK(cuGraphDestroy(asked));
    OK(cuEventDestroy(event));
    ANSWERS(CUDA_ERROR_INVALID_HANDLE, cuEventDestroy(event));
    OK(cuStreamDestroy(stream));
    OK(cuStreamDestroy(other));
    return done("asked");
}
