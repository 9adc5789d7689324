// The kernels on the emulator, to be called from Python: a launch's grid and arguments, as the GPU would be given them.
#include "block.hpp"


#include "../../../plugins/rotated_conv/rotated_conv.cu"
#include "../../../plugins/lora_moe/lora_moe.cu"
#include "../../../plugins/patch_lora_moe/patch_lora_moe.cu"
#include "../../../plugins/selective_scan/selective_scan.cu"

namespace {

struct Launch {
    unsigned grid[3];
    unsigned threads;
    unsigned shared;
    int reversed;
};

template <typename Kernel>
void run(const Launch& how, Kernel kernel) {
    emulator::launch({how.grid[0], how.grid[1], how.grid[2]}, how.threads, how.shared, how.reversed != 0, kernel);
}

}  // namespace

// Argument number i of the kernel, as cuLaunchKernel takes them: the address of its value.
#define ARGUMENT(type, i) (*static_cast<type*>(arguments[i]))

#define EMULATED_CONV(name, T)                                                                                       \
    extern "C" void emulated_##name(const Launch* how, void** arguments) {                                           \
        run(*how, [=] {                                                                                              \
            name(ARGUMENT(const T*, 0), ARGUMENT(const T*, 1), ARGUMENT(const void*, 2), ARGUMENT(const void*, 3),   \
                 ARGUMENT(T*, 4), ARGUMENT(rsvl::ConvSizes, 5), ARGUMENT(int, 6), ARGUMENT(int, 7));                 \
        });                                                                                                          \
    }
EMULATED_CONV(rotated_conv2d_float32, float)
EMULATED_CONV(rotated_conv2d_float16, rsvl::Half)
EMULATED_CONV(rotated_conv2d_bfloat16, rsvl::BFloat)

#define EMULATED_MOE(name, T)                                                                                        \
    extern "C" void emulated_##name(const Launch* how, void** arguments) {                                           \
        run(*how, [=] {                                                                                              \
            name(ARGUMENT(const T*, 0), ARGUMENT(const T*, 1), ARGUMENT(const T*, 2), ARGUMENT(const T*, 3),         \
                 ARGUMENT(const void*, 4), ARGUMENT(T*, 5), ARGUMENT(rsvl::MoeSizes, 6), ARGUMENT(rsvl::GateRows, 7), \
                 ARGUMENT(int, 8));                                                                                  \
        });                                                                                                          \
    }
EMULATED_MOE(lora_moe_float32, float)
EMULATED_MOE(lora_moe_float16, rsvl::Half)
EMULATED_MOE(lora_moe_bfloat16, rsvl::BFloat)

#define EMULATED_PATCH_MOE(name, T)                                                                                  \
    extern "C" void emulated_##name(const Launch* how, void** arguments) {                                           \
        run(*how, [=] {                                                                                              \
            name(ARGUMENT(const T*, 0), ARGUMENT(const T*, 1), ARGUMENT(const T*, 2), ARGUMENT(const void*, 3),      \
                 ARGUMENT(T*, 4), ARGUMENT(rsvl::PatchMoeSizes, 5), ARGUMENT(int, 6));                               \
        });                                                                                                          \
    }
EMULATED_PATCH_MOE(patch_lora_moe_float32, float)
EMULATED_PATCH_MOE(patch_lora_moe_float16, rsvl::Half)
EMULATED_PATCH_MOE(patch_lora_moe_bfloat16, rsvl::BFloat)

#define EMULATED_SCAN(name, T)                                                                                       \
    extern "C" void emulated_##name(const Launch* how, void** arguments) {                                           \
        run(*how, [=] {                                                                                              \
            name(ARGUMENT(const T*, 0), ARGUMENT(const void*, 1), ARGUMENT(const void*, 2), ARGUMENT(const T*, 3),   \
                 ARGUMENT(const T*, 4), ARGUMENT(const void*, 5), ARGUMENT(T*, 6), ARGUMENT(rsvl::ScanSizes, 7),     \
                 ARGUMENT(int, 8), ARGUMENT(int, 9), ARGUMENT(int, 10));                                             \
        });                                                                                                          \
    }
EMULATED_SCAN(selective_scan_float32, float)
EMULATED_SCAN(selective_scan_float16, rsvl::Half)
EMULATED_SCAN(selective_scan_bfloat16, rsvl::BFloat)

extern "C" long long emulated_conv_shared_bytes(int element, int kernel, int bases) {
    return element == 4 ? rsvl::conv_shared_bytes<float>(kernel, bases) : rsvl::conv_shared_bytes<rsvl::Half>(kernel, bases);
}

extern "C" long long emulated_moe_shared_bytes(int experts) { return rsvl::moe_shared_bytes(experts); }

extern "C" long long emulated_patch_moe_shared_bytes(int experts) { return rsvl::patch_moe_shared_bytes(experts); }

extern "C" long long emulated_scan_shared_bytes(int states) { return rsvl::scan_shared_bytes(states); }
