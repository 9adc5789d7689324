"""OpenVINO on the CPU: a bundle's graphs in float32 or bfloat16, without ONNX Runtime's kernels.

OpenVINO reads a bundle's graphs as they are, except for functions of the model (`reading`). Where it computes in
bfloat16, some of a model stays float32 (`bfloat16`).
"""

from rsvl.runtime.backends.openvino.session import OPENVINO_PROVIDERS, OpenVinoSession

__all__ = ["OPENVINO_PROVIDERS", "OpenVinoSession"]
