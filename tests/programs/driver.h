// Calls of the driver API with what each must answer. What differs is printed; `done` says how many were right.
#pragma once
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cuda.h>

static int right_answers;
static volatile int line_now;

// A driver may crash where it is asked what the API leaves open: the line says where.
static void crashed(int signal) {
    std::printf("line %d: signal %d\n", line_now, signal);
    std::fflush(stdout);
    std::_Exit(EXIT_FAILURE);
}

static const char *name_of(CUresult result) {
    const char *text = "an unknown code";
    cuGetErrorName(result, &text);
    return text;
}

static void answer(CUresult want, CUresult got, const char *call, int line) {
    if (got == want) right_answers++;
    else std::printf("line %d: %s: %s, expected %s\n", line, call, name_of(got), name_of(want));
}

static void value(long long want, long long got, const char *what, int line) {
    if (got == want) right_answers++;
    else std::printf("line %d: %s is %lld, expected %lld\n", line, what, got, want);
}

// The call answers so.
#define ANSWERS(want, call) (line_now = __LINE__, answer(want, call, #call, __LINE__))
#define INVALID(call) ANSWERS(CUDA_ERROR_INVALID_VALUE, call)
// The number is that.
#define IS(want, got) (line_now = __LINE__, value((long long)(want), (long long)(got), #got, __LINE__))
// The call succeeds, or the program ends.
#define OK(call)                                                                                    \
    do {                                                                                            \
        line_now = __LINE__;                                                                        \
        CUresult result_ = (call);                                                                  \
        if (result_ != CUDA_SUCCESS) {                                                              \
            std::printf("line %d: %s: %s\n", __LINE__, #call, name_of(result_));                    \
            std::exit(EXIT_FAILURE);                                                                \
        }                                                                                           \
        right_answers++;                                                                            \
    } while (0)

static int done(const char *what) {
    std::printf("%s: %d answers\n", what, right_answers);
    return 0;
}

// Makes the first device's primary context current.
static CUcontext start() {
    CUcontext context;
    std::signal(SIGSEGV, crashed);
    OK(cuInit(0));
    OK(cuDevicePrimaryCtxRetain(&context, 0));
    OK(cuCtxSetCurrent(context));
    return context;
}
