"""TensorRT engines of a bundle's graphs: built, kept in the bundle's `engines/`, found again, refused when wrong.

This is part of the runtime and not of `rsvl.export`, because an engine is built for the machine that runs it: a device
in the field has the light runtime and TensorRT, and rebuilds its engines when its driver changes. Only the bundle is
needed for that, no PyTorch and no onnx.

- `tensorrt_api`: the one file that knows how TensorRT 10, TensorRT 11 and TensorRT for RTX differ.
- `trt_errors`: what they log when they fail, as one line.
- `detect`, `select`: which of those are here, and whether a bundle runs by its engines.
- `profiles`, `keys`: for which sizes an engine is built, and what makes it another engine.
- `store`: the files in `engines/`.
- `build`, `phases`: all engines of a bundle, built where they are missing.
- `targets`, `device_script`: machines that this one cannot build for, and the script to take there.
- `session`: a bundle's graphs run by their engines.
"""

from rsvl.runtime.backends.tensorrt.build import BuiltEngine, Recipe, build_engines
from rsvl.runtime.backends.tensorrt.detect import find_library, installed_libraries
from rsvl.runtime.backends.tensorrt.device_script import write_device_script
from rsvl.runtime.backends.tensorrt.profiles import Range, batch_range
from rsvl.runtime.backends.tensorrt.targets import TARGETS, Target
from rsvl.runtime.backends.tensorrt.tensorrt_api import Library

__all__ = [
    "TARGETS",
    "BuiltEngine",
    "Library",
    "Range",
    "Recipe",
    "Target",
    "batch_range",
    "build_engines",
    "find_library",
    "installed_libraries",
    "write_device_script",
]
