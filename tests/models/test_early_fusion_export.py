"""The early-fusion models through the whole export: graphs, precision, verification against PyTorch."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from small_fusion import NAMES, small_model
from tensorrt_graphs import check_that_tensorrt_builds

from rsvl.export import export

ROTATED = {"cadformer": 3, "rmsin": 3}
# An export takes some seconds. Those in half precision hold every node that the others do; CADFormer has every part.
CASES = [*((name, "fp16") for name in NAMES), ("cadformer", "fp32")]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_bundle_agrees_with_pytorch_keeps_rotated_convolutions_whole_and_tensorrt_builds_it(
    name: str, precision: str, tmp_path: Path
) -> None:
    exported = export(small_model(name, "-tiny"), tmp_path / "bundle", precision)
    assert exported.manifest.precision == precision
    head = onnx.load(tmp_path / "bundle" / "head.onnx")
    rotated = [node for node in head.graph.node if (node.domain, node.op_type) == ("rsvl", "RotatedConv2d")]
    assert len(rotated) == ROTATED.get(name, 0)
    for graph in ("image", "text", "head"):
        inputs = onnx.load(tmp_path / "bundle" / f"{graph}.onnx", load_external_data=False).graph.input
        assert {tensor.type.tensor_type.shape.dim[0].dim_param for tensor in inputs} == {"batch"}
    check_that_tensorrt_builds(tmp_path / "bundle", exported.manifest.model.graphs)
