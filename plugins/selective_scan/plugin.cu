// rsvl::SelectiveScan as a TensorRT plugin of the library; __init__.py says the same to Python.
#include "kernel_plugin.hpp"
#include "selective_scan.cu"

namespace rsvl {
namespace {

class SelectiveScanPlugin final : public KernelPlugin {
public:
    static constexpr char const* kName = "SelectiveScan";

    static PluginFieldCollection const& fields() {
        static PluginFieldCollection const none{0, nullptr};
        return none;
    }

    static SelectiveScanPlugin* from(PluginFieldCollection const&) { return new SelectiveScanPlugin; }

    SelectiveScanPlugin() : KernelPlugin(kName, 6) {}

    nvinfer1::IPluginV3* clone() noexcept override { return new SelectiveScanPlugin; }

    bool takes(int32_t position, DynamicPluginTensorDesc const* tensors) const override {
        DataType const mine = tensors[position].desc.type, first = tensors[0].desc.type;
        if (position == 0) return is_element_type(mine);
        return mine == first || ((position == 1 || position == 2 || position == 5) && mine == DataType::kFLOAT);
    }

    DimsExprs output_dims(DimsExprs const* inputs) const override { return inputs[0]; }

    std::string problem(PluginTensorDesc const* inputs) const override {
        auto const &x = inputs[0].dims, &dt = inputs[1].dims, &a = inputs[2].dims, &d = inputs[5].dims;
        bool fits = x.nbDims == 3 && dt.nbDims == 3 && a.nbDims == 2 && d.nbDims == 1 && a.d[0] == x.d[1] &&
                    d.d[0] == x.d[1];
        for (int axis = 0; fits && axis < 3; ++axis) fits = dt.d[axis] == x.d[axis];
        for (int read = 3; fits && read < 5; ++read) {
            auto const& dims = inputs[read].dims;
            fits = dims.nbDims == 3 && dims.d[0] == x.d[0] && dims.d[1] == a.d[1] && dims.d[2] == x.d[2];
        }
        if (!fits) return "expected x and dt [B, D, L], A [D, N], B and C [B, N, L], D [D]";
        if (a.d[1] > kMaxStates) return "more than 64 states: build the engine without the plugin";
        return x.d[0] > 65535 ? "more than 65535 samples: split the batch" : "";
    }

    size_t shared_bytes(PluginTensorDesc const* inputs) const override {
        return scan_shared_bytes(int(inputs[2].dims.d[1]));
    }

    void const* kernel(DataType type) const override {
        return of_type(type, reinterpret_cast<void const*>(selective_scan_float32),
                       reinterpret_cast<void const*>(selective_scan_float16),
                       reinterpret_cast<void const*>(selective_scan_bfloat16));
    }

    void start(PluginTensorDesc const* of, void const* const* inputs, void* y, cudaStream_t stream) const override {
        auto const& x = of[0].dims;
        ScanSizes sizes{int(x.d[1]), int(x.d[2]), int(of[2].dims.d[1])};
        int is_float[3] = {of[1].type == DataType::kFLOAT, of[2].type == DataType::kFLOAT,
                           of[5].type == DataType::kFLOAT};
        dim3 const grid(blocks(sizes.channels, kScanChannels), unsigned(x.d[0]));
        void const* pointers[7] = {inputs[0], inputs[1], inputs[2], inputs[3], inputs[4], inputs[5], y};
        void* arguments[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3],  &pointers[4], &pointers[5],
                             &pointers[6], &sizes,       &is_float[0], &is_float[1], &is_float[2]};
        cudaLaunchKernel(kernel(of[0].type), grid, dim3(kThreads), arguments, shared_bytes(of), stream);
    }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* selective_scan_creator() {
    static Creator<SelectiveScanPlugin> creator;
    return &creator;
}

}  // namespace rsvl
