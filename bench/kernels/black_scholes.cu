// European calls and puts. The normal distribution is the polynomial 26.2.17 of Abramowitz and Stegun.
__device__ float normal(float x) {
    float k = 1.0f / fmaf(0.2316419f, fabsf(x), 1.0f);
    float poly = fmaf(fmaf(fmaf(fmaf(1.330274429f, k, -1.821255978f), k, 1.781477937f), k, -0.356563782f), k,
                      0.319381530f);
    float tail = 0.39894228040f * expf(-0.5f * x * x) * poly * k;
    return x > 0 ? 1.0f - tail : tail;
}

extern "C" __global__ void black_scholes(unsigned n, float rate, float volatility, const float* __restrict__ price,
                                         const float* __restrict__ strike, const float* __restrict__ years,
                                         float* __restrict__ call, float* __restrict__ put) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    float s = price[i], x = strike[i], t = years[i];
    float deviation = volatility * sqrtf(t);
    float d1 = (logf(s / x) + (rate + 0.5f * volatility * volatility) * t) / deviation;
    float n1 = normal(d1), n2 = normal(d1 - deviation);
    float discounted = x * expf(-rate * t);
    call[i] = s * n1 - discounted * n2;
    put[i] = discounted * (1.0f - n2) - s * (1.0f - n1);
}
