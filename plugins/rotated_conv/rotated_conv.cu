// rsvl::RotatedConv2d on NVIDIA GPUs; rsvl/ops/rotated_conv.py defines what it computes.
//
//     x [B, Cin, H, W], taps [n, k, k, Cout, Cin], theta [B, n], gate [B, n]  ->  y [B, Cout, H, W]
//
// One implicit GEMM per sample: y = kernels [Cout, k²·Cin] × columns [k²·Cin, H·W], in one launch, where neither the kernels
// nor the columns ever lie in global memory. A block computes 64 channels of 8 × 32 pixels, for a slice of 32 bytes of
// input channels at a time:
//
//   1. the slice of the input under its pixels, with a border of k / 2, goes to shared memory as [pixel][channel]. The k²
//      taps are k² offsets into it: the input is read once and not k² times.
//   2. the slice of the sample's kernels goes to shared memory as [tap][Cout][channel], the layout that the product
//      reads. To rotate, gate and sum is a small product itself: [k², n·k²], the sample's angles and gates, times
//      [n·k², Cout·Cin], the bases as they are stored; so it runs on tensor cores too, and its result goes straight to
//      its place. No rotated base exists anywhere, not in registers either.
//   3. tap by tap, [64, slice] × [slice, 256 pixels] is added in registers.
//
// Why so. The mix must be repeated by every block that shares channels and sample, H·W / 256 times, or be kept whole:
// Cout·k²·Cin elements are megabytes and would need a second launch. Repeated it costs 16·32 MACs for nine taps where
// n = 3 and k = 3, against 9·256 of the product: about a fifth, at the same rate. With fewer pixels per block it would
// cost more, with more pixels a small map would leave most of a GPU idle. On CUDA cores the mix would take longer than
// the product. And the slices of channels are the outer loop, taps the inner: each base is then read once per block,
// n·k² values for k² mixed ones; with the taps outside, each mixed tap would read its up to 4·n neighbours again.
//
// Not done: asynchronous copies that overlap 1 and 2 with 3 (two resident blocks per multiprocessor overlap instead).
#include "../tensor_tile.cuh"

namespace rsvl {

constexpr int kPixelRows = 8, kPixelColumns = 32;  // kColumns, as a piece of the map
constexpr int kTaps = 9;                           // mixed at a time, in the 16 rows of one instruction
constexpr int kMixingRows = 16;
constexpr int kArc = 1;  // the mode; 0 is bilinear

struct ConvSizes {
    int bases, in_channels, out_channels, height, width, kernel, mode;
};

// Columns of the mixing matrix: the bases' taps, padded to whole slices.
__host__ __device__ constexpr int mixing_columns(int kernel, int bases) { return (bases * kernel * kernel + 15) / 16 * 16; }

template <typename T>
__host__ __device__ constexpr long long conv_shared_bytes(int kernel, int bases) {
    const long long patch = (kPixelRows + kernel - 1LL) * (kPixelColumns + kernel - 1LL);
    return 32 * (kTaps * kRows + patch) + kMixingRows * mixing_columns(kernel, bases) * int(sizeof(T)) + 12LL * bases;
}

// One element of the map from a base kernel's taps to the rotated kernel's.
__device__ inline float rotation(const ConvSizes& sizes, float cosine, float sine, int tap, int base_tap) {
    const int k = sizes.kernel;
    const float r = k / 2, x = tap % k - r, y = tap / k - r;
    float qx = x * cosine - y * sine, qy = x * sine + y * cosine;
    if (sizes.mode == kArc) {
        qx = fminf(fmaxf(qx, -r), r);
        qy = fminf(fmaxf(qy, -r), r);
    }
    const float near_x = 1 - fabsf(qx - (base_tap % k - r)), near_y = 1 - fabsf(qy - (base_tap / k - r));
    return fmaxf(near_x, 0.0f) * fmaxf(near_y, 0.0f);
}

// Rows from `first` on of the sample's mixing matrix, its rotations times its gates: [16][columns], zeros past the last
// tap.
template <typename T>
__device__ inline void fill_mixing(T* mixing, const float* angle, const ConvSizes& sizes, int first, int taps) {
    const int squared = sizes.kernel * sizes.kernel, columns = mixing_columns(sizes.kernel, sizes.bases);
    for (int index = threadIdx.x; index < kMixingRows * columns; index += kThreads) {
        const int row = index / columns, source = index % columns, base = source / squared;
        float value = 0;
        if (row < taps && base < sizes.bases) {
            const float* of = angle + 3 * base;
            value = of[2] * rotation(sizes, of[0], of[1], first + row, source % squared);
        }
        mixing[index] = rounded<T>(value);
    }
}

// The input under the block's pixels, [(8 + k - 1)·(32 + k - 1)][slice]; zeros outside the map and past the last channel.
template <typename T>
__device__ inline void load_patch(T* patch, const T* x, const ConvSizes& sizes, int row0, int column0, int channel0) {
    constexpr int kChunk = 16 / int(sizeof(T));
    const int wide = kPixelColumns + sizes.kernel - 1, cells = (kPixelRows + sizes.kernel - 1) * wide;
    const long long plane = (long long)sizes.height * sizes.width;
    for (int index = threadIdx.x; index < 2 * cells; index += kThreads) {
        const int cell = index % cells, first = index / cells * kChunk;
        const int row = row0 - sizes.kernel / 2 + cell / wide, column = column0 - sizes.kernel / 2 + cell % wide;
        const bool inside = row >= 0 && row < sizes.height && column >= 0 && column < sizes.width;
        const T* from = x + (channel0 + first) * plane + (long long)row * sizes.width + column;
        Chunk<T> chunk;
#pragma unroll
        for (int c = 0; c < kChunk; ++c)
            chunk.element[c] = inside && channel0 + first + c < sizes.in_channels ? from[c * plane] : T{};
        *reinterpret_cast<Chunk<T>*>(patch + cell * kSlice<T> + first) = chunk;
    }
}

// Two neighbouring channels of one tap of one base, zeros past the ends, as a register.
template <typename T>
__device__ inline unsigned base_pair(const T* taps, const ConvSizes& sizes, int source, int out, int channel) {
    if (source >= sizes.bases * sizes.kernel * sizes.kernel || out >= sizes.out_channels) return 0;
    const T* at = taps + ((long long)source * sizes.out_channels + out) * sizes.in_channels + channel;
    if (sizes.in_channels % 2 == 0)  // then pairs are aligned and whole
        return channel < sizes.in_channels ? *reinterpret_cast<const unsigned*>(at) : 0;
    const unsigned low = channel < sizes.in_channels ? at[0].bits : 0;
    const unsigned high = channel + 1 < sizes.in_channels ? at[1].bits : 0;
    return low | high << 16;
}

// The slice of the sample's kernels, [taps][64][slice], on tensor cores: mixing [16, n·k²] × bases [n·k², 16 channels], one
// output channel after another. Two instructions take the even and the odd channels, so that a pair that was read in
// one register goes to one each, and a lane's four results are neighbours.
template <typename T>
__device__ inline void mix_on_tensor_cores(
    T* kernels, const T* mixing, const T* bases, const ConvSizes& sizes, int out0, int channel0, int taps) {
    const Place place;
    const int columns = mixing_columns(sizes.kernel, sizes.bases), warp = threadIdx.x / 32;
    for (int out = warp; out < kRows; out += kThreads / 32) {
        float even[4] = {0, 0, 0, 0}, odd[4] = {0, 0, 0, 0};
        for (int source = 0; source < columns; source += 16) {
            const T* row = mixing + place.group * columns + source + 4 * place.member;
            const Pairs upper = *reinterpret_cast<const Pairs*>(row);
            const Pairs lower = *reinterpret_cast<const Pairs*>(row + 8 * columns);
            const unsigned a[4] = {upper.low, lower.low, upper.high, lower.high};
            unsigned pair[4];
#pragma unroll
            for (int s = 0; s < 4; ++s)
                pair[s] = base_pair(bases, sizes, source + 4 * place.member + s, out0 + out, channel0 + 2 * place.group);
            const unsigned low[2] = {(pair[0] & 0xffffu) | pair[1] << 16, (pair[2] & 0xffffu) | pair[3] << 16};
            const unsigned high[2] = {pair[0] >> 16 | (pair[1] & 0xffff0000u), pair[2] >> 16 | (pair[3] & 0xffff0000u)};
            multiply_16x8x16(even, a, low, T{});
            multiply_16x8x16(odd, a, high, T{});
        }
        for (int half = 0; half < 2; ++half) {
            const int tap = place.group + 8 * half;
            if (tap >= taps) continue;
            Four<T> four;
            four.element[0] = rounded<T>(even[2 * half]), four.element[1] = rounded<T>(odd[2 * half]);
            four.element[2] = rounded<T>(even[2 * half + 1]), four.element[3] = rounded<T>(odd[2 * half + 1]);
            *reinterpret_cast<Four<T>*>(kernels + (tap * kRows + out) * kSlice<T> + 4 * place.member) = four;
        }
    }
}

// The same on CUDA cores: a thread has one pair of channels at a time and all taps of it.
template <typename T>
__device__ inline void mix_on_cuda_cores(
    T* kernels, const T* mixing, const T* bases, const ConvSizes& sizes, int out0, int channel0, int taps) {
    const int columns = mixing_columns(sizes.kernel, sizes.bases);
    const int sources = sizes.bases * sizes.kernel * sizes.kernel;
    for (int index = threadIdx.x; index < kRows * kSlice<T>; index += kThreads) {
        const int out = out0 + index / kSlice<T>, channel = channel0 + index % kSlice<T>;
        float sum[kTaps] = {};
        if (out < sizes.out_channels && channel < sizes.in_channels)
            for (int source = 0; source < sources; ++source) {
                const long long at = ((long long)source * sizes.out_channels + out) * sizes.in_channels + channel;
                const float base = value_of(bases[at]);
#pragma unroll
                for (int tap = 0; tap < kTaps; ++tap) sum[tap] += value_of(mixing[tap * columns + source]) * base;
            }
#pragma unroll
        for (int tap = 0; tap < kTaps; ++tap)
            if (tap < taps) kernels[tap * kRows * kSlice<T> + index] = rounded<T>(sum[tap]);
    }
}

extern __shared__ __align__(16) unsigned char dynamic_shared[];

// Grid: (pieces of the map, blocks of 64 output channels, samples).
template <typename T>
__device__ inline void rotated_conv2d(const T* x, const T* bases, const void* theta, const void* gate, T* y,
                                      const ConvSizes& sizes, bool theta_is_float, bool gate_is_float) {
    const int squared = sizes.kernel * sizes.kernel, wide = kPixelColumns + sizes.kernel - 1;
    T* kernels = reinterpret_cast<T*>(dynamic_shared);                        // [kTaps][kRows][slice]
    T* patch = kernels + kTaps * kRows * kSlice<T>;                           // [pixels with border][slice]
    T* mixing = patch + (kPixelRows + sizes.kernel - 1) * wide * kSlice<T>;   // [16][n·k²]
    float* angle = reinterpret_cast<float*>(mixing + kMixingRows * mixing_columns(sizes.kernel, sizes.bases));  // [n][3]

    const int sample = blockIdx.z, out0 = blockIdx.y * kRows, across = (sizes.width + kPixelColumns - 1) / kPixelColumns;
    const int row0 = blockIdx.x / across * kPixelRows, column0 = blockIdx.x % across * kPixelColumns;
    const long long plane = (long long)sizes.height * sizes.width;
    const Place place;

    for (int base = threadIdx.x; base < sizes.bases; base += kThreads) {
        const long long at = (long long)sample * sizes.bases + base;
        sincosf(value_at<T>(theta, theta_is_float, at), &angle[3 * base + 1], &angle[3 * base]);
        angle[3 * base + 2] = value_at<T>(gate, gate_is_float, at);
    }
    __syncthreads();

    Accumulators<kWarpColumns / 8> sums;
    sums.clear();
    for (int channel0 = 0; channel0 < sizes.in_channels; channel0 += kSlice<T>) {
        load_patch(patch, x + (long long)sample * sizes.in_channels * plane, sizes, row0, column0, channel0);
        for (int first = 0; first < squared; first += kTaps) {
            const int taps = squared - first < kTaps ? squared - first : kTaps;
            if (channel0 == 0 || squared > kTaps) {  // up to 3×3 it stays the same for all channels
                fill_mixing(mixing, angle, sizes, first, taps);
                __syncthreads();
            }
            if constexpr (TensorCores<T>::kHave)
                mix_on_tensor_cores(kernels, mixing, bases, sizes, out0, channel0, taps);
            else
                mix_on_cuda_cores(kernels, mixing, bases, sizes, out0, channel0, taps);
            __syncthreads();
            for (int tap = 0; tap < taps; ++tap) {
                const T* rows = kernels + (tap * kRows + place.warp_row * kWarpRows) * kSlice<T>;
                const int down = (first + tap) / sizes.kernel, right = (first + tap) % sizes.kernel;
                const T* pixels = patch + ((place.warp_column * 2 + down) * wide + right) * kSlice<T>;
                multiply_slice(sums, rows, [=](int j, int c) {  // eight pixels of one of the warp's two rows
                    return pixels + (j / 4 * wide + j % 4 * 8 + c) * kSlice<T>;
                });
            }
            __syncthreads();
        }
    }

    each_sum<T>(sums, [&](int channel, int pixel, float sum) {
        const int out = out0 + channel, row = row0 + pixel / kPixelColumns, column = column0 + pixel % kPixelColumns;
        if (out < sizes.out_channels && row < sizes.height && column < sizes.width)
            y[((long long)sample * sizes.out_channels + out) * plane + (long long)row * sizes.width + column] =
                rounded<T>(sum);
    });
}

}  // namespace rsvl

// Float32 keeps more in registers: one block per multiprocessor, two otherwise.
#define RSVL_ROTATED_CONV2D(name, T, blocks)                                                                        \
    extern "C" __global__ void __launch_bounds__(rsvl::kThreads, blocks)                                            \
        name(const T* x, const T* taps, const void* theta, const void* gate, T* y, rsvl::ConvSizes sizes,           \
             int theta_is_float, int gate_is_float) {                                                               \
        rsvl::rotated_conv2d<T>(x, taps, theta, gate, y, sizes, theta_is_float != 0, gate_is_float != 0);           \
    }

RSVL_ROTATED_CONV2D(rotated_conv2d_float32, float, 1)
RSVL_ROTATED_CONV2D(rotated_conv2d_float16, rsvl::Half, 2)
RSVL_ROTATED_CONV2D(rotated_conv2d_bfloat16, rsvl::BFloat, 2)
