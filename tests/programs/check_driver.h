// The name of a result of the driver API, and the end of the program where a call fails.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <cuda.h>

static const char *name(CUresult result) {
    const char *text = nullptr;
    return cuGetErrorName(result, &text) == CUDA_SUCCESS ? text : "?";
}

#define CHECK(call)                                                                   \
    do {                                                                              \
        CUresult result_ = (call);                                                    \
        if (result_ != CUDA_SUCCESS) {                                                \
            std::printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, name(result_)); \
            std::exit(EXIT_FAILURE);                                                  \
        }                                                                             \
    } while (0)
