// Attention in one pass: 64 queries of 64 numbers a block, keys and values in tiles of 32 through shared memory, with
// the largest score and the sum so far kept by each thread. A query belongs to four neighbours, 16 numbers each.
constexpr unsigned QUERIES = 64, WIDTH = 64, TILE = 32, PARTS = 4, OWN = WIDTH / PARTS, ALL = 0xffffffff;

extern "C" __global__ void __launch_bounds__(QUERIES * PARTS)
attention(unsigned length, float scale, const float* __restrict__ q, const float* __restrict__ k,
          const float* __restrict__ v, float* __restrict__ out) {
    __shared__ __align__(16) float keys[TILE][WIDTH], values[TILE][WIDTH];
    unsigned t = threadIdx.x, part = t % PARTS;
    size_t head = (size_t)blockIdx.y * length * WIDTH;
    size_t own = head + (size_t)(blockIdx.x * QUERIES + t / PARTS) * WIDTH + part * OWN;
    float query[OWN], sum[OWN] = {}, largest = -INFINITY, weight = 0;
#pragma unroll
    for (unsigned i = 0; i < OWN; ++i) query[i] = q[own + i] * scale;
    for (unsigned first = 0; first < length; first += TILE) {
        for (unsigned i = t; i < TILE * WIDTH / 4; i += QUERIES * PARTS) {
            reinterpret_cast<float4*>(&keys[0][0])[i] = reinterpret_cast<const float4*>(&k[head + first * WIDTH])[i];
            reinterpret_cast<float4*>(&values[0][0])[i] = reinterpret_cast<const float4*>(&v[head + first * WIDTH])[i];
        }
        __syncthreads();
        float scores[TILE], most = largest;
#pragma unroll
        for (unsigned j = 0; j < TILE; ++j) {
            float score = 0;
#pragma unroll
            for (unsigned i = 0; i < OWN; ++i) score = fmaf(query[i], keys[j][part * OWN + i], score);
            score += __shfl_xor_sync(ALL, score, 1);
            score += __shfl_xor_sync(ALL, score, 2);
            scores[j] = score;
            most = fmaxf(most, score);
        }
        float shrink = __expf(largest - most);
        largest = most;
        weight *= shrink;
#pragma unroll
        for (unsigned i = 0; i < OWN; ++i) sum[i] *= shrink;
#pragma unroll
        for (unsigned j = 0; j < TILE; ++j) {
            float share = __expf(scores[j] - largest);
            weight += share;
#pragma unroll
            for (unsigned i = 0; i < OWN; ++i) sum[i] = fmaf(share, values[j][part * OWN + i], sum[i]);
        }
        __syncthreads();
    }
#pragma unroll
    for (unsigned i = 0; i < OWN; ++i) out[own + i] = sum[i] / weight;
}
