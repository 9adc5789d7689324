// The parts of both kernels: elements of 16 or 32 bits, and the product that eight warps keep in registers.
//
// It includes nothing, so that NVRTC compiles it where no CUDA toolkit is installed. With RSVL_EMULATED defined, the host
// compiles it as C++: tests/plugins/emulator then supplies the built-in variables and what is PTX here.
//
// One block of 256 threads computes kRows × kColumns of a product over K, in slices of 32 bytes of K: the warps lie two by
// four, each has 32 rows and a quarter of the columns. Both operands lie in shared memory as [row or column][slice], a
// slice of K contiguous and nothing between: then the reads of 8 bytes a lane below touch each bank once.
#pragma once

namespace rsvl {

constexpr int kThreads = 256;
constexpr int kRows = 64;
constexpr int kColumns = 256;
constexpr int kWarpRows = 32;     // of kRows, by two warps
constexpr int kWarpColumns = 64;  // of kColumns, by four warps

struct Half {
    unsigned short bits;
};
struct BFloat {
    unsigned short bits;
};

// Elements of one slice: 16 of 16 bits are the K of one tensor-core instruction, and one sector of global memory.
template <typename T>
constexpr int kSlice = 32 / int(sizeof(T));

#ifndef RSVL_EMULATED
__device__ inline float half_value(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

__device__ inline unsigned short half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

__device__ inline unsigned float_bits(float value) { return __float_as_uint(value); }
__device__ inline float bits_float(unsigned bits) { return __uint_as_float(bits); }

// c [16, 8] += a [16, 16] × b [16, 8] by one warp; who holds which element is in the PTX manual under mma.m16n8k16.
__device__ inline void multiply_16x8x16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], Half) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else  // Turing has it in two halves of K
    for (int half = 0; half < 2; ++half) {
        asm volatile(
            "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
            : "r"(a[2 * half]), "r"(a[2 * half + 1]), "r"(b[half]));
    }
#endif
}

__device__ inline void multiply_16x8x16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], BFloat) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}
#endif

// float32 is multiplied in float32, not in TF32, whose products are good to three digits; Turing has no bfloat16.
template <typename T>
struct TensorCores {
    static constexpr bool kHave = false;
};
template <>
struct TensorCores<Half> {
    static constexpr bool kHave = true;
};
#if defined(RSVL_EMULATED) || (defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800)
template <>
struct TensorCores<BFloat> {
    static constexpr bool kHave = true;
};
#endif

__device__ inline float value_of(float element) { return element; }
__device__ inline float value_of(Half element) { return half_value(element.bits); }
__device__ inline float value_of(BFloat element) { return bits_float(unsigned(element.bits) << 16); }

template <typename T>
__device__ inline T rounded(float value);
template <>
__device__ inline float rounded<float>(float value) {
    return value;
}
template <>
__device__ inline Half rounded<Half>(float value) {
    return Half{half_bits(value)};
}
template <>
__device__ inline BFloat rounded<BFloat>(float value) {  // to nearest, ties to even
    const unsigned bits = float_bits(value);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return BFloat{static_cast<unsigned short>(nan ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

// An element of an array that is float32 or T, as the graph has it.
template <typename T>
__device__ inline float value_at(const void* array, bool is_float, long long index) {
    return is_float ? static_cast<const float*>(array)[index] : value_of(static_cast<const T*>(array)[index]);
}

// Turns marks, one per expert, into the numbers of those that are marked, and at [experts] how many they are.
__device__ inline void list_marked(int* marks, int experts) {
    if (threadIdx.x == 0) {
        int count = 0;
        for (int expert = 0; expert < experts; ++expert)
            if (marks[expert]) marks[count++] = expert;
        marks[experts] = count;
    }
    __syncthreads();
}

template <typename T>
struct alignas(16) Chunk {  // what one thread loads or stores at once
    T element[16 / sizeof(T)];
};
template <typename T>
struct alignas(4 * sizeof(T)) Four {
    T element[4];
};
struct alignas(8) Pairs {  // four elements of 16 bits: two registers of a tensor-core operand
    unsigned low, high;
};

struct Place {  // of a thread in its block
    int warp_row, warp_column, group, member;
    __device__ Place()
        : warp_row(int(threadIdx.x) / 32 % 2),
          warp_column(int(threadIdx.x) / 64),
          group(int(threadIdx.x) % 32 / 4),
          member(int(threadIdx.x) % 4) {}
};

// A warp's part of the product, 32 rows × 8·kEights columns; each lane has four elements of every 16×8.
template <int kEights>
struct Accumulators {
    float sum[2][kEights][4];

    __device__ void clear() {
        for (auto& half : sum)
            for (auto& eight : half)
                for (float& value : eight) value = 0;
    }
};

// Which row of the warp's 32 and which of the eight columns the element `e` of a lane's sum[i][j] is. On CUDA
// cores the columns interleave, so that four lanes' reads fall into different banks.
__device__ inline int row_of(Place place, int i, int e) { return i * 16 + place.group + e / 2 * 8; }
template <typename T>
__device__ inline int column_of(Place place, int e) {
    return TensorCores<T>::kHave ? 2 * place.member + e % 2 : place.member + e % 2 * 4;
}

// Calls visit(row, column, sum) for each of a lane's elements, by its place in the product of the whole block.
template <typename T, int kEights, typename Visit>
__device__ inline void each_sum(const Accumulators<kEights>& of, Visit visit) {
    const Place place;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < kEights; ++j)
#pragma unroll
            for (int e = 0; e < 4; ++e)
                visit(place.warp_row * kWarpRows + row_of(place, i, e),
                      (place.warp_column * kEights + j) * 8 + column_of<T>(place, e), of.sum[i][j][e]);
}

// Adds the product over one slice of K. `rows` is the slice of the warp's first row; `column(j, c)` gives the slice of its
// column 8·j + c. The order of K within a slice is free as long as both operands share it, so a lane takes four
// neighbours, in one read, where the instruction's own order has two and two eight further on.
template <typename T, int kEights, typename Column>
__device__ inline void multiply_slice(Accumulators<kEights>& into, const T* rows, Column column) {
    const Place place;
    if constexpr (TensorCores<T>::kHave) {
        unsigned a[2][4];
        for (int i = 0; i < 2; ++i) {
            const T* row = rows + (i * 16 + place.group) * kSlice<T> + 4 * place.member;
            const Pairs upper = *reinterpret_cast<const Pairs*>(row);
            const Pairs lower = *reinterpret_cast<const Pairs*>(row + 8 * kSlice<T>);
            a[i][0] = upper.low, a[i][1] = lower.low, a[i][2] = upper.high, a[i][3] = lower.high;
        }
#pragma unroll
        for (int j = 0; j < kEights; ++j) {
            const Pairs pairs = *reinterpret_cast<const Pairs*>(column(j, place.group) + 4 * place.member);
            const unsigned b[2] = {pairs.low, pairs.high};
            multiply_16x8x16(into.sum[0][j], a[0], b, T{});
            multiply_16x8x16(into.sum[1][j], a[1], b, T{});
        }
    } else {
        for (int k = 0; k < kSlice<T>; k += 4) {
            Four<T> a[4];  // the lane's rows: row_of(i, 0) and row_of(i, 2)
#pragma unroll
            for (int i = 0; i < 4; ++i)
                a[i] = *reinterpret_cast<const Four<T>*>(rows + (place.group + 8 * i) * kSlice<T> + k);
#pragma unroll
            for (int j = 0; j < kEights; ++j)
#pragma unroll
                for (int e = 0; e < 2; ++e) {
                    const Four<T> b = *reinterpret_cast<const Four<T>*>(column(j, column_of<T>(place, e)) + k);
#pragma unroll
                    for (int i = 0; i < 4; ++i)
#pragma unroll
                        for (int t = 0; t < 4; ++t)
                            into.sum[i / 2][j][i % 2 * 2 + e] += value_of(a[i].element[t]) * value_of(b.element[t]);
                }
        }
    }
}

// For products over a long K, several slices of both operands are loaded at once.
constexpr int kSlices = 4;
template <typename T>
constexpr int kDepth = kSlices * kSlice<T>;

// Loads [kTileRows][kDepth] as [slice][row][in the slice]. `locate(row, k)` says where an element is, or nowhere: zero.
// With `whole`, 16 bytes are where their first element is.
template <int kTileRows, typename T, typename Locate>
__device__ inline void load_tile(T* tile, bool whole, Locate locate) {
    constexpr int kChunk = 16 / int(sizeof(T)), kChunks = 2 * kSlices * kTileRows;
    const auto row = [](int index) { return index / 2 % kTileRows; };
    const auto k = [](int index) { return index / 2 / kTileRows * kSlice<T> + index % 2 * kChunk; };
    Chunk<T>* chunks = reinterpret_cast<Chunk<T>*>(tile);
    if (whole) {
#pragma unroll 2  // loads in flight at once; with four, registers spill
        for (int index = threadIdx.x; index < kChunks; index += kThreads) {
            const T* at = locate(row(index), k(index));
            chunks[index] = at ? *reinterpret_cast<const Chunk<T>*>(at) : Chunk<T>{};
        }
    } else {
#pragma unroll 1  // odd sizes: short code rather than fast
        for (int index = threadIdx.x; index < kChunks * kChunk; index += kThreads) {
            const int chunk = index / kChunk, c = index % kChunk;
            const T* at = locate(row(chunk), k(chunk) + c);
            chunks[chunk].element[c] = at ? *at : T{};
        }
    }
}

// Adds the product of a left tile of kRows and a right tile of `columns` rows, both [slice][row][in the slice].
template <typename T, int kEights>
__device__ inline void multiply_tiles(Accumulators<kEights>& into, const T* left, const T* right, int columns) {
    const Place place;
#pragma unroll 2
    for (int slice = 0; slice < kSlices; ++slice) {
        const T* own = right + (slice * columns + place.warp_column * 8 * kEights) * kSlice<T>;
        multiply_slice(into, left + (slice * kRows + place.warp_row * kWarpRows) * kSlice<T>,
                       [=](int j, int c) { return own + (j * 8 + c) * kSlice<T>; });
    }
}

}  // namespace rsvl
