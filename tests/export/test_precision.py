"""Which parts of a module become float16, and what stays float32."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from rsvl.export.graphs import write_graph
from rsvl.export.keep_fp32 import matching_pattern
from rsvl.export.precision import OVERFLOW_MARGIN, in_precision, overflowing, watch_ranges
from rsvl.runtime.manifest import GraphSpec, TensorSpec


class Net(nn.Module):
    """A layer, a part with a layer and a function of its own, an output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 4)
        self.middle = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=-1))
        self.leave = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.leave(self.middle(self.enter(x))),)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def types(module: nn.Module) -> dict[str, torch.dtype]:
    return {name.removeprefix("inner."): p.dtype for name, p in module.named_parameters() if name.endswith("weight")}


@pytest.mark.parametrize(
    ("kept", "float32"),
    [
        ({}, set()),
        ({"middle": "why"}, {"middle.0.weight"}),
        ({"middle.*": "why"}, {"middle.0.weight"}),
        ({"*e": "why"}, {"middle.0.weight", "leave.weight"}),
        ({"mid": "a part of a name is not the name"}, set()),
    ],
)
def test_in_precision_keeps_named_parts_in_float32(net: Net, kept: dict[str, str], float32: set[str]) -> None:
    half = in_precision(net, net, "fp16", kept)
    assert {name for name, dtype in types(half).items() if dtype == torch.float32} == float32
    assert {dtype for name, dtype in types(half).items() if name not in float32} <= {torch.float16}
    (output,) = half(torch.ones(2, 4))
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, net(torch.ones(2, 4))[0], rtol=2e-3, atol=2e-3)


def test_in_precision_leaves_the_model_as_it_was(net: Net) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    in_precision(net, net, "fp16", {"middle": "why"})
    torch.testing.assert_close(dict(net.state_dict()), before, rtol=0, atol=0)
    assert all(not module._forward_pre_hooks for module in net.modules())


def test_in_precision_fp32_is_the_graph_itself(net: Net) -> None:
    assert in_precision(net, net, "fp32", {}) is net


def test_kept_part_computes_on_what_float16_could_not_hold(net: Net) -> None:
    with torch.no_grad():
        net.middle[0].weight.mul_(1e6)
    x = torch.ones(1, 4)
    assert not in_precision(net, net, "fp16", {})(x)[0].isfinite().all()
    (kept,) = in_precision(net, net, "fp16", {"middle": "large"})(x)
    torch.testing.assert_close(kept, net(x)[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("path", "pattern"),
    [("dfsm.project", "dfsm"), ("dfsm", "dfsm"), ("drc.1.angle", "drc.*.angle"), ("dfsm2", None), ("", None)],
)
def test_matching_takes_a_path_and_all_below_it(path: str, pattern: str | None) -> None:
    assert matching_pattern(path, {"dfsm": "a", "drc.*.angle": "b"}) == pattern


def test_watch_ranges_sees_what_a_layer_takes_holds_and_gives(net: Net) -> None:
    with torch.no_grad():
        net.enter.weight.fill_(3.0)
        net.enter.bias.fill_(0.5)
        net.leave.weight.fill_(-7.0)
    with watch_ranges(net) as largest:
        net(torch.full((2, 4), 2.0))
    assert largest["enter"] == pytest.approx(4 * 3 * 2 + 0.5)
    assert largest["middle.0"] >= largest["enter"]
    assert largest["leave"] == pytest.approx(7.0, rel=0.2)
    assert not any(module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("value", "kept"),
    [(65504 / OVERFLOW_MARGIN, False), (65505 / OVERFLOW_MARGIN, True), (float("inf"), True)],
)
def test_overflowing_names_layers_near_the_range(value: float, kept: bool) -> None:
    assert list(overflowing({"a": value, "b": 1.0})) == (["a"] if kept else [])


def test_mixed_concatenation_is_float32_in_the_exported_graph(tmp_path: Path) -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plain, self.kept = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (torch.stack([torch.cat([self.plain(x), self.kept(x)], dim=1), x.repeat(1, 2)]).sum(0),)

    torch.manual_seed(0)
    net = Branches()
    spec = GraphSpec("branches", (TensorSpec("x", ("batch", 4)),), (TensorSpec("y", ("batch", 8)),))
    write_graph(in_precision(net, net, "fp16", {"kept": "why"}), spec, tmp_path / "branches.onnx")
    x = torch.randn(3, 4)
    session = onnxruntime.InferenceSession(tmp_path / "branches.onnx", providers=["CPUExecutionProvider"])
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"x": x.numpy()})[0]), net(x)[0], rtol=0, atol=3e-3)
