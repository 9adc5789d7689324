"""Batch norms in convolutions: the function stays, whoever shares the weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rsvl.export.batch_norms import fold_batch_norms


class Twice(nn.Module):
    """A convolution with a batch norm that runs on two inputs, after `between` has done something to its output."""

    def __init__(self, bias: bool, trained: bool, between: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.between = nn.Conv2d(4, 6, 3, groups=2, bias=bias), nn.BatchNorm2d(6), between
        if trained:
            for values in (self.norm.weight, self.norm.bias, self.norm.running_mean, self.norm.running_var):
                nn.init.uniform_(values, 0.2, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._once(x).relu(), self._once(2 - x).relu()

    def _once(self, x: Tensor) -> Tensor:
        return self.norm(self.between(self.conv(x)))


@pytest.mark.parametrize(
    ("bias", "trained", "between", "norms"),
    [
        (False, True, nn.Identity(), 0),
        (True, True, nn.Identity(), 0),
        (False, False, nn.Identity(), 0),
        (False, True, torch.tanh, 2),
    ],
    ids=["without bias", "with bias", "untrained", "something in between"],
)
def test_norms_of_shared_convolutions_are_folded(
    bias: bool, trained: bool, between: Callable[[Tensor], Tensor], norms: int
) -> None:
    torch.manual_seed(0)
    module, x = Twice(bias, trained, between).eval(), torch.randn(2, 4, 8, 8)
    program = torch.onnx.export(module, (x,), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    assert [node.op_type for node in program.model.graph].count("BatchNormalization") == 2
    fold_batch_norms(program.model.graph)
    assert [node.op_type for node in program.model.graph].count("BatchNormalization") == norms
    assert all(value.uses() for value in program.model.graph.initializers.values())
    written = ir.to_proto(program.model).SerializeToString()
    session = onnxruntime.InferenceSession(written, providers=["CPUExecutionProvider"])
    expected = module.double()(x.double())
    for got, wanted in zip(session.run(None, {"x": x.numpy()}), expected, strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), atol=2e-6)
