"""Reading a graph, with the bodies of its custom operations in their places.

A bundle's graph holds each custom operation as one node (`rsvl::RotatedConv2d`) and its body as a function of the
model, which OpenVINO's reader does not know (2026.4). ONNX Runtime expands these functions when it loads a graph, and
can write what it then has: its optimizations left out, that is the same graph of standard operators.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsvl.runtime.backends.onnxruntime.providers import onnxruntime

_IN_THE_FILE = 1 << 20
"""Bytes up to which a weight stays in the graph's file; larger ones go beside it, as protobuf ends at 2 GB."""


def read_model(core: Any, graph: Path, scratch: Path) -> Any:
    """Reads a graph.

    Args:
        core: an `openvino.Core`.
        graph: an ONNX file.
        scratch: an empty folder that lasts until the model is compiled.

    Returns:
        An `openvino.Model`.

    Raises:
        Exception: as OpenVINO and ONNX Runtime raise them.
    """
    try:
        return core.read_model(str(graph))
    except RuntimeError:  # its errors have no kinds: what is no graph at all fails once more below
        return core.read_model(str(write_inlined(graph, scratch)))


def write_inlined(graph: Path, folder: Path) -> Path:
    """Writes a graph of standard operators that computes what `graph` does.

    Args:
        graph: an ONNX file.
        folder: an empty folder to write to; the weights come to lie beside the graph.

    Returns:
        The new graph's path.

    Raises:
        Exception: as ONNX Runtime raises them, where it cannot load the graph.
    """
    ort = onnxruntime()
    path = folder / graph.name
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.optimized_model_filepath = str(path)
    weights = {"file_name": f"{graph.name}.data", "min_size_in_bytes": str(_IN_THE_FILE)}
    for key, value in weights.items():
        options.add_session_config_entry(f"session.optimized_model_external_initializers_{key}", value)
    ort.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return path
