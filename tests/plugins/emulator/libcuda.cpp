// The emulator behind the CUDA driver's own C functions, as much of them as plugins call: a libcuda for the host.
#include "kernels.cpp"

#include <string>

namespace {

struct EmulatedKernel {
    void (*run)(const Launch*, void**) = nullptr;
    int allowed = 48 * 1024;
};

struct EmulatedLibrary {
    std::string code;
    EmulatedKernel kernel;
};

enum { kSuccess = 0, kInvalidValue = 1, kNotFound = 500 };

}  // namespace

extern "C" int cuGetErrorName(int status, const char** name) {
    *name = status == kSuccess         ? "CUDA_SUCCESS"
            : status == kInvalidValue  ? "CUDA_ERROR_INVALID_VALUE"
            : status == kNotFound      ? "CUDA_ERROR_NOT_FOUND"
                                       : nullptr;
    return *name ? kSuccess : kInvalidValue;
}

// A GPU of compute capability 8.7.
extern "C" int cuDeviceGetAttribute(int* value, int attribute, int device) {
    switch (attribute) {
        case 75: *value = 8; break;
        case 76: *value = 7; break;
        case 97: *value = 99 * 1024; break;
        default: return kInvalidValue;
    }
    return device == 0 ? kSuccess : kInvalidValue;
}

extern "C" int cuLibraryLoadData(void** library, const void* code, int* options, void** values, unsigned count,
                                 int* library_options, void** library_values, unsigned library_count) {
    if (options || values || count || library_options || library_values || library_count) return kInvalidValue;
    *library = new EmulatedLibrary{static_cast<const char*>(code), {}};
    return kSuccess;
}

extern "C" int cuLibraryGetKernel(void** kernel, void* library, const char* name) {
    const std::string wanted = name;
    EmulatedKernel& found = static_cast<EmulatedLibrary*>(library)->kernel;
#define KNOWN(kernel_name) \
    if (wanted == #kernel_name) found.run = emulated_##kernel_name;
    KNOWN(rotated_conv2d_float32)
    KNOWN(rotated_conv2d_float16)
    KNOWN(rotated_conv2d_bfloat16)
    KNOWN(lora_moe_float32)
    KNOWN(lora_moe_float16)
    KNOWN(lora_moe_bfloat16)
    KNOWN(patch_lora_moe_float32)
    KNOWN(patch_lora_moe_float16)
    KNOWN(patch_lora_moe_bfloat16)
    KNOWN(selective_scan_float32)
    KNOWN(selective_scan_float16)
    KNOWN(selective_scan_bfloat16)
    *kernel = &found;
    return found.run ? kSuccess : kNotFound;
}

extern "C" int cuKernelGetFunction(void** function, void* kernel) {
    *function = kernel;
    return kSuccess;
}

extern "C" int cuFuncSetAttribute(void* function, int attribute, int value) {
    if (attribute != 8) return kInvalidValue;
    static_cast<EmulatedKernel*>(function)->allowed = value;
    return kSuccess;
}

extern "C" int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                              unsigned threads_z, unsigned shared, void* stream, void** arguments, void** extra) {
    const EmulatedKernel& kernel = *static_cast<EmulatedKernel*>(function);
    if (int(shared) > kernel.allowed || threads_y != 1 || threads_z != 1 || stream || extra) return kInvalidValue;
    const Launch how{{x, y, z}, threads, shared, 0};
    kernel.run(&how, arguments);
    return kSuccess;
}
