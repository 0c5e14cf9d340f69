// The mean payoff of a European call by simulation: Philox4x32-10, Box-Muller, groups of four paths a work-item.
uint4 philox(uint4 counter, uint key0, uint key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        uint high0 = mul_hi(0xd2511f53u, counter.x), low0 = 0xd2511f53u * counter.x;
        uint high1 = mul_hi(0xcd9e8d57u, counter.z), low1 = 0xcd9e8d57u * counter.z;
        counter = (uint4)(high1 ^ counter.y ^ key0, low1, high0 ^ counter.w ^ key1, low0);
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return counter;
}

float2 normals(uint a, uint b) {
    float u = fma((float)a, 2.3283064e-10f, 1.1641532e-10f), v = (float)b * 4.6566129e-10f;
    float radius = sqrt(-2.0f * log(u));
    return (float2)(radius * cospi(v), radius * sinpi(v));
}

kernel void monte_carlo(uint n, uint groups, uint seed, float price, float strike, float drift, float deviation,
                        global float* restrict out) {
    uint i = get_global_id(0);
    if (i >= n) return;
    float sum = 0;
    for (uint k = 0; k < groups; ++k) {
        uint4 bits = philox((uint4)(k, i, 0, 0), seed, 0);
        float2 z0 = normals(bits.x, bits.y), z1 = normals(bits.z, bits.w);
        sum += fmax(price * exp(fma(deviation, z0.x, drift)) - strike, 0.0f);
        sum += fmax(price * exp(fma(deviation, z0.y, drift)) - strike, 0.0f);
        sum += fmax(price * exp(fma(deviation, z1.x, drift)) - strike, 0.0f);
        sum += fmax(price * exp(fma(deviation, z1.y, drift)) - strike, 0.0f);
    }
    out[i] = sum / (float)(4 * groups);
}
