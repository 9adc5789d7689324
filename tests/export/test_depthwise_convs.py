"""Depthwise convolutions of several outputs per channel reach a float32 graph as plain depthwise ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
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


@pytest.mark.parametrize(("for_cpu", "groups"), [(True, [8, 24, 24, 3, 1]), (False, [4, 8, 24, 3, 1])])
def test_each_output_has_a_group_of_its_own_and_the_answers_stay(
    for_cpu: bool, groups: list[int], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Convolutions().eval()
    spec = GraphSpec("g", (TensorSpec("x", ("batch", 4, 9, 11)),), (TensorSpec("y", ("batch", 2, 3, 4)),))
    write_graph(module, spec, tmp_path / "g.onnx", for_cpu=for_cpu)
    nodes = onnx.load(tmp_path / "g.onnx").graph.node
    convs = [{a.name: onnx.helper.get_attribute_value(a) for a in n.attribute} for n in nodes if n.op_type == "Conv"]
    assert [attributes.get("group", 1) for attributes in convs] == groups
    x = torch.randn(3, 4, 9, 11)
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x)[0].detach().numpy(), atol=1e-5)
