"""Multiply–accumulate operations that ONNX Runtime really performs, from the shapes in its own profile.

They differ from what the model defines: a convolution in Winograd's form multiplies less, a transform by constants
more, and ONNX Runtime fills channels up to whole vectors. Weights that it has packed are missing in the profile; what
they are follows from the other shapes.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.runtime.backends.onnxruntime.providers import find_provider
from rsvl.runtime.backends.onnxruntime.session import OnnxRuntimeSession
from rsvl.runtime.backends.session import Session
from rsvl.runtime.bundle import Bundle

_MATRIX = {
    *("MatMul", "FusedMatMul", "TransposeMatMul", "Gemm", "FusedGemm"),
    *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"),
}
_CONVOLUTIONS = {"Conv", "FusedConv", "NhwcFusedConv"}
_UNKNOWN = {
    *("ConvTranspose", "QLinearConv", "ConvInteger", "Einsum", "Attention", "QAttention", "LSTM", "GRU", "RNN"),
    *("GroupQueryAttention", "MatMulNBits", "DeformConv"),
}
"""Products whose number does not follow from the shapes in a profile."""

Shape = tuple[int, ...]


def executed_macs(bundle: Bundle, inputs: Mapping[str, np.ndarray]) -> int | None:
    """What one run of a bundle's graphs by ONNX Runtime's CPU provider multiplies.

    Args:
        bundle: whose graphs.
        inputs: raw inputs by name.

    Returns:
        None where it holds a product that cannot be counted, as in int8.

    Raises:
        RsvlError: as for `Session`.
    """
    cpu = find_provider("cpu")
    assert cpu is not None
    with tempfile.TemporaryDirectory() as folder:
        backend = OnnxRuntimeSession(bundle, cpu, profiles=Path(folder))
        Session.of(bundle, backend).run(inputs, [graph.name for graph in bundle.manifest.model.graphs])
        events = [event for path in backend.end_profiling() for event in json.loads(path.read_text(encoding="utf-8"))]
    counted = [_macs(event["args"]) for event in events if event.get("name", "").endswith("_kernel_time")]
    known = [macs for macs in counted if macs is not None]
    return sum(known) if len(known) == len(counted) else None


def _macs(kernel: Mapping[str, Any]) -> int | None:
    """Those of one kernel; None where they are not known."""
    operation = kernel.get("op_name", "")
    if operation in _UNKNOWN:
        return None
    inputs, outputs = _shapes(kernel.get("input_type_shape", [])), _shapes(kernel.get("output_type_shape", []))
    if operation in _MATRIX:
        return _matrix(inputs[0], outputs[0])
    if operation in _CONVOLUTIONS:
        return math.prod(outputs[0]) * math.prod(inputs[1][1:]) if len(inputs) > 1 and len(inputs[1]) > 2 else None
    if operation == "MultiHeadAttention":
        return _attention(inputs) if len(inputs) > 2 and all(len(shape) == 3 for shape in inputs[:3]) else None
    return 0


def _matrix(left: Shape, out: Shape) -> int:
    """Each value of the output is a sum over the left matrix's other side, transposed or not."""
    if len(left) < 2:
        return math.prod(out) * math.prod(left)
    rows = out[-2] if len(out) > 1 else 1
    return math.prod(out) * (left[-1] * left[-2] // max(rows, 1))


def _attention(inputs: list[Shape]) -> int:
    """Queries [B, S, E] with keys [B, L, E], and the scores with values [B, L, V]."""
    (batch, queries, width), (_, keys, _), (_, _, values) = inputs[:3]
    return batch * queries * keys * (width + values)


def _shapes(listed: list[dict[str, list[int]]]) -> list[Shape]:
    return [tuple(shape) for each in listed for shape in each.values()]
