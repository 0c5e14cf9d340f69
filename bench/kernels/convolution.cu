// A 3 x 3 convolution layer: 16 x 16 pixels and 8 output channels a block. The input has a border of one pixel.
constexpr unsigned TILE = 16, EDGE = TILE + 2, EACH = 8, TAPS = 9;

extern "C" __global__ void __launch_bounds__(TILE * TILE)
convolution(unsigned channels, unsigned size, const float* __restrict__ in, const float* __restrict__ weights,
            float* __restrict__ out) {
    __shared__ float pixels[EDGE * EDGE];
    __shared__ float taps[EACH * TAPS];
    unsigned x = threadIdx.x, y = threadIdx.y, t = y * TILE + x;
    unsigned left = blockIdx.x * TILE, top = blockIdx.y * TILE, first = blockIdx.z * EACH, pitch = size + 2;
    float sum[EACH] = {};
    for (unsigned channel = 0; channel < channels; ++channel) {
        for (unsigned i = t; i < EDGE * EDGE; i += TILE * TILE)
            pixels[i] = in[(channel * pitch + top + i / EDGE) * pitch + left + i % EDGE];
        if (t < EACH * TAPS) taps[t] = weights[((first + t / TAPS) * channels + channel) * TAPS + t % TAPS];
        __syncthreads();
#pragma unroll
        for (unsigned tap = 0; tap < TAPS; ++tap) {
            float pixel = pixels[(y + tap / 3) * EDGE + x + tap % 3];
#pragma unroll
            for (unsigned k = 0; k < EACH; ++k) sum[k] = fmaf(pixel, taps[k * TAPS + tap], sum[k]);
        }
        __syncthreads();
    }
#pragma unroll
    for (unsigned k = 0; k < EACH; ++k) out[((first + k) * size + top + y) * size + left + x] = sum[k];
}
