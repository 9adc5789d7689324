// Runs CUDA kernels as C++ on the host, to check their index arithmetic, tiling and barriers where there is no GPU.
//
// A thread of a block is a fiber; fibers run one after another, each until it waits: at a barrier for the whole block,
// at a tensor-core instruction for its warp. So a missing barrier shows: a thread that reads what another one has not
// written yet reads NaN, which fills shared memory before every block. `reversed` runs the last thread first. What it
// cannot show: speed, and misunderstandings of the hardware that the kernel and this file share.
#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__
#define __align__(n) __attribute__((aligned(n)))
#define __launch_bounds__(...)

struct Index {
    unsigned x, y, z;
};

namespace emulator {

constexpr int kWarp = 32, kMaxThreads = 256;
constexpr size_t kStack = 128 * 1024, kMaxShared = 99 * 1024;

enum class Waits { nowhere, barrier, done };

// What a lane hands to the tensor cores: its registers of both operands, and the how-manieth instruction it is.
struct Registers {
    unsigned a[4], b[2];
    long instruction = -1;
};

struct Block {
    ucontext_t scheduler, fibers[kMaxThreads];
    Waits waits[kMaxThreads];
    long instructions[kMaxThreads];
    Registers registers[2][kMaxThreads];  // an instruction's are read while the next one's are handed in
    std::unique_ptr<char[]> stacks{new char[kStack * kMaxThreads]};
    int current = 0;
    void (*kernel)(void*) = nullptr;
    void* arguments = nullptr;
};

inline Block& block() {
    static Block only;
    return only;
}

[[noreturn]] inline void fail(const char* message) {
    std::fprintf(stderr, "emulator: %s\n", message);
    std::abort();
}

inline void wait(Waits where) {
    Block& of = block();
    of.waits[of.current] = where;
    swapcontext(&of.fibers[of.current], &of.scheduler);
}

inline void start_fiber() {
    block().kernel(block().arguments);
    wait(Waits::done);
}

}  // namespace emulator

inline Index threadIdx, blockIdx;

inline void __syncthreads() { emulator::wait(emulator::Waits::barrier); }

namespace emulator {

// The values of all 16-bit patterns, filled when first used.
struct HalfValues {
    float half[1 << 16];
    HalfValues() {
        for (int bits = 0; bits < 1 << 16; ++bits) {
            const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
            float value = exponent == 31 ? (mantissa ? NAN : INFINITY)
                          : exponent     ? std::ldexp(1024.0f + mantissa, exponent - 25)
                                         : std::ldexp(float(mantissa), -24);
            half[bits] = bits & 0x8000 ? -value : value;
        }
    }
};

}  // namespace emulator

inline float half_value(unsigned short bits) {
    static const emulator::HalfValues values;
    return values.half[bits];
}

inline unsigned short half_bits(float value) {  // to nearest, ties to even
    const unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    const float magnitude = std::fabs(value);
    if (std::isnan(value)) return 0x7fff;
    if (magnitude >= 65520.0f) return sign | 0x7c00;
    int exponent = magnitude > 0 ? std::ilogb(magnitude) : -14;
    if (exponent < -14) exponent = -14;
    const int units = int(std::nearbyint(std::ldexp(magnitude, 10 - exponent)));  // a carry moves into the exponent
    return sign | static_cast<unsigned short>(((exponent + 14) << 10) + units);
}

inline unsigned float_bits(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}

inline float bits_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

inline float element_value(unsigned short bits, bool is_half) {
    return is_half ? half_value(bits) : bits_float(unsigned(bits) << 16);
}

// c [16, 8] += a [16, 16] × b [16, 8] by the lanes of a warp, each element where the PTX manual puts it for
// mma.m16n8k16: of a lane, group = lane / 4 and member = lane % 4,
//     a[0], a[1], a[2], a[3]: rows group, group + 8, group, group + 8; columns 2·member and the next, from a[2] on 8 more
//     b[0], b[1]: rows 2·member and the next, in b[1] 8 more; column group
//     c[0], c[1], c[2], c[3]: rows group, group, group + 8, group + 8; columns 2·member, and the next in c[1] and c[3]
inline void multiply_on_warp(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], bool is_half) {
    using namespace emulator;
    Block& of = block();
    const int self = of.current, warp = self / kWarp * kWarp, lane = self % kWarp;
    const long instruction = of.instructions[self]++;
    Registers& mine = of.registers[instruction % 2][self];
    std::memcpy(mine.a, a, sizeof a), std::memcpy(mine.b, b, sizeof b), mine.instruction = instruction;
    wait(Waits::nowhere);
    const Registers* all = of.registers[instruction % 2] + warp;
    for (int l = 0; l < kWarp; ++l)
        if (all[l].instruction != instruction) fail("the lanes of a warp reach a tensor-core instruction apart");
    const auto half_of = [](unsigned pair, int which) { return static_cast<unsigned short>(pair >> 16 * which); };
    for (int e = 0; e < 4; ++e) {
        const int row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
        for (int k = 0; k < 16; ++k) {
            const unsigned left = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2];
            const unsigned right = all[column * 4 + k % 8 / 2].b[k / 8];
            c[e] += element_value(half_of(left, k % 2), is_half) * element_value(half_of(right, k % 2), is_half);
        }
    }
}

#define RSVL_EMULATED
#include "../../../plugins/tensor_tile.cuh"

namespace rsvl {
inline void multiply_16x8x16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], Half) {
    multiply_on_warp(c, a, b, true);
}
inline void multiply_16x8x16(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], BFloat) {
    multiply_on_warp(c, a, b, false);
}
// The kernels' shared memory; what lies behind the bytes that a launch asks for must stay as it was filled.
alignas(16) inline unsigned char dynamic_shared[emulator::kMaxShared];
}  // namespace rsvl

namespace emulator {

inline void run_block(int threads, bool reversed) {
    Block& of = block();
    for (int t = 0; t < threads; ++t) {
        getcontext(&of.fibers[t]);
        of.fibers[t].uc_stack.ss_sp = of.stacks.get() + kStack * t;
        of.fibers[t].uc_stack.ss_size = kStack;
        makecontext(&of.fibers[t], start_fiber, 0);
        of.waits[t] = Waits::nowhere;
        of.instructions[t] = 0;
        of.registers[0][t].instruction = of.registers[1][t].instruction = -1;
    }
    for (int done = 0; done < threads;) {
        int waiting = 0;
        done = 0;
        for (int step = 0; step < threads; ++step) {
            const int t = reversed ? threads - 1 - step : step;
            if (of.waits[t] == Waits::nowhere) {
                of.current = t;
                threadIdx = {unsigned(t), 0, 0};
                swapcontext(&of.scheduler, &of.fibers[t]);
            }
            waiting += of.waits[t] == Waits::barrier;
            done += of.waits[t] == Waits::done;
        }
        if (waiting && waiting + done == threads) {
            if (done) fail("some threads of a block end while others wait at a barrier");
            for (int t = 0; t < threads; ++t) of.waits[t] = Waits::nowhere;
        }
    }
}

// Calls `kernel` in every thread of every block, as <<<grid, threads, shared>>> would.
template <typename Kernel>
void launch(Index grid, int threads, size_t shared, bool reversed, Kernel kernel) {
    if (threads > kMaxThreads || shared > kMaxShared) fail("a launch asks for too many threads or too much memory");
    block().kernel = [](void* arguments) { (*static_cast<Kernel*>(arguments))(); };
    block().arguments = &kernel;
    for (blockIdx.z = 0; blockIdx.z < grid.z; ++blockIdx.z)
        for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
            for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x) {
                std::memset(rsvl::dynamic_shared, 0xff, sizeof rsvl::dynamic_shared);  // NaN in all three types
                run_block(threads, reversed);
                for (size_t i = shared; i < sizeof rsvl::dynamic_shared; ++i)
                    if (rsvl::dynamic_shared[i] != 0xff) fail("a block writes past its shared memory");
            }
}

}  // namespace emulator
