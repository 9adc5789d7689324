"""Depthwise convolutions of several outputs per channel reach ONNX Runtime's form of a graph as plain ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import torch
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
from rsvl.export.variants.depthwise_convs import to_plain_depthwise
from rsvl.runtime.manifest import GraphSpec, TensorSpec


class Convolutions(nn.Module):
    """Depthwise by two and by three outputs per channel, depthwise by one, in groups, and plain."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, 8, 3, padding=1, groups=4),
            nn.Conv2d(8, 24, 3, 2, 1, groups=8, bias=False),
            nn.BatchNorm2d(24),
            nn.Conv2d(24, 24, 3, padding=1, groups=24),
            nn.Conv2d(24, 6, 3, groups=3),
            nn.Conv2d(6, 2, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.layers(x),)


def test_each_output_has_a_group_of_its_own_and_the_answers_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Convolutions().eval()
    spec = GraphSpec("g", (TensorSpec("x", ("batch", 4, 9, 11)),), (TensorSpec("y", ("batch", 2, 3, 4)),))
    write_graph(module, spec, tmp_path / "g.onnx")
    model = ir.load(tmp_path / "g.onnx")
    assert groups(model) == [4, 8, 24, 3, 1]
    assert to_plain_depthwise(model.graph) == 2
    assert groups(model) == [8, 24, 24, 3, 1]
    ir.save(model, tmp_path / "g.onnx")
    onnx.checker.check_model(tmp_path / "g.onnx", full_check=True)
    x = torch.randn(3, 4, 9, 11)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x)[0].detach().numpy(), atol=1e-5)


def groups(model: ir.Model) -> list[int]:
    return [node.attributes.get_int("group", 1) for node in model.graph if node.op_type == "Conv"]


def test_half_precision_stays() -> None:
    conv, x = nn.Conv2d(4, 8, 3, groups=4).half().eval(), torch.zeros(1, 4, 9, 9).half()
    program = torch.onnx.export(conv, (x,), dynamo=True, verbose=False)
    assert program is not None and to_plain_depthwise(program.model.graph) == 0
