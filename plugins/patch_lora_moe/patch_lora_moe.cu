// rsvl::PatchLoRAMoE on NVIDIA GPUs; rsvl/ops/patch_lora_moe.py defines what it computes.
//
//     x [P, C, h, w], up [E, C, r], down [E, r, C], gate [P, E]  ->  y [P, C, h, w]
//
// In one launch, with the cells of all patches as the rows of the products. A block computes 64 cells × 256 channels:
//
//   1. which experts have a gate other than zero among the block's patches. The ranks of these, one after another,
//      are its hidden columns.
//   2. for 128 bytes of hidden columns at a time, hidden = x·downᵀ in registers, then times the gates to shared memory,
//      in the layout of a left operand.
//   3. sums += hidden·upᵀ, and at last y = x + sums.
//
// Why so. A block of 64 cells is 16 patches of 2×2, or 4 of 4×4: few enough that most experts have none of them and cost
// nothing, many enough to fill a tensor-core product. Sorting the cells by expert beforehand, as the body of standard
// operators does, would need a second launch and the patches' order in memory. The factors are never multiplied out: where
// the body does so (rank above half of C), it is for the sake of a CPU's arithmetic.
//
// A patch is [C][cells] in memory and a row here one of its cells: x is read element by element, neighbouring threads at
// neighbouring cells, and so is y written.
#include "../tensor_tile.cuh"

namespace rsvl {

struct PatchMoeSizes {
    int patches, channels, cells, experts, rank;
};

__host__ __device__ constexpr long long patch_moe_shared_bytes(int experts) {
    return 32LL * kSlices * (kRows + kColumns) + 4LL * (experts + 1);
}

extern __shared__ __align__(16) unsigned char dynamic_shared[];

// Grid: (blocks of 64 cells, blocks of 256 channels).
template <typename T>
__device__ inline void patch_lora_moe(const T* x, const T* up, const T* down, const void* gate, T* y,
                                      const PatchMoeSizes& sizes, bool gate_is_float) {
    T* left = reinterpret_cast<T*>(dynamic_shared);   // [kSlices][kRows][slice]: x, or hidden
    T* right = left + kRows * kDepth<T>;              // [kSlices][kColumns][slice]: up; down's ranks
    int* active = reinterpret_cast<int*>(right + kColumns * kDepth<T>);  // the experts, and at [experts] their number
    const int row0 = blockIdx.x * kRows, out0 = blockIdx.y * kColumns, channels = sizes.channels, rank = sizes.rank;
    const int rows = sizes.patches * sizes.cells, cells = sizes.cells;
    const auto element = [=](int row, int channel) {  // of x and y
        return ((long long)(row / cells) * channels + channel) * cells + row % cells;
    };

    for (int expert = threadIdx.x; expert < sizes.experts; expert += kThreads) active[expert] = 0;
    __syncthreads();
    const int first = row0 / cells, end = (row0 + kRows < rows ? row0 + kRows : rows) - 1;
    for (int index = threadIdx.x; index < (end / cells - first + 1) * sizes.experts; index += kThreads)
        if (value_at<T>(gate, gate_is_float, (long long)first * sizes.experts + index) != 0)
            active[index % sizes.experts] = 1;  // whoever writes it, writes the same
    __syncthreads();
    list_marked(active, sizes.experts);
    const int ranks = active[sizes.experts] * rank;

    // TensorRT's tensors are aligned well beyond 16 bytes; their rows are if a row is.
    const bool whole_channels = channels % (16 / int(sizeof(T))) == 0, whole_ranks = rank % (16 / int(sizeof(T))) == 0;

    Accumulators<kWarpColumns / 8> sums;
    sums.clear();
    for (int rank0 = 0; rank0 < ranks; rank0 += kDepth<T>) {
        constexpr int kEights = kDepth<T> / 4 / 8;  // hidden's columns of a warp
        Accumulators<kEights> hidden;
        hidden.clear();
        for (int k0 = 0; k0 < channels; k0 += kDepth<T>) {
#pragma unroll 4  // loads in flight at once
            for (int index = threadIdx.x; index < kRows * kDepth<T>; index += kThreads) {
                const int row = index % kRows, k = index / kRows;
                const bool is = row0 + row < rows && k0 + k < channels;
                left[(k / kSlice<T> * kRows + row) * kSlice<T> + k % kSlice<T>] =
                    is ? x[element(row0 + row, k0 + k)] : T{};
            }
            load_tile<kDepth<T>>(right, whole_channels, [=](int row, int k) -> const T* {
                const int j = rank0 + row;
                if (j >= ranks || k0 + k >= channels) return nullptr;
                return down + ((long long)active[j / rank] * rank + j % rank) * channels + k0 + k;
            });
            __syncthreads();
            multiply_tiles(hidden, left, right, kDepth<T>);
            __syncthreads();
        }
        each_sum<T>(hidden, [&](int row, int column, float sum) {
            float value = 0;
            if (row0 + row < rows && rank0 + column < ranks) {
                const long long patch = (row0 + row) / cells;
                const int expert = active[(rank0 + column) / rank];
                value = sum * value_at<T>(gate, gate_is_float, patch * sizes.experts + expert);
            }
            left[(column / kSlice<T> * kRows + row) * kSlice<T> + column % kSlice<T>] = rounded<T>(value);
        });
        load_tile<kColumns>(right, whole_ranks, [=](int row, int k) -> const T* {
            const int out = out0 + row, j = rank0 + k;
            if (out >= channels || j >= ranks) return nullptr;
            return up + ((long long)active[j / rank] * channels + out) * rank + j % rank;
        });
        __syncthreads();
        multiply_tiles(sums, left, right, kColumns);
        __syncthreads();
    }

    each_sum<T>(sums, [&](int row, int column, float sum) {
        if (row0 + row < rows && out0 + column < channels) {
            const long long at = element(row0 + row, out0 + column);
            y[at] = rounded<T>(value_of(x[at]) + sum);
        }
    });
}

}  // namespace rsvl

// Float32 keeps more in registers: one block per multiprocessor, two otherwise.
#define RSVL_PATCH_LORA_MOE(name, T, blocks)                                                                       \
    extern "C" __global__ void __launch_bounds__(rsvl::kThreads, blocks)                                           \
        name(const T* x, const T* up, const T* down, const void* gate, T* y, rsvl::PatchMoeSizes sizes,            \
             int gate_is_float) {                                                                                  \
        rsvl::patch_lora_moe<T>(x, up, down, gate, y, sizes, gate_is_float != 0);                                  \
    }

RSVL_PATCH_LORA_MOE(patch_lora_moe_float32, float, 1)
RSVL_PATCH_LORA_MOE(patch_lora_moe_float16, rsvl::Half, 2)
RSVL_PATCH_LORA_MOE(patch_lora_moe_bfloat16, rsvl::BFloat, 2)
