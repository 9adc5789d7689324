"""OpenVINO on the processor: a bundle's graphs in float32 or bfloat16, without ONNX Runtime's kernels.

OpenVINO reads a bundle's graphs as they are, except for functions of the model (`reading`). In bfloat16 the last
products of an answer stay float32 (`answers`).
"""

from rsvl.runtime.openvino.session import BY_OPENVINO, INSTALL, OpenVinoSession

__all__ = ["BY_OPENVINO", "INSTALL", "OpenVinoSession"]
