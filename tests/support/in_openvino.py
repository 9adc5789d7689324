"""A test graph run by OpenVINO, read as the runtime reads it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from rsvl.runtime.backends.openvino.reading import read_model


def only_output(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """A graph's output in float32, sizes dynamic as in the graph; skips the test where there is no OpenVINO."""
    core = pytest.importorskip("openvino").Core()
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder, "graph.onnx"))
        read, _ = read_model(core, Path(folder, "graph.onnx"))
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
        return core.compile_model(read, "CPU", settings)(dict(feeds))[0]
