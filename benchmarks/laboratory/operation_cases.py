"""The custom operations in the models' sizes, each beside the plain layer whose place it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rsvl.modules.layers.lora_moe import LoRAMoE
from rsvl.modules.layers.rotated_conv import RotatedConv2d

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """An operation in one size.

    Attributes:
        name: what is measured.
        goal: how many times the plain layer's time it may take.
        plain: that layer; takes x.
        layer: the layer of the operation; takes x and its other inputs.
        inputs: by name, x first.
        literal: whether the operation has a form that a plain export writes, see `rsvl.benchmarks.bundle.plain_export`.
    """

    name: str
    goal: float
    plain: nn.Module
    layer: nn.Module
    inputs: Inputs
    literal: bool


def rotated_convolution(channels: int, side: int) -> Case:
    """`RotatedConv2d` of three 3×3 bases, beside a 3×3 convolution without bias."""
    x, theta, gate = torch.randn(1, channels, side, side), torch.randn(1, 3), torch.rand(1, 3)
    return Case(
        f"RotatedConv2d, {channels} channels, {side}×{side}",
        1.15,
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        RotatedConv2d(channels, channels),
        {"x": x, "theta": theta, "gate": gate},
        literal=True,
    )


def low_rank_experts(patches: int, channels: int, experts: int, rank: int) -> Case:
    """`LoRAMoE` of which each patch uses one expert, beside a linear layer; both with bias, gates given."""
    layer = LoRAMoE(channels, channels, experts, rank, routed=False)
    nn.init.normal_(layer.b, std=rank**-0.5)
    gate = nn.functional.one_hot(torch.randint(experts, (1, patches)), experts) * torch.rand(1, patches, 1)
    return Case(
        f"LoRAMoE, {experts} experts of rank {rank}, {patches}×{channels}",
        1.2,
        nn.Linear(channels, channels),
        layer,
        {"x": torch.randn(1, patches, channels), "gate": gate},
        literal=False,
    )


CASES: tuple[Callable[[], Case], ...] = (
    partial(rotated_convolution, 256, 60),
    partial(rotated_convolution, 512, 30),
    partial(low_rank_experts, 900, 768, experts=8, rank=16),
)
