"""The 8-bit types that graphs can compute in.

- ``int8``: 256 even steps. Every CPU with VNNI or I8MM and every GPU since Turing multiplies in it.
- ``fp8`` (E4M3: 4 bits of exponent, 3 of mantissa): steps of 1/16 to 1/8 of a number's size, over five orders of
  magnitude, so that outliers cost the small numbers little. GPUs since Ada (sm_89) multiply in it. On a CPU ONNX
  Runtime rounds to it exactly, but multiplies in float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto, helper


@dataclass(frozen=True)
class QuantType:
    """An 8-bit type, symmetric about zero.

    Attributes:
        name: as precisions are called.
        dtype: NumPy's, as `onnx` has it.
        largest: the largest magnitude that is used.
        rounds_outputs: whether a runtime computes a convolution in it only where its output is rounded to it, too.
        needs_range: whether steps are so coarse that a range is better cut than stretched to the largest number.
    """

    name: str
    dtype: np.dtype
    largest: float
    rounds_outputs: bool
    needs_range: bool

    def rounded(self, steps: np.ndarray) -> np.ndarray:
        """Numbers rounded to the nearest that the type has, in its dtype; clipped to the largest."""
        within = np.clip(steps, -self.largest, self.largest)
        return (np.rint(within) if self.dtype == np.int8 else within.astype(np.float32)).astype(self.dtype)


INT8 = QuantType("int8", np.dtype(np.int8), 127.0, rounds_outputs=True, needs_range=True)
_E4M3 = helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN)
FP8 = QuantType("fp8", _E4M3, 448.0, rounds_outputs=False, needs_range=False)

QUANT_TYPES = {each.name: each for each in (INT8, FP8)}
