// Asynchronous copies, barriers in shared memory and clusters, as the CUDA C++ library reaches them.
//= compute_90a
//- 11.8 its compiler does not know compute_90a
//> pipeline 0 wrong
//> bulk 0 wrong
//> cluster 3080 2080 3080 2080
//> dropped 0 wrong
//> groups 0 wrong
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
#include <cooperative_groups/reduce.h>
#include <cuda/barrier>
#include <cuda/pipeline>
#include "check.h"

namespace cg = cooperative_groups;
namespace cde = cuda::device::experimental;
using barrier = cuda::barrier<cuda::thread_scope_block>;

// Adds up the rows of 128 numbers, each read backwards; the next row is under way meanwhile.
__global__ void rows(const int *in, int *out, int count) {
    __shared__ int buffer[2][128];
    __shared__ cuda::pipeline_shared_state<cuda::thread_scope_block, 2> state;
    auto block = cg::this_thread_block();
    auto pipeline = cuda::make_pipeline(block, &state);
    int sum = 0;
    for (int fetched = 0, used = 0; used < count; used++) {
        for (; fetched < count && fetched < used + 2; fetched++) {
            pipeline.producer_acquire();
            cuda::memcpy_async(block, buffer[fetched % 2], in + fetched * 128, sizeof buffer[0], pipeline);
            pipeline.producer_commit();
        }
        pipeline.consumer_wait();
        sum += buffer[used % 2][127 - threadIdx.x];
        pipeline.consumer_release();
    }
    out[threadIdx.x] = sum;
}

// There and back by one bulk copy each way.
__global__ void bulk(const int *in, int *out) {
    __shared__ alignas(16) int buffer[256];
#pragma nv_diag_suppress static_var_with_dynamic_init
    __shared__ barrier ready;
    if (threadIdx.x == 0) {
        init(&ready, blockDim.x);
        cde::fence_proxy_async_shared_cta();
    }
    __syncthreads();
    barrier::arrival_token token;
    if (threadIdx.x == 0) {
        cde::cp_async_bulk_global_to_shared(buffer, in, sizeof buffer, ready);
        token = cuda::device::barrier_arrive_tx(ready, 1, sizeof buffer);
    } else {
        token = ready.arrive();
    }
    ready.wait(std::move(token));
    buffer[threadIdx.x] += threadIdx.x;
    buffer[threadIdx.x + 128] *= 2;
    cde::fence_proxy_async_shared_cta();
    __syncthreads();
    if (threadIdx.x == 0) {
        cde::cp_async_bulk_shared_to_global(out, buffer, sizeof buffer);
        cde::cp_async_bulk_commit_group();
        cde::cp_async_bulk_wait_group_read<0>();
    }
}

// Each block adds its thread numbers up in the other one.
__global__ void __cluster_dims__(2, 1, 1) cluster(int *out) {
    __shared__ int sum;
    auto both = cg::this_cluster();
    if (threadIdx.x == 0) sum = 0;
    both.sync();
    int *there = both.map_shared_rank(&sum, both.block_rank() ^ 1);
    atomicAdd(there, static_cast<int>(threadIdx.x) + 1);
    both.sync();
    if (threadIdx.x == 0) out[blockIdx.x] = sum + 1000 * both.query_shared_rank(there);
}

// Half of the threads leave the barrier after four rounds.
__global__ void dropped(int *out, int rounds) {
    __shared__ barrier meeting;
    if (threadIdx.x == 0) init(&meeting, blockDim.x);
    __syncthreads();
    int met = 0;
    for (int round = 0; round < rounds; round++) {
        meeting.arrive_and_wait();
        met++;
        if (round == 3 && threadIdx.x >= 64) {
            meeting.arrive_and_drop();
            break;
        }
    }
    out[threadIdx.x] = met;
}

// Each warp copies its own part.
__global__ void groups(const int *in, int *out) {
    __shared__ int buffer[128];
    auto warp = cg::tiled_partition<32>(cg::this_thread_block());
    int first = threadIdx.x / 32 * 32;
    cg::memcpy_async(warp, buffer + first, in + first, 32 * sizeof(int));
    cg::wait(warp);
    out[threadIdx.x] = cg::reduce(warp, buffer[threadIdx.x], cg::plus<int>());
}

int main() {
    const int size = 1024 * sizeof(int);
    int *in, *out, host[1024];
    for (int i = 0; i < 1024; i++) host[i] = i;
    CHECK(cudaMalloc(&in, size));
    CHECK(cudaMalloc(&out, size));
    CHECK(cudaMemcpy(in, host, size, cudaMemcpyHostToDevice));

    rows<<<1, 128>>>(in, out, 5);
    CHECK(cudaMemcpy(host, out, size, cudaMemcpyDeviceToHost));
    int wrong = 0;
    for (int t = 0; t < 128; t++) wrong += host[t] != 128 * 10 + 5 * (127 - t);
    std::printf("pipeline %d wrong\n", wrong);

    bulk<<<1, 128>>>(in, out);
    CHECK(cudaMemcpy(host, out, size, cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int t = 0; t < 256; t++) wrong += host[t] != 2 * t;
    std::printf("bulk %d wrong\n", wrong);

    cluster<<<4, 64>>>(out);
    CHECK(cudaMemcpy(host, out, size, cudaMemcpyDeviceToHost));
    std::printf("cluster %d %d %d %d\n", host[0], host[1], host[2], host[3]);

    dropped<<<1, 128>>>(out, 10);
    CHECK(cudaMemcpy(host, out, size, cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int t = 0; t < 128; t++) wrong += host[t] != (t < 64 ? 10 : 4);
    std::printf("dropped %d wrong\n", wrong);

    groups<<<1, 128>>>(in, out);
    CHECK(cudaMemcpy(host, out, size, cudaMemcpyDeviceToHost));
    wrong = 0;
    for (int t = 0; t < 128; t++) wrong += host[t] != t / 32 * 1024 + 496;
    std::printf("groups %d wrong\n", wrong);
    return 0;
}
