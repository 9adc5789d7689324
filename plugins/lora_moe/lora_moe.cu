// rsvl::LoRAMoE on NVIDIA GPUs; rsvl/ops/lora_moe.py defines what it computes.
//
//     x [..., Cin], weight [Cout, Cin], a [E, r, Cin], b [E, Cout, r], gate [..., E]  ->  y [..., Cout]
//
// With P patches, y [P, Cout] = x·weightᵀ + (gate ⊙ x·aᵀ)·b, in one launch. A block computes 64 patches × 256 outputs:
//
//   1. which experts have a gate other than zero among the block's patches. This block skips the others:
//      the ranks of the active ones, one after another, are its hidden columns. Where no expert is active, the plain
//      linear layer remains.
//   2. for 128 bytes of hidden columns at a time, hidden = x·aᵀ in registers, then times the gates to shared memory, in
//      the layout of a left operand: the experts' second product is a further piece of K of the first.
//   3. sums += hidden·b, and at last sums += x·weightᵀ.
//
// Why so. The blocks of one row of patches each compute hidden again, Cout / 256 times in all; to share it they would have
// to wait for each other through global memory, or be two launches. With top-k routing few ranks are active and
// little is repeated; with all E·r ranks active it costs E·r / 256 of the linear layer, beside the E·r / Cin for
// b. If that is the common case the body of standard operators, which computes hidden once, is the better choice.
#include "../tensor_tile.cuh"

namespace rsvl {

constexpr int kMaxDims = 7;  // dimensions of patches: TensorRT's 8 less the last

struct MoeSizes {
    int patches, in_channels, out_channels, experts, rank;
};

// Where a patch's gates are: the patches' dimensions, outermost first, and the stride of each in rows of gates, zero
// where the gates broadcast.
struct GateRows {
    int dims;
    int size[kMaxDims], stride[kMaxDims];
};

__host__ __device__ constexpr long long moe_shared_bytes(int experts) {
    return 32LL * kSlices * (kRows + kColumns) + 8LL * kRows + 4LL * (experts + 1);
}

__device__ inline long long gate_row(const GateRows& rows, int patch) {
    long long row = 0;
#pragma unroll 1
    for (int d = rows.dims - 1; d >= 0; --d) {
        row += (long long)(patch % rows.size[d]) * rows.stride[d];
        patch /= rows.size[d];
    }
    return row;
}

extern __shared__ __align__(16) unsigned char dynamic_shared[];

// Grid: (blocks of 64 patches, blocks of 256 outputs).
template <typename T>
__device__ inline void lora_moe(const T* x, const T* weight, const T* a, const T* b, const void* gate, T* y,
                                const MoeSizes& sizes, const GateRows& rows, bool gate_is_float) {
    T* left = reinterpret_cast<T*>(dynamic_shared);                 // [kSlices][kRows][slice]: x, or hidden
    T* right = left + kRows * kDepth<T>;                            // [kSlices][kColumns][slice]: weight, b; a's ranks
    long long* gates = reinterpret_cast<long long*>(right + kColumns * kDepth<T>);  // [kRows]: where a patch's begin
    int* active = reinterpret_cast<int*>(gates + kRows);  // the active experts, and at [experts] their number
    const int patch0 = blockIdx.x * kRows, out0 = blockIdx.y * kColumns, cin = sizes.in_channels, rank = sizes.rank;

    for (int expert = threadIdx.x; expert < sizes.experts; expert += kThreads) active[expert] = 0;
    if (threadIdx.x < kRows && patch0 + int(threadIdx.x) < sizes.patches)
        gates[threadIdx.x] = gate_row(rows, patch0 + threadIdx.x) * sizes.experts;
    __syncthreads();
    for (int index = threadIdx.x; index < kRows * sizes.experts; index += kThreads) {
        const int row = index / sizes.experts, expert = index % sizes.experts;
        if (patch0 + row < sizes.patches && value_at<T>(gate, gate_is_float, gates[row] + expert) != 0)
            active[expert] = 1;  // whoever writes it, writes the same
    }
    __syncthreads();
    list_marked(active, sizes.experts);
    const int ranks = active[sizes.experts] * rank;

    // TensorRT's tensors are aligned well beyond 16 bytes; their rows are if a row is.
    const bool whole_channels = cin % (16 / int(sizeof(T))) == 0, whole_ranks = rank % (16 / int(sizeof(T))) == 0;
    const auto load_x = [&](int k0) {
        load_tile<kRows>(left, whole_channels, [=](int row, int k) -> const T* {
            const bool is = patch0 + row < sizes.patches && k0 + k < cin;
            return is ? x + (long long)(patch0 + row) * cin + k0 + k : nullptr;
        });
    };

    Accumulators<kWarpColumns / 8> sums;
    sums.clear();
    for (int rank0 = 0; rank0 < ranks; rank0 += kDepth<T>) {
        constexpr int kEights = kDepth<T> / 4 / 8;  // hidden's columns of a warp
        Accumulators<kEights> hidden;
        hidden.clear();
        for (int k0 = 0; k0 < cin; k0 += kDepth<T>) {
            load_x(k0);
            load_tile<kDepth<T>>(right, whole_channels, [=](int row, int k) -> const T* {
                const int j = rank0 + row;
                if (j >= ranks || k0 + k >= cin) return nullptr;
                return a + ((long long)active[j / rank] * rank + j % rank) * cin + k0 + k;
            });
            __syncthreads();
            multiply_tiles(hidden, left, right, kDepth<T>);
            __syncthreads();
        }
        each_sum<T>(hidden, [&](int row, int column, float sum) {
            float value = 0;
            if (patch0 + row < sizes.patches && rank0 + column < ranks) {
                const long long at = gates[row] + active[(rank0 + column) / rank];
                value = sum * value_at<T>(gate, gate_is_float, at);
            }
            left[(column / kSlice<T> * kRows + row) * kSlice<T> + column % kSlice<T>] = rounded<T>(value);
        });
        load_tile<kColumns>(right, whole_ranks, [=](int row, int k) -> const T* {
            const int out = out0 + row, j = rank0 + k;
            if (out >= sizes.out_channels || j >= ranks) return nullptr;
            return b + ((long long)active[j / rank] * sizes.out_channels + out) * rank + j % rank;
        });
        __syncthreads();
        multiply_tiles(sums, left, right, kColumns);
        __syncthreads();
    }

    for (int k0 = 0; k0 < cin; k0 += kDepth<T>) {
        load_x(k0);
        load_tile<kColumns>(right, whole_channels, [=](int row, int k) -> const T* {
            const bool is = out0 + row < sizes.out_channels && k0 + k < cin;
            return is ? weight + (long long)(out0 + row) * cin + k0 + k : nullptr;
        });
        __syncthreads();
        multiply_tiles(sums, left, right, kColumns);
        __syncthreads();
    }

    each_sum<T>(sums, [&](int row, int column, float sum) {
        const int patch = patch0 + row, out = out0 + column;
        if (patch < sizes.patches && out < sizes.out_channels)
            y[(long long)patch * sizes.out_channels + out] = rounded<T>(sum);
    });
}

}  // namespace rsvl

// Float32 keeps more in registers: one block per multiprocessor, two otherwise.
#define RSVL_LORA_MOE(name, T, blocks)                                                                              \
    extern "C" __global__ void __launch_bounds__(rsvl::kThreads, blocks)                                            \
        name(const T* x, const T* weight, const T* a, const T* b, const void* gate, T* y, rsvl::MoeSizes sizes,     \
             rsvl::GateRows rows, int gate_is_float) {                                                              \
        rsvl::lora_moe<T>(x, weight, a, b, gate, y, sizes, rows, gate_is_float != 0);                               \
    }

RSVL_LORA_MOE(lora_moe_float32, float, 1)
RSVL_LORA_MOE(lora_moe_float16, rsvl::Half, 2)
RSVL_LORA_MOE(lora_moe_bfloat16, rsvl::BFloat, 2)
