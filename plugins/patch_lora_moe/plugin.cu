// rsvl::PatchLoRAMoE as a TensorRT plugin of the library; __init__.py says the same to Python.
#include "kernel_plugin.hpp"
#include "patch_lora_moe.cu"

namespace rsvl {
namespace {

class PatchLoRAMoEPlugin final : public KernelPlugin {
public:
    static constexpr char const* kName = "PatchLoRAMoE";

    static PluginFieldCollection const& fields() {
        static PluginField const own[] = {{"experts", nullptr, nvinfer1::PluginFieldType::kINT32, 1},
                                          {"merged", nullptr, nvinfer1::PluginFieldType::kINT32, 1}};
        static PluginFieldCollection const collection{2, own};
        return collection;
    }

    static PatchLoRAMoEPlugin* from(PluginFieldCollection const& fields) {
        int32_t experts = 0, merged = 0;
        for (int32_t i = 0; i < fields.nbFields; ++i) {
            PluginField const& field = fields.fields[i];
            if (!std::strcmp(field.name, "experts")) experts = *static_cast<int32_t const*>(field.data);
            if (!std::strcmp(field.name, "merged")) merged = *static_cast<int32_t const*>(field.data);
        }
        return new PatchLoRAMoEPlugin(experts, merged);
    }

    // The attributes are for the bodies; they are only kept.
    PatchLoRAMoEPlugin(int32_t experts, int32_t merged) : KernelPlugin(kName, 4), experts_(experts), merged_(merged) {
        save({{"experts", &experts_, nvinfer1::PluginFieldType::kINT32, 1},
              {"merged", &merged_, nvinfer1::PluginFieldType::kINT32, 1}});
    }

    nvinfer1::IPluginV3* clone() noexcept override { return new PatchLoRAMoEPlugin(experts_, merged_); }

    bool takes(int32_t position, DynamicPluginTensorDesc const* tensors) const override {
        DataType const mine = tensors[position].desc.type, first = tensors[0].desc.type;
        if (position == 0) return is_element_type(mine);
        return mine == first || (position == 3 && mine == DataType::kFLOAT);
    }

    DimsExprs output_dims(DimsExprs const* inputs) const override { return inputs[0]; }

    std::string problem(PluginTensorDesc const* inputs) const override {
        auto const &x = inputs[0].dims, &up = inputs[1].dims, &down = inputs[2].dims, &gate = inputs[3].dims;
        bool fits = x.nbDims == 4 && up.nbDims == 3 && down.nbDims == 3 && gate.nbDims == 2;
        fits = fits && x.d[1] == up.d[1] && down.d[0] == up.d[0] && down.d[1] == up.d[2] && down.d[2] == up.d[1] &&
               gate.d[0] == x.d[0] && gate.d[1] == up.d[0];
        if (!fits) return "expected x [P, C, h, w], up [E, C, r], down [E, r, C] and gate [P, E]";
        return x.d[0] * x.d[2] * x.d[3] > 0x7fffffff ? "2^31 cells or more: split the batch" : "";
    }

    size_t shared_bytes(PluginTensorDesc const* inputs) const override {
        return patch_moe_shared_bytes(int(inputs[1].dims.d[0]));
    }

    void const* kernel(DataType type) const override {
        return of_type(type, reinterpret_cast<void const*>(patch_lora_moe_float32),
                       reinterpret_cast<void const*>(patch_lora_moe_float16),
                       reinterpret_cast<void const*>(patch_lora_moe_bfloat16));
    }

    void start(PluginTensorDesc const* of, void const* const* inputs, void* y, cudaStream_t stream) const override {
        auto const &x = of[0].dims, &up = of[1].dims;
        PatchMoeSizes sizes{int(x.d[0]), int(x.d[1]), int(x.d[2] * x.d[3]), int(up.d[0]), int(up.d[2])};
        int gate_is_float = of[3].type == DataType::kFLOAT;
        dim3 const grid(blocks((long long)sizes.patches * sizes.cells, kRows), blocks(sizes.channels, kColumns));
        void const* pointers[5] = {inputs[0], inputs[1], inputs[2], inputs[3], y};
        void* arguments[] = {&pointers[0], &pointers[1], &pointers[2],  &pointers[3],
                             &pointers[4], &sizes,       &gate_is_float};
        cudaLaunchKernel(kernel(of[0].type), grid, dim3(kThreads), arguments, shared_bytes(of), stream);
    }

private:
    int32_t experts_, merged_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* patch_lora_moe_creator() {
    static Creator<PatchLoRAMoEPlugin> creator;
    return &creator;
}

}  // namespace rsvl
