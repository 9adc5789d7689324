// rsvl::RotatedConv2d as a TensorRT plugin of the library; __init__.py says the same to Python.
#include "kernel_plugin.hpp"
#include "rotated_conv.cu"

namespace rsvl {
namespace {

class RotatedConv2dPlugin final : public KernelPlugin {
public:
    static constexpr char const* kName = "RotatedConv2d";

    static PluginFieldCollection const& fields() {
        static PluginField const own[] = {{"mode", nullptr, nvinfer1::PluginFieldType::kCHAR, 0},
                                          {"kernel_size", nullptr, nvinfer1::PluginFieldType::kINT32, 1}};
        static PluginFieldCollection const collection{2, own};
        return collection;
    }

    static RotatedConv2dPlugin* from(PluginFieldCollection const& fields) {
        std::string mode;
        int32_t kernel_size = 0;
        for (int32_t i = 0; i < fields.nbFields; ++i) {
            PluginField const& field = fields.fields[i];
            char const* text = static_cast<char const*>(field.data);
            if (!std::strcmp(field.name, "mode")) mode.assign(text, strnlen(text, field.length));
            if (!std::strcmp(field.name, "kernel_size")) kernel_size = *static_cast<int32_t const*>(field.data);
        }
        bool const arc = mode == "arc";
        if ((!arc && mode != "bilinear") || kernel_size % 2 != 1 || (arc && kernel_size != 3)) {
            report(kName, "mode " + mode + " with kernel size " + std::to_string(kernel_size) +
                              ": use bilinear with an odd size, or arc with 3");
            return nullptr;
        }
        return new RotatedConv2dPlugin(std::move(mode), kernel_size);
    }

    RotatedConv2dPlugin(std::string mode, int32_t kernel_size)
        : KernelPlugin(kName, 4), mode_(std::move(mode)), kernel_size_(kernel_size) {
        save({{"mode", mode_.data(), nvinfer1::PluginFieldType::kCHAR, static_cast<int32_t>(mode_.size())},
              {"kernel_size", &kernel_size_, nvinfer1::PluginFieldType::kINT32, 1}});
    }

    nvinfer1::IPluginV3* clone() noexcept override { return new RotatedConv2dPlugin(mode_, kernel_size_); }

    bool takes(int32_t position, DynamicPluginTensorDesc const* tensors) const override {
        DataType const mine = tensors[position].desc.type, first = tensors[0].desc.type;
        if (position == 0) return is_element_type(mine);
        return mine == first || ((position == 2 || position == 3) && mine == DataType::kFLOAT);
    }

    DimsExprs output_dims(DimsExprs const* inputs) const override {
        DimsExprs dims = inputs[0];
        dims.d[1] = inputs[1].d[3];
        return dims;
    }

    std::string problem(PluginTensorDesc const* inputs) const override {
        auto const &x = inputs[0].dims, &taps = inputs[1].dims;
        bool fits = x.nbDims == 4 && taps.nbDims == 5 && taps.d[1] == kernel_size_ && taps.d[2] == kernel_size_ &&
                    taps.d[4] == x.d[1];
        for (int angle = 2; fits && angle < 4; ++angle) {
            auto const& dims = inputs[angle].dims;
            fits = dims.nbDims == 2 && dims.d[0] == x.d[0] && dims.d[1] == taps.d[0];
        }
        if (!fits) return "expected x [B, Cin, H, W], taps [n, k, k, Cout, Cin], theta and gate [B, n]";
        return x.d[0] > 65535 ? "more than 65535 samples: split the batch" : "";
    }

    size_t shared_bytes(PluginTensorDesc const* inputs) const override {
        int const bases = int(inputs[1].dims.d[0]);
        return inputs[0].type == DataType::kFLOAT ? conv_shared_bytes<float>(kernel_size_, bases)
                                                  : conv_shared_bytes<Half>(kernel_size_, bases);
    }

    void const* kernel(DataType type) const override {
        return of_type(type, reinterpret_cast<void const*>(rotated_conv2d_float32),
                       reinterpret_cast<void const*>(rotated_conv2d_float16),
                       reinterpret_cast<void const*>(rotated_conv2d_bfloat16));
    }

    void start(PluginTensorDesc const* of, void const* const* inputs, void* y, cudaStream_t stream) const override {
        auto const &x = of[0].dims, &taps = of[1].dims;
        ConvSizes sizes{int(taps.d[0]), int(x.d[1]), int(taps.d[3]), int(x.d[2]), int(x.d[3]), kernel_size_,
                        mode_ == "arc" ? kArc : 0};
        int theta_is_float = of[2].type == DataType::kFLOAT, gate_is_float = of[3].type == DataType::kFLOAT;
        dim3 const grid(blocks(sizes.height, kPixelRows) * blocks(sizes.width, kPixelColumns),
                        blocks(sizes.out_channels, kRows), unsigned(x.d[0]));
        void const *pointers[5] = {inputs[0], inputs[1], inputs[2], inputs[3], y};
        void* arguments[] = {&pointers[0], &pointers[1], &pointers[2],    &pointers[3],
                             &pointers[4], &sizes,       &theta_is_float, &gate_is_float};
        cudaLaunchKernel(kernel(of[0].type), grid, dim3(kThreads), arguments, shared_bytes(of), stream);
    }

private:
    std::string mode_;
    int32_t kernel_size_;
};

}  // namespace

nvinfer1::IPluginCreatorInterface* rotated_conv2d_creator() {
    static Creator<RotatedConv2dPlugin> creator;
    return &creator;
}

}  // namespace rsvl
