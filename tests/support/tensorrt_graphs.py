"""That TensorRT takes a model's graphs: parsed and built as strongly typed networks, which needs no GPU."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from rsvl.runtime.backends.tensorrt import find_tensorrt
from rsvl.runtime.backends.tensorrt.profiles import BATCH, Range, profile
from rsvl.runtime.backends.tensorrt.tensorrt_api import RTX
from rsvl.runtime.manifest import GraphSpec

BATCHES = {BATCH: Range(1, 1, 4)}


def check_that_tensorrt_builds(folder: Path, graphs: Iterable[GraphSpec]) -> None:
    """Builds `folder`/NAME.onnx of each graph for a batch of 1 to 4; skips where TensorRT for RTX is not installed."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed: pip install 'rsvl[tensorrt-rtx]'")
    api = find_tensorrt(RTX)
    for graph in graphs:
        network = api.build(folder / f"{graph.name}.onnx", profile(graph, BATCHES))
        assert network.layers and network.engine
