"""Softplus reaches ONNX Runtime's form of a graph as one that a CPU computes faster, as exact as float64 rounded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
from rsvl.export.symbolics import add_functions
from rsvl.export.variants.softplus_nodes import to_fast_softplus
from rsvl.runtime.manifest import GraphSpec, TensorSpec
from tests.support.in_openvino import only_output

X = np.concatenate(
    [np.linspace(-100, 100, 20001), [0.0, -0.0, 1e-8, -1e-8, 88.8, -88.8, 1e30, -1e30]], dtype=np.float32
)
SPEC = GraphSpec("g", (TensorSpec("x", ("batch", len(X))),), (TensorSpec("y", ("batch", len(X))),))


class Softplus(nn.Module):
    """PyTorch's, at its default threshold or another."""

    def __init__(self, threshold: float = 20) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (F.softplus(x, threshold=self.threshold),)


def written(path: Path, threshold: float = 20) -> onnx.ModelProto:
    write_graph(Softplus(threshold).eval(), SPEC, path)
    model = ir.load(path)
    assert to_fast_softplus(model.graph) == 1
    proto = ir.to_proto(model)
    add_functions(proto)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def operations(model: onnx.ModelProto) -> list[tuple[str, str]]:
    return [(node.domain, node.op_type) for node in model.graph.node]


def in_onnxruntime(model: onnx.ModelProto) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X[None]})[0]


def in_openvino(model: onnx.ModelProto) -> np.ndarray:
    return only_output(model, {"x": X[None]})


@pytest.mark.parametrize("run", [in_onnxruntime, in_openvino])
def test_one_node_equals_the_definition_in_float64(run, tmp_path: Path) -> None:
    model = written(tmp_path / "g.onnx")
    assert operations(model) == [("rsvl", "Softplus")]
    expected = np.logaddexp(0, X.astype(np.float64))
    np.testing.assert_allclose(run(model)[0], expected, rtol=5e-7, atol=2e-38)


@pytest.mark.parametrize("kind", [torch.float16, torch.float64])
def test_other_types_stay(kind: torch.dtype) -> None:
    program = torch.onnx.export(nn.Softplus().eval(), (torch.zeros(2, 3, dtype=kind),), dynamo=True, verbose=False)
    assert program is not None and to_fast_softplus(program.model.graph) == 0


def test_a_choice_that_changes_values_stays(tmp_path: Path) -> None:
    model = written(tmp_path / "g.onnx", threshold=2)
    assert {("rsvl", "Softplus"), ("", "Where")} <= set(operations(model))
    np.testing.assert_allclose(
        in_onnxruntime(model)[0], F.softplus(torch.from_numpy(X), threshold=2), rtol=5e-7, atol=2e-38
    )


def test_tensorrt_parses_it(tmp_path: Path) -> None:
    tensorrt = pytest.importorskip("tensorrt_rtx")
    logger = tensorrt.Logger(tensorrt.Logger.ERROR)
    network = tensorrt.Builder(logger).create_network()
    parser = tensorrt.OnnxParser(network, logger)
    parsed = parser.parse(written(tmp_path / "g.onnx").SerializeToString())
    assert parsed, [str(parser.get_error(i)) for i in range(parser.num_errors)]
