"""Other runners of a model compute what the model computes."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.grid_sampling import GridSampledConv2d, grid_sampled
from rsvl.benchmarks.bundle.plain_export import export_plainly
from rsvl.benchmarks.bundle.runners import openvino, plain_onnx
from rsvl.benchmarks.bundle.whole_model import Whole, pytorch
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.ops import patch_lora_moe
from rsvl.runtime.errors import MissingComponentError, UsageError
from tests.support.chain import Chain


class Toy(nn.Module):
    """Turns its kernels by what the sentence says."""

    def __init__(self, mode: str = "bilinear") -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.conv = RotatedConv2d(3, 1, 3, bases=3, mode=mode)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        theta, gate = self.embed(tokens).mean(1).chunk(2, dim=-1)
        return self.conv(image, theta, gate)


@pytest.mark.parametrize("batch", [1, 3])
def test_grid_sampled_convolution_is_the_rotated_convolution(batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    layer = RotatedConv2d(4, 5, 3, bases=3)
    x = torch.randn(batch, 4, 8, 9, generator=generator)
    theta, gate = (torch.randn(batch, 3, generator=generator) * scale for scale in (3, 1))
    torch.testing.assert_close(GridSampledConv2d(layer)(x, theta, gate), layer(x, theta, gate), rtol=1e-4, atol=1e-5)


def test_grid_sampling_refuses_the_arc_mode() -> None:
    with pytest.raises(UsageError, match="not 'arc'"):
        grid_sampled(Toy("arc"))


def test_plain_export_is_one_graph_of_standard_operators_that_computes_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, image, tokens = Toy(), torch.randn(1, 3, 8, 8), torch.tensor([[1, 2, 3]])
    export_plainly(model, {"image": image, "tokens": tokens}, ["mask_logits"], tmp_path / "plain.onnx")
    written = onnx.load(tmp_path / "plain.onnx")
    assert not written.functions
    assert "GridSample" in {node.op_type for node in written.graph.node}
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"))
    found = session.run(["mask_logits"], {"image": image.numpy(), "tokens": tokens.numpy()})[0]
    np.testing.assert_allclose(found, model(image, tokens).detach(), rtol=1e-4, atol=1e-5)
    assert isinstance(model.conv, RotatedConv2d), "the model itself stays as it was"


class Experts(torch.nn.Module):
    """Low-rank experts of a patch, gated by its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Parameter(torch.randn(3, 4, 2)), torch.nn.Parameter(torch.randn(3, 2, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return patch_lora_moe(x, self.up, self.down, x.mean(dim=(2, 3))[:, :3].relu())


def test_plain_export_computes_all_experts_of_all_patches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = Experts(), torch.randn(5, 4, 2, 2)
    export_plainly(model, {"x": x}, ["y"], tmp_path / "plain.onnx")
    written = onnx.load(tmp_path / "plain.onnx")
    assert not written.functions and all(node.domain != "rsvl" for node in written.graph.node)
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"))
    np.testing.assert_allclose(session.run(["y"], {"x": x.numpy()})[0], model(x).detach(), rtol=1e-4, atol=1e-5)


def test_every_way_of_any_model_gives_its_final_outputs(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    model, path = Chain().eval(), tmp_path / "plain.onnx"
    x, image = (torch.randn(shape, generator=generator) for shape in ((1, 6), (1, 3, 8, 8)))
    with torch.no_grad():
        (expected,) = model.head(image, 2 * x)
    whole, inputs = Whole(model), {"x": x.numpy(), "image": image.numpy()}
    runners = [pytorch(whole, model.spec, inputs), plain_onnx(whole, inputs, 1, path)]
    if find_spec("openvino") is not None:
        runners.append(openvino(path, model.spec, inputs, 1))
    for run in runners:
        found = run()
        assert list(found) == ["y"]
        np.testing.assert_allclose(found["y"], expected.numpy(), rtol=1e-4, atol=1e-5)


def test_openvino_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[openvino\]'"):
        openvino(tmp_path / "plain.onnx", Chain().spec, {}, 1)
