"""Counts against formulas written out by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rsvl.benchmarks.count import Macs, count, count_call
from rsvl.models.cd2fsan import CD2FSAN, TINY
from rsvl.modules.layers.attention import Attention
from rsvl.modules.layers.rotated_conv import RotatedConv2d

# Module, its inputs' shapes, MACs in layers, in attention.
CASES: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]], int, int]] = {
    "convolution": (lambda: nn.Conv2d(3, 8, 5, stride=2), [(1, 3, 21, 31)], 9 * 14 * 8 * 3 * 25, 0),
    "depthwise convolution": (lambda: nn.Conv2d(6, 6, 3, padding=1, groups=6), [(1, 6, 10, 12)], 10 * 12 * 6 * 9, 0),
    "1-D convolution": (lambda: nn.Conv1d(4, 5, 3, padding=1), [(1, 4, 22)], 22 * 5 * 4 * 3, 0),
    "linear": (lambda: nn.Linear(7, 11), [(1, 13, 7)], 13 * 7 * 11, 0),
    "linear without bias": (lambda: nn.Linear(7, 11, bias=False), [(1, 4, 13, 7)], 4 * 13 * 7 * 11, 0),
    "layers that multiply no matrices": (lambda: nn.Sequential(nn.LayerNorm(8), nn.GELU()), [(1, 9, 8)], 0, 0),
    # Query and output of 50 positions, key and value of 20; scores and their weighted sum.
    "attention": (
        lambda: Attention(32, 4),
        [(1, 50, 32), (1, 20, 32)],
        (2 * 50 + 2 * 20) * 32 * 32,
        2 * 50 * 20 * 32,
    ),
    # The rotated kernel [9, 3·9] × [3·9, 6·4], then a 3×3 convolution of 4 to 6 channels.
    "rotated convolution": (
        lambda: RotatedConv2d(4, 6, 3, bases=3),
        [(1, 4, 10, 15), (1, 3), (1, 3)],
        9 * 27 * 6 * 4 + 10 * 15 * 6 * 4 * 9,
        0,
    ),
}


@pytest.mark.parametrize(("build", "shapes", "layers", "attention"), CASES.values(), ids=CASES.keys())
def test_count_of_a_layer_is_its_formula(
    build: Callable[[], nn.Module], shapes: list[tuple[int, ...]], layers: int, attention: int
) -> None:
    module = build().to("meta")
    inputs = [torch.empty(shape, device="meta") for shape in shapes]
    counted = count_call(module, lambda: module(*inputs))
    assert sum(counted.values(), Macs()) == Macs(layers, attention)


def test_linear_counts_as_a_layer_whatever_its_inputs_layout() -> None:
    module = nn.Linear(7, 11).to("meta")
    transposed = torch.empty(3, 7, 13, device="meta").transpose(1, 2)
    assert count_call(module, lambda: module(transposed)) == {"": Macs(3 * 13 * 7 * 11)}


def test_products_belong_to_the_innermost_module_that_runs_them() -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(4, 5))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x @ x.mT)

    module = Outer().to("meta")
    x = torch.empty(1, 4, 6, device="meta")
    assert count_call(module, lambda: module(x)) == {"": Macs(0, 4 * 4 * 6), "inner.0": Macs(4 * 4 * 5)}


def test_count_of_a_model_agrees_with_pytorchs_own_counter_and_adds_up() -> None:
    counted = count(lambda: CD2FSAN("test", TINY))
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        model = CD2FSAN("test", TINY).eval()
        model(torch.empty(1, 3, 256, 256), torch.empty(1, TINY.tokens, dtype=torch.int64))
    total = counted.total.macs
    assert total.operations == counter.get_total_flops()
    assert sum(counted.graphs.values(), Macs()) == total
    assert sum((part.macs for part in counted.parts().values()), Macs()) == total
    own = sum(parameter.numel() for parameter in model.parameters(recurse=False))
    assert own + sum(part.parameters for part in counted.parts().values()) == counted.total.parameters
    assert counted.total.parameters == sum(p.numel() for p in model.parameters())
