kernel void empty(global float* unused) {}
