// Iterations until a point escapes. Every rounding is spelled out, so that the counts are the same everywhere.
#pragma OPENCL FP_CONTRACT OFF

kernel void mandelbrot(uint width, uint height, uint limit, float left, float top, float step,
                       global uint* restrict out) {
    uint px = get_global_id(0), py = get_global_id(1);
    if (px >= width || py >= height) return;
    float cx = fma((float)px, step, left), cy = fma((float)py, step, top);
    float x = 0, y = 0;
    uint count = 0;
    while (count < limit) {
        float yy = y * y;
        if (fma(x, x, yy) > 4.0f) break;
        float next = fma(x, x, -yy) + cx;
        y = fma(x + x, y, cy);
        x = next;
        ++count;
    }
    out[py * width + px] = count;
}
