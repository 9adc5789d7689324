"""Kernels that a module computes from its weights reach the graph as weights, with the batch norm behind them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
from rsvl.runtime.manifest import GraphSpec, TensorSpec


class Summed(nn.Module):
    """A convolution by the sum of two kernels, its batch norm, and a convolution whose kernel depends on the input."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Parameter(torch.randn(2, 3, 1, 1)), nn.Parameter(torch.randn(2, 3, 3, 3))
        self.norm = nn.BatchNorm2d(2)
        self.own = nn.Parameter(torch.randn(1, 2, 1, 1))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        y = self.norm(F.conv2d(x, self.large + F.pad(self.small, (1, 1, 1, 1)), padding=1))
        return (F.conv2d(y, self.own * x.mean()),)


def test_only_a_kernel_that_no_input_changes_is_folded_and_the_answers_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Summed().eval()
    module.norm.running_mean.normal_()
    spec = GraphSpec("g", (TensorSpec("x", ("batch", 3, 5, 6)),), (TensorSpec("y", ("batch", 1, 5, 6)),))
    write_graph(module, spec, tmp_path / "g.onnx")
    graph = onnx.load(tmp_path / "g.onnx").graph
    weights = {weight.name for weight in graph.initializer}
    kernels = [node.input[1] in weights for node in graph.node if node.op_type == "Conv"]
    assert kernels == [True, False]
    assert not {"BatchNormalization", "Pad"} & {node.op_type for node in graph.node}
    assert not [name for name in weights if all(name not in node.input for node in graph.node)]
    x = torch.randn(2, 3, 5, 6)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x)[0].detach().numpy(), atol=1e-4)
