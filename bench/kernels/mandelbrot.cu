// Iterations until a point escapes. Every rounding is spelled out, so that the counts are the same everywhere.
extern "C" __global__ void mandelbrot(unsigned width, unsigned height, unsigned limit, float left, float top,
                                      float step, unsigned* __restrict__ out) {
    unsigned px = blockIdx.x * blockDim.x + threadIdx.x, py = blockIdx.y * blockDim.y + threadIdx.y;
    if (px >= width || py >= height) return;
    float cx = fmaf((float)px, step, left), cy = fmaf((float)py, step, top);
    float x = 0, y = 0;
    unsigned count = 0;
    while (count < limit) {
        float yy = __fmul_rn(y, y);
        if (fmaf(x, x, yy) > 4.0f) break;
        float next = __fadd_rn(fmaf(x, x, -yy), cx);
        y = fmaf(__fadd_rn(x, x), y, cy);
        x = next;
        ++count;
    }
    out[py * width + px] = count;
}
