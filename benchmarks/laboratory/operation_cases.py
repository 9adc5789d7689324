"""The custom operations in the models' sizes, each beside the plain layer whose place it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import onnx
import torch
from torch import Tensor, nn

from rsvl.benchmarks.laboratory.plain_scan import plain_scan
from rsvl.benchmarks.laboratory.selective_scan_case import SelectiveScanCase
from rsvl.modules.layers.lora_moe import LoRAMoE
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.ops import patch_lora_moe, selective_scan
from rsvl.ops.patch_lora_moe import merges

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """An operation in one size.

    Attributes:
        name: what is measured.
        goal: how many times the plain layer's time it may take.
        plain: that layer; takes x, or all inputs where it has a graph of its own.
        layer: the layer of the operation; takes x and its other inputs.
        inputs: by name, x first.
        literal: whether the operation has a form that a plain export writes, see `rsvl.benchmarks.bundle.plain_export`.
        plain_graph: the plain layer in ONNX, where it is a form that PyTorch's exporter does not write.
    """

    name: str
    goal: float
    plain: nn.Module
    layer: nn.Module
    inputs: Inputs
    literal: bool
    plain_graph: onnx.ModelProto | None = None


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


class SharedConvolutions(nn.Module):
    """Two 3×3 convolutions of each patch alone, to half of the channels and back, and what follows on each of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1), nn.SiLU())
        self.second = nn.Conv2d(channels // 2, channels, 3, padding=1)


class RoutedBlock(SharedConvolutions):
    """Low-rank experts of each patch after both convolutions, gates given."""

    def __init__(self, channels: int, experts: int, rank: int) -> None:
        super().__init__(channels)
        self.first_up, self.first_down = _factors(experts, channels // 2, rank)
        self.second_up, self.second_down = _factors(experts, channels, rank)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        """Patches [P, C, h, w] and gates [P, E] → [P, C, h, w]."""
        x = patch_lora_moe(self.first(x), self.first_up, self.first_down, gate)
        return patch_lora_moe(self.second(x), self.second_up, self.second_down, gate)


def _factors(experts: int, width: int, rank: int) -> tuple[nn.Parameter, nn.Parameter]:
    """Random factors of the experts' products: up [E, width, rank] and down [E, rank, width]."""
    up, down = torch.randn(experts, width, rank) / rank**0.5, torch.randn(experts, rank, width) / width**0.5
    return nn.Parameter(up), nn.Parameter(down)


class OneExpertBlock(SharedConvolutions):
    """One low-rank expert for all patches after both convolutions, as plain 1×1 convolutions."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__(channels)
        self.mix_first, self.mix_second = _mixing(channels // 2, rank), _mixing(channels, rank)

    def forward(self, x: Tensor) -> Tensor:
        """Patches [P, C, h, w] → [P, C, h, w]."""
        x = self.first(x)
        x = self.second(x + self.mix_first(x))
        return x + self.mix_second(x)


def _mixing(channels: int, rank: int) -> nn.Module:
    """A low-rank product of channels, multiplied out where that takes fewer products."""
    if merges(channels, rank):
        return nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(nn.Conv2d(channels, rank, 1, bias=False), nn.Conv2d(rank, channels, 1, bias=False))


def experts_of_patches(cells: int, side: int, channels: int, experts: int, rank: int) -> Case:
    """`PatchLoRAMoE` in the block that it is for, two experts a patch, beside the same block with one expert."""
    patches = (cells // side) ** 2
    best = torch.rand(patches, experts).topk(min(2, experts), dim=1).indices
    gate = torch.zeros(patches, experts).scatter(1, best, 0.5)
    return Case(
        f"PatchLoRAMoE, {experts} experts of rank {rank}, {channels} channels, {cells}×{cells}",
        1.15,
        OneExpertBlock(channels, rank),
        RoutedBlock(channels, experts, rank),
        {"x": torch.randn(patches, channels, side, side), "gate": gate},
        literal=False,
    )


class Recurrence(nn.Module):
    """`selective_scan` with rates and pass-through of its own, as a layer has them."""

    def __init__(self, A: Tensor, D: Tensor) -> None:
        super().__init__()
        self.A, self.D = nn.Parameter(A), nn.Parameter(D)

    def forward(self, x: Tensor, dt: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Tokens and steps [B, D, L], B and C [B, N, L] → [B, D, L]."""
        return selective_scan(x, dt, self.A, B, C, self.D)


def recurrence(length: int, channels: int, states: int) -> Case:
    """`selective_scan` with steps as wide as a trained layer's, beside one ONNX Scan that follows its definition."""
    arrays = SelectiveScanCase(1, channels, length, states, steps="wide").arrays()
    x, dt, A, B, C, D = (torch.from_numpy(array).float() for array in arrays)
    layer = Recurrence(A, D)
    return Case(
        f"SelectiveScan, {channels} channels, {states} states, length {length}",
        1.0,
        layer,
        layer,
        {"x": x, "dt": dt, "B": B, "C": C},
        literal=False,
        plain_graph=plain_scan(length, A.numpy(), D.numpy()),
    )


CASES: tuple[Callable[[], Case], ...] = (
    partial(rotated_convolution, 256, 60),
    partial(rotated_convolution, 512, 30),
    partial(low_rank_experts, 900, 768, experts=8, rank=16),
    *(
        partial(experts_of_patches, cells, side, 256, experts=8, rank=rank)
        for cells, side in ((20, 2), (80, 4))
        for rank in (16, 256)
    ),
    partial(recurrence, 196, channels=192, states=16),
    partial(recurrence, 1024, channels=192, states=16),
)
