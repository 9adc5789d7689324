// rsvl::LoRAMoE as a TensorRT plugin of the library; __init__.py says the same to Python.
#include "kernel_plugin.hpp"
#include "lora_moe.cu"

namespace rsvl {
namespace {

class LoRAMoEPlugin final : public KernelPlugin {
public:
    static constexpr char const* kName = "LoRAMoE";

    static PluginFieldCollection const& fields() {
        static PluginFieldCollection const none{0, nullptr};
        return none;
    }

    static LoRAMoEPlugin* from(PluginFieldCollection const&) { return new LoRAMoEPlugin; }

    LoRAMoEPlugin() : KernelPlugin(kName, 5) {}

    nvinfer1::IPluginV3* clone() noexcept override { return new LoRAMoEPlugin; }

    bool takes(int32_t position, DynamicPluginTensorDesc const* tensors) const override {
        DataType const mine = tensors[position].desc.type, first = tensors[0].desc.type;
        if (position == 0) return is_element_type(mine);
        return mine == first || (position == 4 && mine == DataType::kFLOAT);
    }

    DimsExprs output_dims(DimsExprs const* inputs) const override {
        DimsExprs dims = inputs[0];
        dims.d[dims.nbDims - 1] = inputs[1].d[0];
        return dims;
    }

    std::string problem(PluginTensorDesc const* inputs) const override {
        auto const &x = inputs[0].dims, &weight = inputs[1].dims, &a = inputs[2].dims, &b = inputs[3].dims,
                   &gate = inputs[4].dims;
        int const last = x.nbDims - 1;
        bool fits = last >= 0 && weight.nbDims == 2 && a.nbDims == 3 && b.nbDims == 3 && gate.nbDims == x.nbDims;
        fits = fits && x.d[last] == a.d[2] && weight.d[1] == a.d[2] && b.d[0] == a.d[0] && b.d[1] == weight.d[0] &&
               b.d[2] == a.d[1] && gate.d[last] == a.d[0];
        long long patches = 1;
        for (int d = 0; fits && d < last; ++d) {
            fits = gate.d[d] == 1 || gate.d[d] == x.d[d];
            patches *= x.d[d];
        }
        if (!fits) return "expected x [..., Cin], weight [Cout, Cin], a [E, r, Cin], b [E, Cout, r], gate [..., E]";
        return patches > 0x7fffffff ? "2^31 patches or more: split the batch" : "";
    }

    size_t shared_bytes(PluginTensorDesc const* inputs) const override {
        return moe_shared_bytes(int(inputs[2].dims.d[0]));
    }

    void const* kernel(DataType type) const override {
        return of_type(type, reinterpret_cast<void const*>(lora_moe_float32),
                       reinterpret_cast<void const*>(lora_moe_float16),
                       reinterpret_cast<void const*>(lora_moe_bfloat16));
    }

    void start(PluginTensorDesc const* of, void const* const* inputs, void* y, cudaStream_t stream) const override {
        auto const &x = of[0].dims, &a = of[2].dims, &gate = of[4].dims;
        GateRows rows{x.nbDims - 1, {}, {}};
        int patches = 1, stride = 1;
        for (int d = rows.dims - 1; d >= 0; --d) {
            rows.size[d] = int(x.d[d]);
            rows.stride[d] = gate.d[d] == 1 ? 0 : stride;
            patches *= int(x.d[d]);
            stride *= int(gate.d[d]);
        }
        MoeSizes sizes{patches, int(a.d[2]), int(of[1].dims.d[0]), int(a.d[0]), int(a.d[1])};
        int gate_is_float = of[4].type == DataType::kFLOAT;
        dim3 const grid(blocks(patches, kRows), blocks(sizes.out_channels, kColumns));
        void const* pointers[6] = {inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], y};
        void* arguments[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3], &pointers[4],
                             &pointers[5], &sizes,       &rows,        &gate_is_float};
        cudaLaunchKernel(kernel(of[0].type), grid, dim3(kThreads), arguments, shared_bytes(of), stream);
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* lora_moe_creator() {
    static Creator<LoRAMoEPlugin> creator;
    return &creator;
}

}  // namespace rsvl
