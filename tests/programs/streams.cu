// Order of work: within a stream, between streams by events, with the default stream, and with functions of the host.
//> chain ok
//> fork and join ok
//> default stream ok
//> host function saw 2048, then 4096
//> non-blocking ok
//> elapsed ok
//> pitched ok
#include <vector>
#include <cuda_runtime.h>
#include "check.h"

__global__ void multiply_add(int *data, int n, int factor, int addend) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) data[i] = data[i] * factor + addend;
}

struct Witness {
    const int *pinned;
    int seen[2], calls;
};

void CUDART_CB look(void *data) {
    Witness *w = (Witness *)data;
    w->seen[w->calls++] = w->pinned[0];
}

int main() {
    const int n = 1024;
    const size_t bytes = n * sizeof(int);
    int *a, *b, *pinned;
    CHECK(cudaMalloc(&a, bytes));
    CHECK(cudaMalloc(&b, bytes));
    CHECK(cudaMallocHost(&pinned, bytes));
    cudaStream_t one, two;
    CHECK(cudaStreamCreate(&one));
    CHECK(cudaStreamCreateWithFlags(&two, cudaStreamNonBlocking));
    cudaEvent_t forked, joined;
    CHECK(cudaEventCreateWithFlags(&forked, cudaEventDisableTiming));
    CHECK(cudaEventCreateWithFlags(&joined, cudaEventDisableTiming));

    // ((0 * 3 + 1) * 3 + 1) ... ten times: (3^10 - 1) / 2.
    CHECK(cudaMemsetAsync(a, 0, bytes, one));
    for (int i = 0; i < 10; i++) multiply_add<<<4, 256, 0, one>>>(a, n, 3, 1);
    CHECK(cudaMemcpyAsync(pinned, a, bytes, cudaMemcpyDeviceToHost, one));
    CHECK(cudaStreamSynchronize(one));
    int wrong = 0;
    for (int i = 0; i < n; i++) wrong += pinned[i] != 29524;
    std::printf("chain %s\n", wrong == 0 ? "ok" : "WRONG");

    // b = a + 5 in stream two after stream one has made a, then a = b * 2 back in stream one.
    multiply_add<<<4, 256, 0, one>>>(a, n, 0, 7);
    CHECK(cudaEventRecord(forked, one));
    CHECK(cudaStreamWaitEvent(two, forked, 0));
    CHECK(cudaMemcpyAsync(b, a, bytes, cudaMemcpyDeviceToDevice, two));
    multiply_add<<<4, 256, 0, two>>>(b, n, 1, 5);
    CHECK(cudaEventRecord(joined, two));
    CHECK(cudaStreamWaitEvent(one, joined, 0));
    CHECK(cudaMemcpyAsync(a, b, bytes, cudaMemcpyDeviceToDevice, one));
    multiply_add<<<4, 256, 0, one>>>(a, n, 2, 0);
    CHECK(cudaMemcpyAsync(pinned, a, bytes, cudaMemcpyDeviceToHost, one));
    CHECK(cudaStreamSynchronize(one));
    CHECK(cudaEventQuery(joined));
    wrong = 0;
    for (int i = 0; i < n; i++) wrong += pinned[i] != 24;
    std::printf("fork and join %s\n", wrong == 0 ? "ok" : "WRONG");

    // The default stream waits for stream one, and stream one for it.
    multiply_add<<<4, 256, 0, one>>>(a, n, 0, 1);
    multiply_add<<<4, 256>>>(a, n, 10, 2);
    multiply_add<<<4, 256, 0, one>>>(a, n, 10, 3);
    CHECK(cudaMemcpy(pinned, a, bytes, cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int i = 0; i < n; i++) wrong += pinned[i] != 123;
    std::printf("default stream %s\n", wrong == 0 ? "ok" : "WRONG");

    Witness witness = {pinned, {0, 0}, 0};
    for (int k = 1; k <= 2; k++) {
        multiply_add<<<4, 256, 0, one>>>(a, n, 0, 2048 * k);
        CHECK(cudaMemcpyAsync(pinned, a, bytes, cudaMemcpyDeviceToHost, one));
        CHECK(cudaLaunchHostFunc(one, look, &witness));
    }
    CHECK(cudaStreamSynchronize(one));
    std::printf("host function saw %d, then %d\n", witness.seen[0], witness.seen[1]);

    // A copy from memory that is not pinned must have been read when the call returns.
    std::vector<int> pageable(n, 11);
    CHECK(cudaMemcpyAsync(b, pageable.data(), bytes, cudaMemcpyHostToDevice, two));
    for (int &v : pageable) v = -1;
    multiply_add<<<4, 256, 0, two>>>(b, n, 1, 1);
    CHECK(cudaMemcpyAsync(pageable.data(), b, bytes, cudaMemcpyDeviceToHost, two));
    CHECK(cudaStreamSynchronize(two));
    wrong = 0;
    for (int v : pageable) wrong += v != 12;
    std::printf("non-blocking %s\n", wrong == 0 ? "ok" : "WRONG");

    cudaEvent_t start, stop;
    float milliseconds = -1;
    CHECK(cudaEventCreate(&start));
    CHECK(cudaEventCreate(&stop));
    CHECK(cudaEventRecord(start, one));
    multiply_add<<<4, 256, 0, one>>>(a, n, 1, 1);
    CHECK(cudaEventRecord(stop, one));
    CHECK(cudaEventSynchronize(stop));
    CHECK(cudaEventElapsedTime(&milliseconds, start, stop));
    std::printf("elapsed %s\n", milliseconds >= 0 && milliseconds < 60e3 ? "ok" : "WRONG");

    // Rows of 10 integers with pitches of 64 and of what the driver chooses.
    const int rows = 5, columns = 10, stride = 16;
    int field[rows * stride], back[rows * columns];
    for (int i = 0; i < rows * stride; i++) field[i] = i;
    void *pitched;
    size_t pitch;
    CHECK(cudaMallocPitch(&pitched, &pitch, columns * sizeof(int), rows));
    CHECK(cudaMemset2D(pitched, pitch, 0xff, columns * sizeof(int), rows));
    CHECK(cudaMemcpy2D(pitched, pitch, field, stride * sizeof(int), (columns - 1) * sizeof(int), rows,
                       cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy2D(back, columns * sizeof(int), pitched, pitch, columns * sizeof(int), rows,
                       cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++)
            wrong += back[y * columns + x] != (x == columns - 1 ? -1 : y * stride + x);
    std::printf("pitched %s\n", wrong == 0 ? "ok" : "WRONG");

    CHECK(cudaEventDestroy(start));
    CHECK(cudaStreamDestroy(one));
    CHECK(cudaStreamDestroy(two));
    CHECK(cudaFreeHost(pinned));
    CHECK(cudaFree(a));
    return 0;
}
