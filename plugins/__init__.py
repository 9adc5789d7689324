"""TensorRT plugins for rsvl's custom operations: one folder an operation, its CUDA source and what it says of itself.

They are an alternative to the bodies of standard operators that every exported model carries, and not the default: no
GPU has measured them against the bodies yet. Two ways lead to the same CUDA sources:

- from Python, `register`: an IPluginV3 whose kernel NVRTC compiles when the engine is loaded;
- without Python, the library that ``library/CMakeLists.txt`` builds.
"""

from rsvl.plugins.registration import OPERATIONS, register

__all__ = ["OPERATIONS", "register"]
