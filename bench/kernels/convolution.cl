// A 3 x 3 convolution layer: 16 x 16 pixels and 8 output channels a work-group. The input has a border of one pixel.
#define TILE 16u
#define EDGE (TILE + 2u)
#define EACH 8u
#define TAPS 9u

kernel __attribute__((reqd_work_group_size(TILE, TILE, 1)))
void convolution(uint channels, uint size, global const float* restrict in, global const float* restrict weights,
                 global float* restrict out) {
    uint x = get_local_id(0), y = get_local_id(1);
    uint left = get_group_id(0) * TILE, top = get_group_id(1) * TILE, first = get_group_id(2) * EACH, pitch = size + 2;
    float sum[EACH] = {0};
#ifdef DIRECT
    for (uint channel = 0; channel < channels; ++channel) {
        global const float* pixels = in + (channel * pitch + top + y) * pitch + left + x;
        global const float* taps = weights + (first * channels + channel) * TAPS;
#pragma unroll
        for (uint tap = 0; tap < TAPS; ++tap) {
            float pixel = pixels[tap / 3 * pitch + tap % 3];
#pragma unroll
            for (uint k = 0; k < EACH; ++k) sum[k] = fma(pixel, taps[k * channels * TAPS + tap], sum[k]);
        }
    }
#else
    local float pixels[EDGE * EDGE];
    local float taps[EACH * TAPS];
    uint t = y * TILE + x;
    for (uint channel = 0; channel < channels; ++channel) {
        for (uint i = t; i < EDGE * EDGE; i += TILE * TILE)
            pixels[i] = in[(channel * pitch + top + i / EDGE) * pitch + left + i % EDGE];
        if (t < EACH * TAPS) taps[t] = weights[((first + t / TAPS) * channels + channel) * TAPS + t % TAPS];
        barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
        for (uint tap = 0; tap < TAPS; ++tap) {
            float pixel = pixels[(y + tap / 3) * EDGE + x + tap % 3];
#pragma unroll
            for (uint k = 0; k < EACH; ++k) sum[k] = fma(pixel, taps[k * TAPS + tap], sum[k]);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
#endif
#pragma unroll
    for (uint k = 0; k < EACH; ++k) out[((first + k) * size + top + y) * size + left + x] = sum[k];
}
