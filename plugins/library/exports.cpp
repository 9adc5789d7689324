// What TensorRT looks for in a plugin library: IPluginRegistry::loadLibrary, trtexec --dynamicPlugins.
#include <cstdio>

#include "kernel_plugin.hpp"

#define RSVL_EXPORT extern "C" __attribute__((visibility("default")))

namespace {
nvinfer1::ILoggerFinder* logger_finder = nullptr;
}

namespace rsvl {
void report(char const* operation, std::string const& problem) {
    std::string const line = std::string("rsvl plugin ") + operation + ": " + problem;
    nvinfer1::ILogger* logger = logger_finder ? logger_finder->findLogger() : nullptr;
    if (logger)
        logger->log(nvinfer1::ILogger::Severity::kERROR, line.c_str());
    else
        std::fprintf(stderr, "%s\n", line.c_str());
}
}  // namespace rsvl

RSVL_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) { logger_finder = finder; }

RSVL_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(int32_t& count) {
    static nvinfer1::IPluginCreatorInterface* const creators[] = {rsvl::lora_moe_creator(),
                                                                  rsvl::patch_lora_moe_creator(),
                                                                  rsvl::rotated_conv2d_creator(),
                                                                  rsvl::selective_scan_creator()};
    count = sizeof creators / sizeof creators[0];
    return creators;
}
