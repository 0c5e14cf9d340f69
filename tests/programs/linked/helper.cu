// The other half of linked.cu.
__device__ int shared_state = 41;

template <class T> __device__ __noinline__ T twice(T x) { return x + x; }

static __device__ int private_state = 1000;

__device__ int helper(int x) {
    private_state++;
    return x * 100 + twice(x) + private_state;
}
