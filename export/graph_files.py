"""A graph's files: the ONNX file, and beside it the one that holds its weights where they are many."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx_ir as ir

from rsvl.runtime.manifest import GraphSpec

BESIDE_BYTES = 2**25
"""Weights move to a file beside the graph from here on. ONNX Runtime maps such a file into memory, where it copies what
lies in the graph's own: less memory, and a faster start. (From 2 GiB on they must: there a protobuf file ends.)"""


SHARED_BYTES = 256
"""A smaller weight that variants share lies in each of their files."""


def lie_beside(size: int) -> bool:
    """Whether weights of this many bytes are written to a file beside their graph."""
    return size > BESIDE_BYTES


def replace_graph(model: onnx.ModelProto, folder: Path, spec: GraphSpec) -> None:
    """Writes a graph in the place of another, weights of more than `BESIDE_BYTES` beside it; the model loses these."""
    file, weights = spec.files
    (folder / weights).unlink(missing_ok=True)  # onnx would append
    onnx.save_model(model, folder / file, save_as_external_data=lie_beside(model.ByteSize()), location=weights)


def put_weights_beside(folder: Path, spec: GraphSpec) -> None:
    """Moves what weights lie in a graph's own file beside it, so that its variants can share them."""
    file, weights = spec.files
    if not (folder / weights).exists():
        ir.save(ir.load(folder / file), folder / file, external_data=weights, size_threshold_bytes=SHARED_BYTES)
