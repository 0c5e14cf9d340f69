// Accelerations of n bodies by all pairs; x, y, z and mass in one vector. n is a multiple of 256.
#define THREADS 256

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void nbody(uint n, float softening, global const float4* restrict bodies, global float4* restrict out) {
    uint i = get_global_id(0), t = get_local_id(0);
    float4 own = bodies[i];
    float ax = 0, ay = 0, az = 0;
#ifdef DIRECT
    for (uint k = 0; k < n; ++k) {
        float4 other = bodies[k];
#else
    local float4 tile[THREADS];
    for (uint first = 0; first < n; first += THREADS) {
        tile[t] = bodies[first + t];
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 8
        for (uint k = 0; k < THREADS; ++k) {
            float4 other = tile[k];
#endif
            float dx = other.x - own.x, dy = other.y - own.y, dz = other.z - own.z;
            float inverse = rsqrt(dx * dx + dy * dy + dz * dz + softening);
            float force = other.w * inverse * inverse * inverse;
            ax += dx * force;
            ay += dy * force;
            az += dz * force;
#ifndef DIRECT
        }
        barrier(CLK_LOCAL_MEM_FENCE);
#endif
    }
    out[i] = (float4)(ax, ay, az, 0);
}
