// rsvl::SelectiveScan on NVIDIA GPUs; rsvl/ops/selective_scan.py defines what it computes.
//
//     x, dt [B, D, L], A [D, N], B, C [B, N, L], D [D]  ->  y [B, D, L]
//
// The tokens follow one another, so what is parallel are samples, channels and states. A block has 32 channels of one
// sample; eight threads share a channel, each keeps every eighth of its states in registers from the first token to the
// last. It goes through the tokens in tiles of 16:
//
//   1. the tile of x and dt, and of B and C, goes to shared memory as float32: global memory has the tokens contiguous,
//      the threads want the channels.
//   2. each thread takes its states through the 16 tokens and writes, for each, its part of the sum over the states.
//   3. the eight parts are summed, D·x is added, and y is written with the tokens contiguous.
//
// Why so. One thread per channel would leave a GPU nearly idle: a layer of 384 channels is 12 warps. The parts are summed
// through shared memory, once per tile, and not by shuffles, once per token: a step of the recurrence then has no
// communication in it. The state never leaves the registers, and each input is read once.
//
// Not done: a scan over chunks in parallel, for long sequences at batch 1, as Mamba's own kernel has.
#include "../tensor_tile.cuh"

namespace rsvl {

constexpr int kScanChannels = 32, kParts = 8, kTokens = 16;  // kScanChannels · kParts are a block's threads
constexpr int kMaxStates = 64;
constexpr int kWide = kTokens + 1;  // a row of tokens in shared memory, so that channels fall into different banks

struct ScanSizes {
    int channels, length, states;
};

__host__ __device__ constexpr long long scan_shared_bytes(int states) {
    return 4LL * kWide * (2 * kScanChannels + 2 * states + kParts * kScanChannels);
}

extern __shared__ __align__(16) unsigned char dynamic_shared[];

// A tile of `rows` rows of tokens, as float32; zeros past the last row and the last token.
template <typename T>
__device__ inline void load_tokens(float* tile, int rows, int known, const void* from, bool is_float, long long row0,
                                   int token0, int length) {
    for (int index = threadIdx.x; index < rows * kTokens; index += kThreads) {
        const int row = index / kTokens, token = index % kTokens;
        const bool is = row < known && token0 + token < length;
        tile[row * kWide + token] = is ? value_at<T>(from, is_float, (row0 + row) * length + token0 + token) : 0;
    }
}

// Grid: (blocks of 32 channels, samples). kOwn: the states of a thread.
template <int kOwn, typename T>
__device__ inline void selective_scan(const T* x, const void* dt, const void* a, const T* b, const T* c, const void* d,
                                      T* y, const ScanSizes& sizes, int dt_is_float, int a_is_float, int d_is_float) {
    float* x_tile = reinterpret_cast<float*>(dynamic_shared);  // [kScanChannels][kWide], as is dt_tile
    float* dt_tile = x_tile + kScanChannels * kWide;
    float* b_tile = dt_tile + kScanChannels * kWide;  // [states][kWide], as is c_tile
    float* c_tile = b_tile + sizes.states * kWide;
    float* parts = c_tile + sizes.states * kWide;  // [kParts][kScanChannels][kWide]
    const int channel = threadIdx.x % kScanChannels, part = threadIdx.x / kScanChannels;
    const int channel0 = blockIdx.x * kScanChannels, sample = blockIdx.y;
    const int channels = sizes.channels - channel0 < kScanChannels ? sizes.channels - channel0 : kScanChannels;
    const long long row0 = (long long)sample * sizes.channels + channel0, state0 = (long long)sample * sizes.states;

    float state[kOwn], rate[kOwn];
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
        const int n = part + i * kParts;
        const bool is = channel < channels && n < sizes.states;
        state[i] = 0;
        rate[i] = is ? value_at<T>(a, a_is_float, (long long)(channel0 + channel) * sizes.states + n) : 0;
    }
    for (int token0 = 0; token0 < sizes.length; token0 += kTokens) {
        load_tokens<T>(x_tile, kScanChannels, channels, x, false, row0, token0, sizes.length);
        load_tokens<T>(dt_tile, kScanChannels, channels, dt, dt_is_float, row0, token0, sizes.length);
        load_tokens<T>(b_tile, sizes.states, sizes.states, b, false, state0, token0, sizes.length);
        load_tokens<T>(c_tile, sizes.states, sizes.states, c, false, state0, token0, sizes.length);
        __syncthreads();
        for (int token = 0; token < kTokens; ++token) {
            const float step = dt_tile[channel * kWide + token], entering = step * x_tile[channel * kWide + token];
            float sum = 0;
#pragma unroll
            for (int i = 0; i < kOwn; ++i) {
                const int n = part + i * kParts;
                if (n < sizes.states) {
                    state[i] = expf(step * rate[i]) * state[i] + entering * b_tile[n * kWide + token];
                    sum += state[i] * c_tile[n * kWide + token];
                }
            }
            parts[(part * kScanChannels + channel) * kWide + token] = sum;
        }
        __syncthreads();
        for (int index = threadIdx.x; index < channels * kTokens; index += kThreads) {
            const int row = index / kTokens, token = index % kTokens;
            if (token0 + token >= sizes.length) continue;
            float sum = value_at<T>(d, d_is_float, channel0 + row) * x_tile[row * kWide + token];
            for (int of = 0; of < kParts; ++of) sum += parts[(of * kScanChannels + row) * kWide + token];
            y[(row0 + row) * sizes.length + token0 + token] = rounded<T>(sum);
        }
        __syncthreads();
    }
}

}  // namespace rsvl

#define RSVL_SELECTIVE_SCAN(name, T)                                                                                  \
    extern "C" __global__ void __launch_bounds__(rsvl::kThreads)                                                      \
        name(const T* x, const void* dt, const void* a, const T* b, const T* c, const void* d, T* y,                  \
             rsvl::ScanSizes sizes, int dt_is_float, int a_is_float, int d_is_float) {                                \
        if (sizes.states <= 2 * rsvl::kParts)                                                                         \
            rsvl::selective_scan<2>(x, dt, a, b, c, d, y, sizes, dt_is_float, a_is_float, d_is_float);                \
        else                                                                                                          \
            rsvl::selective_scan<rsvl::kMaxStates / rsvl::kParts>(x, dt, a, b, c, d, y, sizes, dt_is_float,           \
                                                                  a_is_float, d_is_float);                            \
    }

RSVL_SELECTIVE_SCAN(selective_scan_float32, float)
RSVL_SELECTIVE_SCAN(selective_scan_float16, rsvl::Half)
RSVL_SELECTIVE_SCAN(selective_scan_bfloat16, rsvl::BFloat)
