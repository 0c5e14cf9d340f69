// Filters of images without textures: taps in constant memory along rows and columns, and neighbourhoods of bytes.
constexpr int RADIUS = 8;

__constant__ float TAPS[2 * RADIUS + 1] = {0.0102f, 0.0162f, 0.0245f, 0.0352f, 0.0482f, 0.0629f, 0.0780f, 0.0921f, 0.1036f,
                                           0.0921f, 0.0780f, 0.0629f, 0.0482f, 0.0352f, 0.0245f, 0.0162f, 0.0102f};

extern "C" __global__ void __launch_bounds__(256)
convolve_rows(unsigned pitch, const float* __restrict__ in, float* __restrict__ out) {
    __shared__ float line[256 + 2 * RADIUS];
    const float* row = in + (size_t)blockIdx.y * pitch;
    int first = blockIdx.x * 256 - RADIUS;
    for (int i = threadIdx.x; i < 256 + 2 * RADIUS; i += 256) line[i] = row[min(max(first + i, 0), int(pitch) - 1)];
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int k = 0; k <= 2 * RADIUS; ++k) sum = fmaf(TAPS[k], line[threadIdx.x + k], sum);
    out[(size_t)blockIdx.y * pitch + blockIdx.x * 256 + threadIdx.x] = sum;
}

extern "C" __global__ void convolve_columns(unsigned pitch, unsigned height, const float* __restrict__ in, float* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    float sum = 0;
#pragma unroll 1
    for (int k = -RADIUS; k <= RADIUS; ++k)
        sum = fmaf(TAPS[k + RADIUS], in[(size_t)min(max(y + k, 0), int(height) - 1) * pitch + x], sum);
    out[(size_t)y * pitch + x] = sum;
}

// The median of nine pixels in each of four bytes.
extern "C" __global__ void median(unsigned width, unsigned height, const uchar4* __restrict__ in, uchar4* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= width || y >= height) return;
    unsigned v[9];
#pragma unroll
    for (int i = 0; i < 9; ++i) {
        int px = min(max(int(x) + i % 3 - 1, 0), int(width) - 1), py = min(max(int(y) + i / 3 - 1, 0), int(height) - 1);
        v[i] = reinterpret_cast<const unsigned*>(in)[(size_t)py * width + px];
    }
    auto order = [&](int a, int b) {
        unsigned low = __vminu4(v[a], v[b]);
        v[b] = __vmaxu4(v[a], v[b]);
        v[a] = low;
    };
    order(1, 2), order(4, 5), order(7, 8), order(0, 1), order(3, 4), order(6, 7), order(1, 2), order(4, 5), order(7, 8);
    order(0, 3), order(5, 8), order(4, 7), order(3, 6), order(1, 4), order(2, 5), order(4, 7), order(4, 2), order(6, 4);
    order(4, 2);
    reinterpret_cast<unsigned*>(out)[(size_t)y * width + x] = v[4];
}

// Neighbours weighted by distance and by likeness.
extern "C" __global__ void bilateral(unsigned width, unsigned height, float likeness, const float* __restrict__ in, float* __restrict__ out) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= int(width) || y >= int(height)) return;
    float own = in[(size_t)y * width + x], sum = 0, weight = 0;
#pragma unroll 1
    for (int dy = -3; dy <= 3; ++dy)
#pragma unroll
        for (int dx = -3; dx <= 3; ++dx) {
            float other = in[(size_t)min(max(y + dy, 0), int(height) - 1) * width + min(max(x + dx, 0), int(width) - 1)];
            float apart = other - own, share = __expf(-likeness * apart * apart - 0.125f * float(dx * dx + dy * dy));
            sum = fmaf(share, other, sum);
            weight += share;
        }
    out[(size_t)y * width + x] = sum / weight;
}

// Bytes of colour to grey, and the strength of edges in it.
extern "C" __global__ void sobel(unsigned width, unsigned height, const uchar4* __restrict__ in, float* __restrict__ out) {
    unsigned x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x == 0 || y == 0 || x >= width - 1 || y >= height - 1) return;
    float grey[3][3];
#pragma unroll
    for (int j = 0; j < 3; ++j)
#pragma unroll
        for (int i = 0; i < 3; ++i) {
            uchar4 v = in[(size_t)(y + j - 1) * width + x + i - 1];
            grey[j][i] = 0.299f * v.x + 0.587f * v.y + 0.114f * v.z;
        }
    float across = grey[0][2] - grey[0][0] + 2 * (grey[1][2] - grey[1][0]) + grey[2][2] - grey[2][0];
    float down = grey[2][0] - grey[0][0] + 2 * (grey[2][1] - grey[0][1]) + grey[2][2] - grey[0][2];
    out[(size_t)y * width + x] = sqrtf(across * across + down * down);
}
