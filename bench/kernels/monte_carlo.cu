// The mean payoff of a European call by simulation: Philox4x32-10, Box-Muller, groups of four paths a thread.
__device__ uint4 philox(uint4 counter, unsigned key0, unsigned key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned high0 = __umulhi(0xd2511f53u, counter.x), low0 = 0xd2511f53u * counter.x;
        unsigned high1 = __umulhi(0xcd9e8d57u, counter.z), low1 = 0xcd9e8d57u * counter.z;
        counter = make_uint4(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return counter;
}

__device__ float2 normals(unsigned a, unsigned b) {
    float u = fmaf((float)a, 2.3283064e-10f, 1.1641532e-10f), v = (float)b * 4.6566129e-10f;
    float radius = sqrtf(-2.0f * logf(u)), s, c;
    sincospif(v, &s, &c);
    return make_float2(radius * c, radius * s);
}

extern "C" __global__ void monte_carlo(unsigned n, unsigned groups, unsigned seed, float price, float strike,
                                       float drift, float deviation, float* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float sum = 0;
    for (unsigned k = 0; k < groups; ++k) {
        uint4 bits = philox(make_uint4(k, i, 0, 0), seed, 0);
        float2 z0 = normals(bits.x, bits.y), z1 = normals(bits.z, bits.w);
        sum += fmaxf(price * expf(fmaf(deviation, z0.x, drift)) - strike, 0.0f);
        sum += fmaxf(price * expf(fmaf(deviation, z0.y, drift)) - strike, 0.0f);
        sum += fmaxf(price * expf(fmaf(deviation, z1.x, drift)) - strike, 0.0f);
        sum += fmaxf(price * expf(fmaf(deviation, z1.y, drift)) - strike, 0.0f);
    }
    out[i] = sum / (float)(4 * groups);
}
