"""Convolutions in Winograd's form: the function stays, in every runtime, and the others are left alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx_ir.passes.common import RemoveUnusedNodesPass
from torch import Tensor, nn

from rsvl.export import export
from rsvl.export.symbolics import add_functions
from rsvl.export.variants import winograd
from rsvl.export.variants.winograd import to_winograd
from tests.support.in_openvino import only_output
from tests.support.toy_segmenter import ToySegmenter, raw_samples


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets small convolutions count as large ones."""
    monkeypatch.setattr(winograd, "MIN_CHANNELS", 5)
    monkeypatch.setattr(winograd, "MIN_KERNELS", 5 * 6)
    monkeypatch.setattr(winograd, "MIN_PIXELS", 4)


def converted(module: nn.Module, x: Tensor) -> ir.Model:
    program = torch.onnx.export(module.eval(), (x,), dynamo=True, opset_version=20, verbose=False)
    assert program is not None
    to_winograd(program.model.graph)
    RemoveUnusedNodesPass()(program.model)
    return program.model


def operations(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


class Twice(nn.Module):
    """One convolution that runs on two inputs."""

    def __init__(self, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 5, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.conv(x).relu(), self.conv(2 - x)


@pytest.mark.parametrize("bias", [False, True])
def test_shared_convolutions_compute_the_same_with_one_copy_of_the_weights(bias: bool) -> None:
    torch.manual_seed(0)
    module, x = Twice(bias), torch.randn(2, 6, 7, 9)
    model = converted(module, x)
    found = operations(model)
    assert (found.count("WinogradConv2d"), found.count("Conv")) == (2, 0)
    used = {name for name, value in model.graph.initializers.items() if value.uses() and value.shape}  # no scalars
    assert used == {name for name, _ in module.named_parameters()}
    proto = ir.to_proto(model)
    add_functions(proto)
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = module.double()(x.double())
    for got, wanted in zip(session.run(None, {"x": x.numpy()}), expected, strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), atol=2e-6)


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 5, padding=2),
        nn.Conv2d(6, 6, 3),
        nn.Conv2d(6, 6, 3, padding=1, stride=2),
        nn.Conv2d(6, 6, 3, padding=2, dilation=2),
        nn.Conv2d(6, 12, 3, padding=1, groups=2),
        nn.Conv2d(6, 4, 3, padding=1),
        nn.Conv2d(6, 6, (3, 1), padding=(1, 0)),
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(6, 6, 3, padding=1)),
    ],
    ids=["5x5", "no padding", "stride", "dilation", "groups", "few channels", "3x1", "few pixels"],
)
def test_other_convolutions_stay(conv: nn.Module) -> None:
    assert operations(converted(conv, torch.randn(1, 6, 8, 8))).count("Conv") == 1


def test_narrow_convolutions_on_both_sides_stay() -> None:
    assert operations(converted(nn.Conv2d(5, 5, 3, padding=1), torch.randn(1, 5, 8, 8))) == ["Conv"]


def test_half_precision_stays() -> None:
    assert operations(converted(nn.Conv2d(6, 6, 3, padding=1).half(), torch.randn(1, 6, 8, 8).half())) == ["Conv"]


@pytest.mark.parametrize("size", [(1, 2), (4, 4), (8, 5), (15, 18)], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float16, 4e-3)], ids=["fp32", "fp16"])
def test_operation_is_a_convolution_at_every_size(size: tuple[int, int], dtype: type, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, *size))
    taps = rng.standard_normal((3, 3, 5, 6)) / 3
    expected = torch.conv2d(torch.from_numpy(x), torch.from_numpy(taps).permute(2, 3, 0, 1), padding=1).numpy()
    model = one_node(x.astype(dtype), taps.astype(dtype))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(None, {"x": x.astype(dtype)})[0]]
    if dtype == np.float32:
        found.append(only_output(model, {"x": x.astype(dtype)}))
    for y in found:
        assert np.abs(y - expected).max() <= tolerance * np.abs(expected).max()


def one_node(x: np.ndarray, taps: np.ndarray) -> onnx.ModelProto:
    """A graph of the operation alone, with a dynamic batch."""
    kind = onnx.helper.np_dtype_to_tensor_dtype(x.dtype)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("WinogradConv2d", ["x", "taps"], ["y"], domain="rsvl")],
        "conv",
        [info("x", kind, ["batch", *x.shape[1:]])],
        [info("y", kind, ["batch", taps.shape[2], *x.shape[2:]])],
        [onnx.numpy_helper.from_array(taps, "taps")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    add_functions(model)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize(("precision", "convolutions"), [("fp32", 4), ("fp16", 0)])
def test_only_onnxruntimes_form_of_float32_has_it(precision: str, convolutions: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    exported = export(ToySegmenter(), tmp_path / "toy", precision, samples=raw_samples())
    (image,) = (graph for graph in exported.manifest.model.graphs if graph.name == "image")
    counts = [
        [node.op_type for node in onnx.load(exported.path / file).graph.node].count("WinogradConv2d")
        for file in (image.file, image.file_for("onnxruntime"))
    ]
    assert counts == [0, convolutions]
