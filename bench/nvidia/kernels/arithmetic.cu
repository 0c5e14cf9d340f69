// Arithmetic in registers: double precision, 64-bit integers, and a transform of complex numbers in shared memory.
extern "C" __global__ void polynomial_f64(unsigned n, const double* __restrict__ in, double* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    double x = in[i], sum = 0.5;
#pragma unroll 1
    for (int turn = 0; turn < 8; ++turn)
#pragma unroll
        for (int k = 1; k <= 16; ++k) sum = fma(sum, x, 1.0 / k);
    out[i] = sum;
}

constexpr unsigned BODIES = 128;

extern "C" __global__ void __launch_bounds__(BODIES)
nbody_f64(unsigned n, double softening, const double2* __restrict__ bodies, double* __restrict__ out) {
    __shared__ double x[BODIES], y[BODIES], z[BODIES], mass[BODIES];
    unsigned t = threadIdx.x, i = blockIdx.x * BODIES + t;
    double2 own = bodies[2 * i], depth = bodies[2 * i + 1];
    double ax = 0, ay = 0, az = 0;
    for (unsigned first = 0; first < n; first += BODIES) {
        double2 body = bodies[2 * (first + t)], rest = bodies[2 * (first + t) + 1];
        x[t] = body.x, y[t] = body.y, z[t] = rest.x, mass[t] = rest.y;
        __syncthreads();
#pragma unroll 4
        for (unsigned k = 0; k < BODIES; ++k) {
            double dx = x[k] - own.x, dy = y[k] - own.y, dz = z[k] - depth.x;
            double inverse = rsqrt(fma(dx, dx, fma(dy, dy, fma(dz, dz, softening))));
            double force = mass[k] * inverse * inverse * inverse;
            ax = fma(dx, force, ax), ay = fma(dy, force, ay), az = fma(dz, force, az);
        }
        __syncthreads();
    }
    out[i * 3] = ax, out[i * 3 + 1] = ay, out[i * 3 + 2] = az;
}

// A power modulo the prime 2^61 - 1, by squaring.
extern "C" __global__ void power_u64(unsigned n, const unsigned long long* __restrict__ in, unsigned long long* __restrict__ out) {
    constexpr unsigned long long PRIME = (1ull << 61) - 1;
    auto times = [](unsigned long long a, unsigned long long b) {
        unsigned long long low = a * b, high = __umul64hi(a, b);
        unsigned long long sum = (low & PRIME) + (high << 3 | low >> 61);
        return sum >= PRIME ? sum - PRIME : sum;
    };
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    unsigned long long base = in[i] % PRIME, result = 1, exponent = in[i] >> 16;
    while (exponent) {
        if (exponent & 1) result = times(result, base);
        base = times(base, base);
        exponent >>= 1;
    }
    out[i] = result;
}

// Quotients and remainders of 64 bits, which have no instruction.
extern "C" __global__ void divide_u64(unsigned n, const ulonglong2* __restrict__ in, ulonglong2* __restrict__ out) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    ulonglong2 v = in[i];
    unsigned long long by = v.y >> 24 | 1, sum = 0, rest = 0;
#pragma unroll 1
    for (unsigned k = 0; k < 8; ++k) {
        sum += v.x / by;
        rest ^= v.x % by;
        v.x = v.x * 0x5851f42d4c957f2dull + 0x14057b7ef767814full;
        by = by * 3 >> 1 | 1;
    }
    out[i] = make_ulonglong2(sum, rest);
}

// Transforms of 1024 complex numbers, one a block: ten passes with a table of roots.
constexpr unsigned POINTS = 1024, HALF = POINTS / 2;

extern "C" __global__ void __launch_bounds__(HALF)
fft(const float2* __restrict__ in, const float2* __restrict__ roots, float2* __restrict__ out) {
    __shared__ float2 points[2][POINTS];
    unsigned t = threadIdx.x, now = 0;
    points[0][t] = in[blockIdx.x * POINTS + t];
    points[0][t + HALF] = in[blockIdx.x * POINTS + t + HALF];
    __syncthreads();
#pragma unroll 1
    for (unsigned length = 1; length < POINTS; length *= 2) {
        unsigned k = t & (length - 1);
        float2 root = roots[k * (HALF / length)], a = points[now][t], b = points[now][t + HALF];
        float2 turned = make_float2(b.x * root.x - b.y * root.y, b.x * root.y + b.y * root.x);
        unsigned to = 2 * t - k;
        points[1 - now][to] = make_float2(a.x + turned.x, a.y + turned.y);
        points[1 - now][to + length] = make_float2(a.x - turned.x, a.y - turned.y);
        now = 1 - now;
        __syncthreads();
    }
    out[blockIdx.x * POINTS + t] = points[now][t];
    out[blockIdx.x * POINTS + t + HALF] = points[now][t + HALF];
}
