extern "C" __global__ void empty(float* unused) {}
