// A TensorRT plugin around one kernel, and its creator; what an operation adds is in ../<operation>/plugin.cu. The Python
// counterpart is ../tensorrt_plugin.py: name, version and fields are the same, so an engine that was built with
// one loads with the other.
#pragma once

#include <NvInferRuntime.h>
#include <cuda_runtime_api.h>

#include <cstring>
#include <string>
#include <vector>

namespace rsvl {

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::DynamicPluginTensorDesc;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginTensorDesc;

// Prints one line to the logger of TensorRT, if it gave one, or to stderr.
void report(char const* operation, std::string const& problem);

inline bool is_element_type(DataType type) {
    return type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16;
}

// The kernel of a dtype, out of the three that each source has.
template <typename Kernel>
Kernel of_type(DataType type, Kernel float32, Kernel float16, Kernel bfloat16) {
    return type == DataType::kFLOAT ? float32 : type == DataType::kHALF ? float16 : bfloat16;
}

inline int blocks(long long size, int block) { return static_cast<int>((size + block - 1) / block); }

class KernelPlugin : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
public:
    KernelPlugin(char const* name, int32_t inputs) : name_(name), inputs_(inputs) {}

    // What an operation says of itself.
    // Whether tensor number `position` (inputs, then the output) may have its type, given those before it.
    virtual bool takes(int32_t position, DynamicPluginTensorDesc const* tensors) const = 0;
    virtual DimsExprs output_dims(DimsExprs const* inputs) const = 0;
    // Why the kernel cannot take these inputs; empty if it can.
    virtual std::string problem(PluginTensorDesc const* inputs) const = 0;
    // Bytes of shared memory, and the kernel that needs them.
    virtual size_t shared_bytes(PluginTensorDesc const* inputs) const = 0;
    virtual void const* kernel(DataType type) const = 0;
    virtual void start(PluginTensorDesc const* descriptions, void const* const* inputs, void* output,
                       cudaStream_t stream) const = 0;

    // IPluginV3OneCore
    char const* getPluginName() const noexcept override { return name_; }
    char const* getPluginVersion() const noexcept override { return "1"; }
    char const* getPluginNamespace() const noexcept override { return ""; }

    // IPluginV3
    nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
        switch (type) {
            case nvinfer1::PluginCapabilityType::kCORE: return static_cast<IPluginV3OneCore*>(this);
            case nvinfer1::PluginCapabilityType::kBUILD: return static_cast<IPluginV3OneBuild*>(this);
            case nvinfer1::PluginCapabilityType::kRUNTIME: return static_cast<IPluginV3OneRuntime*>(this);
        }
        return nullptr;
    }

    // IPluginV3OneBuild
    int32_t getNbOutputs() const noexcept override { return 1; }
    int32_t getOutputDataTypes(DataType* outputs, int32_t, DataType const* inputs, int32_t) const noexcept override {
        outputs[0] = inputs[0];
        return 0;
    }
    int32_t getOutputShapes(DimsExprs const* inputs, int32_t, DimsExprs const*, int32_t, DimsExprs* outputs, int32_t,
                            nvinfer1::IExprBuilder&) noexcept override {
        outputs[0] = output_dims(inputs);
        return 0;
    }
    bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const* tensors, int32_t inputs,
                                   int32_t) noexcept override {
        return inputs == inputs_ && tensors[position].desc.format == nvinfer1::TensorFormat::kLINEAR &&
               takes(position, tensors);
    }
    int32_t configurePlugin(DynamicPluginTensorDesc const*, int32_t, DynamicPluginTensorDesc const*,
                            int32_t) noexcept override {
        return 0;
    }

    // IPluginV3OneRuntime
    int32_t onShapeChange(PluginTensorDesc const* inputs, int32_t, PluginTensorDesc const*, int32_t) noexcept override {
        std::string why = problem(inputs);
        if (why.empty()) why = allow_shared_bytes(kernel(inputs[0].type), shared_bytes(inputs));
        if (!why.empty()) report(name_, why);
        return why.empty() ? 0 : -1;
    }
    int32_t enqueue(PluginTensorDesc const* descriptions, PluginTensorDesc const*, void const* const* inputs,
                    void* const* outputs, void*, cudaStream_t stream) noexcept override {
        start(descriptions, inputs, outputs[0], stream);
        cudaError_t const error = cudaGetLastError();
        if (error != cudaSuccess) report(name_, cudaGetErrorString(error));
        return error == cudaSuccess ? 0 : -1;
    }
    nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }
    PluginFieldCollection const* getFieldsToSerialize() noexcept override { return &saved_; }

protected:
    // To be called by an operation with fields, whose data live as long as the plugin.
    void save(std::vector<PluginField> fields) {
        fields_ = std::move(fields);
        saved_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    }

private:
    // More than 48 KiB must be asked for.
    static std::string allow_shared_bytes(void const* kernel, size_t bytes) {
        cudaError_t const error =
            bytes <= 48 * 1024 ? cudaSuccess
                               : cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes));
        if (error == cudaSuccess) return "";
        cudaGetLastError();  // reported here, and not by a later call
        return "it needs " + std::to_string(bytes) + " bytes of shared memory for these sizes (" +
               cudaGetErrorString(error) + "): build the engine without the plugin";
    }

    char const* name_;
    int32_t inputs_;
    std::vector<PluginField> fields_;
    PluginFieldCollection saved_{0, nullptr};
};

// Makes plugins of a class that has kName, kFields and `static Plugin* from(PluginFieldCollection const&)`.
template <typename Plugin>
class Creator : public nvinfer1::IPluginCreatorV3One {
public:
    char const* getPluginName() const noexcept override { return Plugin::kName; }
    char const* getPluginVersion() const noexcept override { return "1"; }
    char const* getPluginNamespace() const noexcept override { return ""; }
    PluginFieldCollection const* getFieldNames() noexcept override { return &Plugin::fields(); }
    nvinfer1::IPluginV3* createPlugin(char const*, PluginFieldCollection const* fields,
                                      nvinfer1::TensorRTPhase) noexcept override {
        return Plugin::from(*fields);
    }
};

// Each operation's creator.
nvinfer1::IPluginCreatorInterface* rotated_conv2d_creator();
nvinfer1::IPluginCreatorInterface* lora_moe_creator();
nvinfer1::IPluginCreatorInterface* patch_lora_moe_creator();
nvinfer1::IPluginCreatorInterface* selective_scan_creator();

}  // namespace rsvl
