// Loads the plugin library as TensorRT does and asks its plugins what TensorRT asks, without TensorRT and without a GPU.
#include <NvInferRuntime.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

using namespace nvinfer1;

#define CHECK(condition)                                                      \
    if (!(condition)) {                                                       \
        std::fprintf(stderr, "line %d: %s does not hold\n", __LINE__, #condition); \
        std::exit(1);                                                         \
    }

using Creators = std::map<std::string, IPluginCreatorV3One*>;

Creators load(char const* path) {
    void* library = dlopen(path, RTLD_NOW);
    if (!library) std::fprintf(stderr, "%s\n", dlerror());
    CHECK(library);
    CHECK(dlsym(library, "setLoggerFinder"));
    auto get = reinterpret_cast<IPluginCreatorInterface* const* (*)(int32_t&)>(dlsym(library, "getCreators"));
    CHECK(get);
    int32_t count = 0;
    Creators creators;
    for (auto const* creator = get(count); count > 0; ++creator, --count) {
        CHECK(std::string((*creator)->getInterfaceInfo().kind) == "PLUGIN CREATOR_V3ONE");
        auto* one = static_cast<IPluginCreatorV3One*>(*creator);
        CHECK(std::string(one->getPluginVersion()) == "1" && std::string(one->getPluginNamespace()).empty());
        creators[one->getPluginName()] = one;
    }
    return creators;
}

PluginTensorDesc described(std::vector<int64_t> shape, DataType type) {
    PluginTensorDesc tensor{};
    tensor.type = type;
    tensor.format = TensorFormat::kLINEAR;
    tensor.dims.nbDims = int32_t(shape.size());
    for (size_t d = 0; d < shape.size(); ++d) tensor.dims.d[d] = shape[d];
    return tensor;
}

bool supports(IPluginV3* plugin, std::vector<DataType> types, TensorFormat last = TensorFormat::kLINEAR) {
    auto* build = static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD));
    std::vector<DynamicPluginTensorDesc> tensors(types.size());
    for (size_t i = 0; i < types.size(); ++i) tensors[i].desc = described({}, types[i]);
    tensors.back().desc.format = last;
    bool all = true;
    for (size_t i = 0; i < types.size(); ++i)
        all = all && build->supportsFormatCombination(int32_t(i), tensors.data(), int32_t(types.size()) - 1, 1);
    return all;
}

int32_t shapes(IPluginV3* plugin, std::vector<std::vector<int64_t>> inputs) {
    auto* runtime = static_cast<IPluginV3OneRuntime*>(plugin->getCapabilityInterface(PluginCapabilityType::kRUNTIME));
    std::vector<PluginTensorDesc> tensors;
    for (auto const& shape : inputs) tensors.push_back(described(shape, DataType::kHALF));
    PluginTensorDesc const output{};
    return runtime->onShapeChange(tensors.data(), int32_t(tensors.size()), &output, 1);
}

// Which input's dimension each of the output's is, as input·10 + dimension.
std::vector<int> output_dims(IPluginV3* plugin, std::vector<int> ranks) {
    auto* build = static_cast<IPluginV3OneBuild*>(plugin->getCapabilityInterface(PluginCapabilityType::kBUILD));
    std::vector<DimsExprs> inputs(ranks.size());
    for (size_t i = 0; i < ranks.size(); ++i) {
        inputs[i].nbDims = ranks[i];
        for (size_t d = 0; d < size_t(ranks[i]); ++d)
            inputs[i].d[d] = reinterpret_cast<IDimensionExpr const*>(16 * (10 * i + d));
    }
    DimsExprs output;
    alignas(8) char unused[64];
    CHECK(build->getOutputShapes(inputs.data(), int32_t(ranks.size()), nullptr, 0, &output, 1,
                                 *reinterpret_cast<IExprBuilder*>(unused)) == 0);
    std::vector<int> dims;
    for (int d = 0; d < output.nbDims; ++d) dims.push_back(int(reinterpret_cast<size_t>(output.d[d]) / 16));
    return dims;
}

int main(int, char** arguments) {
    Creators creators = load(arguments[1]);
    CHECK(creators.size() == 3);
    auto const FP32 = DataType::kFLOAT, FP16 = DataType::kHALF, BF16 = DataType::kBF16;

    int32_t const size = 3, wrong = 4;
    PluginField fields[] = {{"mode", "arc", PluginFieldType::kCHAR, 3}, {"kernel_size", &size, PluginFieldType::kINT32, 1}};
    PluginFieldCollection node{2, fields};
    auto* conv = creators.at("RotatedConv2d")->createPlugin("node", &node, TensorRTPhase::kBUILD);
    CHECK(conv);
    CHECK(supports(conv, {FP16, FP16, FP16, FP16, FP16}) && supports(conv, {BF16, BF16, FP32, BF16, BF16}));
    CHECK(!supports(conv, {FP16, FP32, FP16, FP16, FP16}) && !supports(conv, {FP32, FP32, FP32, FP32, FP16}));
    CHECK(!supports(conv, {FP16, FP16, FP16, FP16, FP16}, TensorFormat::kCHW32));
    CHECK((output_dims(conv, {4, 5, 2, 2}) == std::vector<int>{0, 13, 2, 3}));
    CHECK(shapes(conv, {{2, 4, 9, 8}, {3, 3, 3, 5, 4}, {2, 3}, {2, 3}}) == 0);
    CHECK(shapes(conv, {{2, 4, 9, 8}, {3, 3, 3, 5, 6}, {2, 3}, {2, 3}}) != 0);

    // Saved in an engine, and loaded from it.
    auto* saved = static_cast<IPluginV3OneRuntime*>(conv->clone()->getCapabilityInterface(PluginCapabilityType::kRUNTIME))
                      ->getFieldsToSerialize();
    CHECK(saved->nbFields == 2 && !std::memcmp(saved->fields[0].data, "arc", 3));
    CHECK(*static_cast<int32_t const*>(saved->fields[1].data) == 3);
    CHECK(creators.at("RotatedConv2d")->createPlugin("node", saved, TensorRTPhase::kRUNTIME));
    fields[1].data = &wrong;
    CHECK(!creators.at("RotatedConv2d")->createPlugin("node", &node, TensorRTPhase::kBUILD));

    PluginFieldCollection none{0, nullptr};
    auto* moe = creators.at("LoRAMoE")->createPlugin("node", &none, TensorRTPhase::kBUILD);
    CHECK(moe);
    CHECK(supports(moe, {FP16, FP16, FP16, FP16, FP32, FP16}) && !supports(moe, {FP32, FP16, FP32, FP32, FP32, FP32}));
    CHECK((output_dims(moe, {4, 2, 3, 3, 4}) == std::vector<int>{0, 1, 2, 10}));
    CHECK(shapes(moe, {{2, 9, 8, 4}, {5, 4}, {3, 2, 4}, {3, 5, 2}, {2, 1, 1, 3}}) == 0);
    CHECK(shapes(moe, {{2, 9, 8, 4}, {5, 4}, {3, 2, 4}, {3, 5, 2}, {2, 2, 1, 3}}) != 0);

    auto* scan = creators.at("SelectiveScan")->createPlugin("node", &none, TensorRTPhase::kBUILD);
    CHECK(scan);
    CHECK(supports(scan, {FP16, FP32, FP32, FP16, FP16, FP32, FP16}));
    CHECK(!supports(scan, {FP16, FP16, FP16, FP32, FP16, FP16, FP16}));
    CHECK((output_dims(scan, {3, 3, 2, 3, 3, 1}) == std::vector<int>{0, 1, 2}));
    CHECK(shapes(scan, {{2, 5, 9}, {2, 5, 9}, {5, 16}, {2, 16, 9}, {2, 16, 9}, {5}}) == 0);
    CHECK(shapes(scan, {{2, 5, 9}, {2, 5, 9}, {5, 16}, {2, 16, 9}, {2, 9, 16}, {5}}) != 0);
}
