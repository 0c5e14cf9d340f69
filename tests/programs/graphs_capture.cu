// Streams captured into graphs: what is captured, in which order it runs, and what is refused meanwhile.
//- 11.8 its calls are those of later headers
//> nothing runs while it is captured: 0
//> chain, 3 launches: 91 91 91 91
//> fork and join, 5 launches: 0 wrong
//> 8 nodes: 2 memcpy, 1 memset, 2 kernel, 1 host, 1 alloc, 1 free
//> host function ran 3 times
//> into a graph that is there: 25
//> status 0, then 1, then 0
//> synchronise: operation not permitted when stream is capturing; then operation failed due to a previous error during capture
//> malloc: operation not permitted when stream is capturing
//> malloc by a relaxed thread: no error
//> default stream: operation would make the legacy stream depend on a capturing blocking stream
//> unjoined: capturing stream has unjoined work
//> other stream: capture was not ended in the same stream as it began
//> other capture: operation would result in a merge of separate capture sequences
//> event before: dependency created on uncaptured work in another stream
//> captured event: operation not permitted on an event last recorded in a capturing stream
//> launch after all that: 8
#include <cuda_runtime.h>
#include "check.h"

__global__ void multiply_add(int *data, int factor, int addend) {
    data[threadIdx.x] = data[threadIdx.x] * factor + addend;
}

static void CUDART_CB count(void *counter) { ++*(int *)counter; }

static cudaGraphExec_t instantiate(cudaGraph_t graph) {
    cudaGraphExec_t exec;
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    return exec;
}

static cudaStream_t stream() {
    cudaStream_t made;
    CHECK(cudaStreamCreate(&made));
    return made;
}

static cudaEvent_t event() {
    cudaEvent_t made;
    CHECK(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
    return made;
}

// Ends a capture that must fail.
static void abandon(cudaStream_t captured) {
    cudaGraph_t graph;
    if (cudaStreamEndCapture(captured, &graph) == cudaSuccess) std::printf("a capture ended that should not\n");
    cudaGetLastError();
}

static const char *text(cudaError_t error) {
    cudaGetLastError();
    return cudaGetErrorString(error);
}

int main() {
    const size_t bytes = 4 * sizeof(int);
    int *a, *b, *host;
    CHECK(cudaMalloc(&a, bytes));
    CHECK(cudaMalloc(&b, bytes));
    CHECK(cudaMallocHost(&host, bytes));
    CHECK(cudaMemset(a, 0, bytes));
    cudaStream_t one = stream(), two = stream();
    cudaGraph_t graph;

    // (1 * 9 + 1) * 9 + 1, begun anew at each launch.
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    CHECK(cudaMemsetAsync(a, 0, bytes, one));
    multiply_add<<<1, 4, 0, one>>>(a, 1, 1);
    for (int i = 0; i < 2; i++) multiply_add<<<1, 4, 0, one>>>(a, 9, 1);
    CHECK(cudaMemcpyAsync(host, a, bytes, cudaMemcpyDeviceToHost, one));
    CHECK(cudaStreamEndCapture(one, &graph));
    CHECK(cudaMemcpy(host, a, bytes, cudaMemcpyDeviceToHost));
    std::printf("nothing runs while it is captured: %d\n", host[0]);
    cudaGraphExec_t exec = instantiate(graph);
    CHECK(cudaGraphDestroy(graph));
    for (int i = 0; i < 3; i++) CHECK(cudaGraphLaunch(exec, one));
    CHECK(cudaStreamSynchronize(one));
    std::printf("chain, 3 launches: %d %d %d %d\n", host[0], host[1], host[2], host[3]);
    CHECK(cudaGraphExecDestroy(exec));

    // a and b in two branches, then a copy of b's result behind both.
    cudaEvent_t forked = event(), joined = event();
    CHECK(cudaMemset(a, 0, bytes));
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    multiply_add<<<1, 4, 0, one>>>(a, 1, 1);
    CHECK(cudaEventRecord(forked, one));
    CHECK(cudaStreamWaitEvent(two, forked, 0));
    CHECK(cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, two));
    multiply_add<<<1, 4, 0, two>>>(b, 10, 5);
    CHECK(cudaEventRecord(joined, two));
    CHECK(cudaMemcpyAsync(host, a, bytes, cudaMemcpyDeviceToHost, one));
    CHECK(cudaStreamWaitEvent(one, joined, 0));
    CHECK(cudaMemcpyAsync(host + 2, b, bytes / 2, cudaMemcpyDeviceToHost, one));
    CHECK(cudaStreamEndCapture(one, &graph));
    exec = instantiate(graph);
    int wrong = 0;
    for (int k = 1; k <= 5; k++) {
        CHECK(cudaGraphLaunch(exec, two));
        CHECK(cudaStreamSynchronize(two));
        wrong += host[0] != k || host[1] != k || host[2] != 10 * k + 5 || host[3] != 10 * k + 5;
    }
    std::printf("fork and join, 5 launches: %d wrong\n", wrong);

    int counter = 0;
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeThreadLocal));
    int *temporary;
    CHECK(cudaMallocAsync((void **)&temporary, bytes, one));
    CHECK(cudaMemsetAsync(temporary, 0, bytes, one));
    multiply_add<<<1, 4, 0, one>>>(temporary, 1, 8);
    multiply_add<<<1, 4, 0, one>>>(a, 0, 3);
    CHECK(cudaMemcpyAsync(host, temporary, bytes, cudaMemcpyDeviceToHost, one));
    CHECK(cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, one));
    CHECK(cudaFreeAsync(temporary, one));
    CHECK(cudaLaunchHostFunc(one, count, &counter));
    CHECK(cudaStreamEndCapture(one, &graph));
    cudaGraphNode_t nodes[16];
    size_t number = 16;
    int kinds[16] = {};
    CHECK(cudaGraphGetNodes(graph, nodes, &number));
    for (size_t i = 0; i < number; i++) {
        cudaGraphNodeType kind;
        CHECK(cudaGraphNodeGetType(nodes[i], &kind));
        kinds[kind]++;
    }
    std::printf("%zu nodes: %d memcpy, %d memset, %d kernel, %d host, %d alloc, %d free\n", number,
                kinds[cudaGraphNodeTypeMemcpy], kinds[cudaGraphNodeTypeMemset], kinds[cudaGraphNodeTypeKernel],
                kinds[cudaGraphNodeTypeHost], kinds[cudaGraphNodeTypeMemAlloc], kinds[cudaGraphNodeTypeMemFree]);
    cudaGraphExec_t counting = instantiate(graph);
    for (int i = 0; i < 3; i++) CHECK(cudaGraphLaunch(counting, one));
    CHECK(cudaStreamSynchronize(one));
    std::printf("host function ran %d times\n", counter);
    int last = host[0];

    // Two nodes behind one that is there already.
    CHECK(cudaGraphCreate(&graph, 0));
    cudaGraphNode_t first;
    cudaMemsetParams zero = {};
    zero.dst = a;
    zero.elementSize = 4;
    zero.width = 4;
    zero.height = 1;
    CHECK(cudaGraphAddMemsetNode(&first, graph, nullptr, 0, &zero));
    CHECK(cudaStreamBeginCaptureToGraph(one, graph, &first, nullptr, 1, cudaStreamCaptureModeRelaxed));
    multiply_add<<<1, 4, 0, one>>>(a, 1, 5);
    multiply_add<<<1, 4, 0, one>>>(a, 5, 0);
    CHECK(cudaStreamEndCapture(one, &graph));
    exec = instantiate(graph);
    CHECK(cudaGraphLaunch(exec, one));
    CHECK(cudaGraphLaunch(exec, one));
    CHECK(cudaMemcpy(host, a, bytes, cudaMemcpyDeviceToHost));
    std::printf("into a graph that is there: %d\n", host[3]);

    cudaStreamCaptureStatus before, during, after;
    CHECK(cudaStreamIsCapturing(one, &before));
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    CHECK(cudaStreamIsCapturing(one, &during));
    CHECK(cudaStreamEndCapture(one, &graph));
    CHECK(cudaStreamIsCapturing(one, &after));
    std::printf("status %d, then %d, then %d\n", before, during, after);

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeRelaxed));
    std::printf("synchronise: %s", text(cudaStreamSynchronize(one)));
    std::printf("; then %s\n", text(cudaMemsetAsync(a, 0, bytes, one)));
    abandon(one);

    void *unused;
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    std::printf("malloc: %s\n", text(cudaMalloc(&unused, 16)));
    abandon(one);
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    std::printf("malloc by a relaxed thread: %s\n", text(cudaMalloc(&unused, 16)));
    CHECK(cudaThreadExchangeStreamCaptureMode(&mode));
    CHECK(cudaStreamEndCapture(one, &graph));

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeRelaxed));
    std::printf("default stream: %s\n", text(cudaMemsetAsync(a, 0, bytes, 0)));
    abandon(one);

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    multiply_add<<<1, 4, 0, one>>>(a, 1, 1);
    CHECK(cudaEventRecord(forked, one));
    CHECK(cudaStreamWaitEvent(two, forked, 0));
    multiply_add<<<1, 4, 0, two>>>(a, 1, 1);
    std::printf("unjoined: %s\n", text(cudaStreamEndCapture(one, &graph)));

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    CHECK(cudaEventRecord(forked, one));
    CHECK(cudaStreamWaitEvent(two, forked, 0));
    std::printf("other stream: %s\n", text(cudaStreamEndCapture(two, &graph)));
    abandon(one);

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    CHECK(cudaStreamBeginCapture(two, cudaStreamCaptureModeGlobal));
    CHECK(cudaEventRecord(forked, one));
    std::printf("other capture: %s\n", text(cudaStreamWaitEvent(two, forked, 0)));
    abandon(one);
    abandon(two);

    CHECK(cudaEventRecord(forked, two));
    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeGlobal));
    std::printf("event before: %s\n", text(cudaStreamWaitEvent(one, forked, 0)));
    abandon(one);

    CHECK(cudaStreamBeginCapture(one, cudaStreamCaptureModeRelaxed));
    CHECK(cudaEventRecord(forked, one));
    std::printf("captured event: %s\n", text(cudaEventQuery(forked)));
    abandon(one);

    CHECK(cudaGraphLaunch(counting, one));
    CHECK(cudaStreamSynchronize(one));
    std::printf("launch after all that: %d\n", last);
    return counter == 4 ? 0 : 1;
}
