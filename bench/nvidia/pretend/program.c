// Calls and steps as programs make them, on whatever device there is: `program calls` and `program steps`, one line of JSON for each row.
#include <cuda.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(call)                                                                     \
    do {                                                                                \
        CUresult status = (call);                                                       \
        if (status) fprintf(stderr, "%s: error %d\n", #call, status), exit(1);          \
    } while (0)

enum { LONG, MIDDLE, SHORT, KERNELS, CALLS = 20000, STEPS = 300, ROUNDS = 5, THREADS = 8 };

static CUcontext context;
static CUfunction kernels[KERNELS];
static CUstream stream, other, streams[THREADS];
static CUevent first, second;
static CUdeviceptr memory, more;
static void* pinned;
static int called;

static const char text[] =
    ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry long_one(.param .u64 p) { ret; }\n"
    ".visible .entry middle_one(.param .u64 p) { ret; }\n.visible .entry short_one(.param .u64 p) { ret; }\n";

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void launch(int kernel, CUstream on) {
    void* params[] = {&memory};
    CHECK(cuLaunchKernel(kernels[kernel], 8, 1, 1, 32, 1, 1, 0, on, params, NULL));
}

static void wait_for(CUstream on) { CHECK(cuStreamSynchronize(on)); }
static void CUDA_CB count(void* counter) { ++*(int*)counter; }

// Calls.
static void call_launch(void) { launch(SHORT, stream); }
static void call_launch_default(void) { launch(SHORT, NULL); }
static void call_launch_wait(void) { launch(SHORT, stream), wait_for(stream); }
static void call_record(void) { CHECK(cuEventRecord(first, stream)); }
static void call_wait_event(void) { CHECK(cuStreamWaitEvent(stream, second, 0)); }
static void call_copy_in(void) { CHECK(cuMemcpyHtoDAsync(memory, pinned, 64, stream)); wait_for(stream); }
static void call_copy_within(void) { CHECK(cuMemcpyDtoDAsync(more, memory, 64, stream)); wait_for(stream); }
static void call_allocate(void) {
    CUdeviceptr at;
    CHECK(cuMemAllocAsync(&at, 1 << 20, stream));
    CHECK(cuMemFreeAsync(at, stream));
}

// Steps.
static void kernels_of_step(void) {
    for (int i = 0; i < 10; ++i) launch(i == 3 || i == 7 ? MIDDLE : SHORT, stream);
}
static void step_host_function(void) { kernels_of_step(); CHECK(cuLaunchHostFunc(stream, count, &called)); }
static void step_two_streams(void) {
    kernels_of_step();
    CHECK(cuEventRecord(first, stream));
    CHECK(cuStreamWaitEvent(other, first, 0));
    CHECK(cuMemcpyDtoHAsync(pinned, memory, 64, other));
    CHECK(cuEventRecord(second, other));
    CHECK(cuStreamWaitEvent(stream, second, 0));
}
static void step_long_short(void) { launch(LONG, NULL), launch(SHORT, NULL); }
static void step_three(void) { launch(LONG, NULL), launch(MIDDLE, NULL), launch(SHORT, NULL); }

typedef struct {
    const char* name;
    void (*make)(void);
} Row;

static const Row calls[] = {
    {"launch", call_launch},           {"launch, default stream", call_launch_default},
    {"launch and wait", call_launch_wait}, {"record an event", call_record},
    {"wait for a passed event", call_wait_event}, {"copy in and wait", call_copy_in},
    {"copy within and wait", call_copy_within}, {"allocate and free in order", call_allocate},
};
static const Row steps[] = {
    {"ten kernels", kernels_of_step},       {"ten kernels, a host function", step_host_function},
    {"ten kernels, two streams", step_two_streams}, {"a long and a short one", step_long_short},
    {"a long, a middle and a short one", step_three},
};

static int by_size(const void* a, const void* b) {
    double x = *(const double*)a, y = *(const double*)b;
    return (x > y) - (x < y);
}

// The first round, in which nothing is known of the kernels, and the middle of the others.
static void time_row(const Row* row, int count) {
    double us[ROUNDS];
    for (int round = 0; round < ROUNDS; ++round) {
        double start = now_us();
        for (int i = 0; i < count; ++i) row->make();
        if (count == STEPS) CHECK(cuCtxSynchronize());
        us[round] = (now_us() - start) / count;
        CHECK(cuCtxSynchronize());
    }
    qsort(us + 1, ROUNDS - 1, sizeof *us, by_size);
    printf("{\"row\": \"%s\", \"first_us\": %.3f, \"us\": %.3f}\n", row->name, us[0], us[ROUNDS / 2]);
}

static void* launch_many(void* on) {
    CHECK(cuCtxSetCurrent(context));
    for (int i = 0; i < CALLS; ++i) launch(SHORT, on);
    wait_for(on);
    return NULL;
}

int main(int argc, char** argv) {
    CUdevice device;
    CUmodule module;
    CHECK(cuInit(0));
    CHECK(cuDeviceGet(&device, 0));
    CHECK(cuDevicePrimaryCtxRetain(&context, device));
    CHECK(cuCtxSetCurrent(context));
    CHECK(cuModuleLoadData(&module, text));
    const char* names[KERNELS] = {"long_one", "middle_one", "short_one"};
    for (int i = 0; i < KERNELS; ++i) CHECK(cuModuleGetFunction(&kernels[i], module, names[i]));
    CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CHECK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < THREADS; ++i) CHECK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    CHECK(cuEventCreate(&first, CU_EVENT_DISABLE_TIMING));
    CHECK(cuEventCreate(&second, CU_EVENT_DISABLE_TIMING));
    CHECK(cuMemAlloc(&memory, 4096));
    CHECK(cuMemAlloc(&more, 4096));
    CHECK(cuMemAllocHost(&pinned, 4096));
    CHECK(cuEventRecord(second, stream));
    wait_for(stream);
    if (argc > 1 && !strcmp(argv[1], "steps")) {
        for (size_t i = 0; i < sizeof steps / sizeof *steps; ++i) time_row(&steps[i], STEPS);
        return 0;
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) time_row(&calls[i], CALLS);
    double start = now_us();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, launch_many, streams[i]);
    for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
    double us = (now_us() - start) / CALLS / THREADS;
    printf("{\"row\": \"launch, eight threads\", \"first_us\": %.3f, \"us\": %.3f}\n", us, us);
    return 0;
}
