// European calls and puts. The normal distribution is the polynomial 26.2.17 of Abramowitz and Stegun.
float normal(float x) {
    float k = 1.0f / fma(0.2316419f, fabs(x), 1.0f);
    float poly = fma(fma(fma(fma(1.330274429f, k, -1.821255978f), k, 1.781477937f), k, -0.356563782f), k, 0.319381530f);
    float tail = 0.39894228040f * exp(-0.5f * x * x) * poly * k;
    return x > 0 ? 1.0f - tail : tail;
}

kernel void black_scholes(uint n, float rate, float volatility, global const float* restrict price,
                          global const float* restrict strike, global const float* restrict years,
                          global float* restrict call, global float* restrict put) {
    uint i = get_global_id(0);
    if (i >= n) return;
    float s = price[i], x = strike[i], t = years[i];
    float deviation = volatility * sqrt(t);
    float d1 = (log(s / x) + (rate + 0.5f * volatility * volatility) * t) / deviation;
    float n1 = normal(d1), n2 = normal(d1 - deviation);
    float discounted = x * exp(-rate * t);
    call[i] = s * n1 - discounted * n2;
    put[i] = discounted * (1.0f - n2) - s * (1.0f - n1);
}
