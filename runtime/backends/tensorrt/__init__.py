"""TensorRT engines of a bundle's graphs: built, kept in the bundle's `engines/`, found again, refused when wrong.

This is part of the runtime and not of `rsvl.export`, because an engine is built for the machine that runs it: a device
in the field has the light runtime and TensorRT, and rebuilds its engines when its driver changes. Only the bundle is
needed for that, no PyTorch and no onnx.

- `tensorrt_api`: the one file that knows how TensorRT 10, TensorRT 11 and TensorRT for RTX differ.
- `trt_errors`, `phases`: what they log when they fail, as one line, and how far a build is.
- `detect`: which of them are installed.
- `plugins`: the plugins that installed packages have.
- `profiles`, `keys`: the sizes that an engine is built for, and everything that makes it another engine.
- `store`: the files in `engines/`.
- `build`: all engines of a bundle, built where they are missing.
- `targets`, `device_script`: machines that this one cannot build for, and the script to run there.
- `session`: a session's graphs, run by their engines.
- `select`: whether a bundle runs by its engines here.
"""

from rsvl.runtime.backends.tensorrt.build import BuildConfig, BuiltEngine, build_engines
from rsvl.runtime.backends.tensorrt.detect import find_tensorrt, installed_tensorrts
from rsvl.runtime.backends.tensorrt.device_script import write_device_script
from rsvl.runtime.backends.tensorrt.profiles import Range, batch_range
from rsvl.runtime.backends.tensorrt.targets import TARGETS, Target
from rsvl.runtime.backends.tensorrt.tensorrt_api import TensorRTApi

__all__ = [
    "TARGETS",
    "BuildConfig",
    "BuiltEngine",
    "Range",
    "Target",
    "TensorRTApi",
    "batch_range",
    "build_engines",
    "find_tensorrt",
    "installed_tensorrts",
    "write_device_script",
]
