"""TensorRT plugins for rsvl's custom operations: one folder per operation, with its CUDA source and its declaration.

They are an alternative to the bodies of standard operators that every exported model carries, and not the default: no
GPU has measured them against the bodies yet. The same CUDA sources serve

- Python, by `register`: an IPluginV3 whose kernel NVRTC compiles when the engine is loaded;
- programs without Python, by the library that ``library/CMakeLists.txt`` builds.

The runtime finds `register` by the entry points in pyproject.toml, one per operation.
"""

from rsvl.plugins.registration import OPERATIONS, register

__all__ = ["OPERATIONS", "register"]
