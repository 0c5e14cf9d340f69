// Accelerations of n bodies by all pairs; x, y, z and mass in one vector. n is a multiple of 256.
constexpr unsigned THREADS = 256;

extern "C" __global__ void __launch_bounds__(THREADS)
nbody(unsigned n, float softening, const float4* __restrict__ bodies, float4* __restrict__ out) {
    __shared__ float4 tile[THREADS];
    unsigned i = blockIdx.x * THREADS + threadIdx.x;
    float4 own = bodies[i];
    float ax = 0, ay = 0, az = 0;
    for (unsigned first = 0; first < n; first += THREADS) {
        tile[threadIdx.x] = bodies[first + threadIdx.x];
        __syncthreads();
#pragma unroll 8
        for (unsigned k = 0; k < THREADS; ++k) {
            float4 other = tile[k];
            float dx = other.x - own.x, dy = other.y - own.y, dz = other.z - own.z;
            float inverse = rsqrtf(dx * dx + dy * dy + dz * dz + softening);
            float force = other.w * inverse * inverse * inverse;
            ax += dx * force;
            ay += dy * force;
            az += dz * force;
        }
        __syncthreads();
    }
    out[i] = make_float4(ax, ay, az, 0);
}
