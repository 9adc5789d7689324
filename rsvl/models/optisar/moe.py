"""PL-MoE: a mixture of low-rank experts of patches beside two shared convolutions (the paper's section on PL-MoE).

Submodules have the names that published checkpoints give them; A and B of a low-rank product are `up` and `down`.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.blocks import batch_norm
from rsvl.ops import patch_lora_moe

PATCHES, LEAST_SIDE, MOST_SIDE = 20, 2, 32
"""How many patches an axis aims for, and the sides in cells that a patch may have."""

MAX_SCALE = 100.0


def patch_side(cells: int) -> int:
    """The side of a patch along an axis of `cells`: the divisor nearest to a twentieth of it; 1 where none is near."""
    ideal = min(max(cells // PATCHES, LEAST_SIDE), MOST_SIDE)
    for distance in range(ideal):
        for side in (ideal - distance, ideal + distance):
            if side >= 1 and cells % side == 0:
                return side
    return 1


class DualAdaptiveAttention(nn.Module):
    """Gates per channel, from the mean over the cells, and per cell, from its channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 4
        self.channel_attn = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, channels),
            nn.Sigmoid(),
        )
        self.spatial_attn = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), batch_norm(hidden), nn.ReLU(), nn.Conv2d(hidden, 1, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return x * self.channel_attn(x)[:, :, None, None] * self.spatial_attn(x)


class CosineTopKGate(nn.Module):
    """Cosines of a patch's projected mean with each expert's direction, times a learned scale."""

    def __init__(self, channels: int, experts: int) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.full((1,), math.log(2.0)))
        self.cosine_projector = nn.Linear(channels, channels // 2)
        self.sim_matrix = nn.Parameter(torch.randn(channels // 2, experts) * 0.01)

    def forward(self, mean: Tensor) -> Tensor:
        """Means [P, C] → logits float32 [P, E]."""
        place = F.normalize(self.cosine_projector(mean).float(), dim=1)
        scale = self.temperature.float().clamp(max=math.log(MAX_SCALE)).exp()
        return place @ F.normalize(self.sim_matrix.float(), dim=0) * scale


class LowRankExperts(nn.Module):
    """Two 3×3 convolutions that all experts share, each followed by the patch's own low-rank mixing of channels."""

    lora1_up: Tensor
    lora1_down: Tensor
    lora2_up: Tensor
    lora2_down: Tensor

    def __init__(self, channels: int, experts: int, rank: int) -> None:
        super().__init__()
        hidden = channels // 2
        self.shared_conv1 = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1, bias=False), batch_norm(hidden), nn.SiLU()
        )
        self.shared_conv2 = nn.Sequential(nn.Conv2d(hidden, channels, 3, padding=1, bias=False), batch_norm(channels))
        self._experts, self._widths = experts, {"lora1": hidden, "lora2": channels}
        self.lora_scale = nn.Parameter(torch.full((1,), 0.1))
        self.use_rank(rank)

    def use_rank(self, rank: int) -> None:
        """Starts all low-rank products anew with this rank; they add nothing at first."""
        for name, width in self._widths.items():
            start = self.lora_scale.new_empty(self._experts, width, rank)
            nn.init.kaiming_uniform_(start, a=math.sqrt(5))
            self.register_parameter(f"{name}_up", nn.Parameter(start))
            self.register_parameter(f"{name}_down", nn.Parameter(start.new_zeros(self._experts, rank, width)))

    def forward(self, patches: Tensor, gate: Tensor) -> Tensor:
        """Patches [P, C, h, w], each with zeros around it, and gates [P, E] → [P, C, h, w]."""
        gate = gate * self.lora_scale
        x = patch_lora_moe(self.shared_conv1(patches), self.lora1_up, self.lora1_down, gate)
        return patch_lora_moe(self.shared_conv2(x), self.lora2_up, self.lora2_down, gate)


class PatchExperts(nn.Module):
    """Cuts a map into patches, chooses each one's experts and puts the patches together again."""

    def __init__(self, channels: int, experts: int, rank: int, top_k: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.gate = CosineTopKGate(channels, experts)
        self.w_noise = nn.Parameter(torch.zeros(channels, experts))
        self.experts = LowRankExperts(channels, experts, rank)
        self.balance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]; in training `balance` is set, ``E · Σ f_e·P_e``, `top_k` at its least."""
        height, width = x.shape[2:]
        side = patch_side(height), patch_side(width)
        patches = x.unflatten(3, (-1, side[1])).unflatten(2, (-1, side[0]))  # [B, C, rows, h, columns, w]
        patches = patches.permute(0, 2, 4, 1, 3, 5)
        rows, columns = patches.shape[1:3]
        patches = patches.flatten(0, 2)  # [P, C, h, w]
        mixed = self.experts(patches, self.gates(patches.mean(dim=(2, 3))).to(x.dtype))
        return mixed.unflatten(0, (-1, rows, columns)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)

    def take_balance(self) -> Tensor:
        """The balance of the last run in training, scalar; it is handed over once."""
        assert self.balance is not None, "the experts have not run in training"
        balance, self.balance = self.balance, None
        return balance

    def gates(self, mean: Tensor) -> Tensor:
        """Means [P, C] → gates float32 [P, E]: the softmax over the `top_k` largest logits alone, zero elsewhere."""
        logits = self.gate(mean)
        if self.training:
            deviation = F.softplus(mean.float() @ self.w_noise.float()) + 0.01
            logits = logits + torch.randn_like(logits) * deviation
        best = logits.topk(self.top_k, dim=1)
        gates = torch.zeros_like(logits).scatter(1, best.indices, best.values.softmax(dim=1))
        if self.training:
            share = (gates.detach() > 0).float().mean(dim=0)
            self.balance = logits.shape[1] * (share * logits.softmax(dim=1).mean(dim=0)).sum()
        return gates


class ExpertBlock(nn.Module):
    """Attention, then experts of patches. Only the experts see the attention: the shortcut is the block's input."""

    def __init__(self, channels: int, experts: int, rank: int, top_k: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = batch_norm(channels), batch_norm(channels)
        self.daa = DualAdaptiveAttention(channels)
        self.moe = PatchExperts(channels, experts, rank, top_k)
        self.layer_scale_daa = nn.Parameter(torch.full((channels,), 0.01))
        self.layer_scale_moe = nn.Parameter(torch.full((channels,), 0.01))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        seen = x + self.layer_scale_daa[:, None, None] * self.daa(self.norm1(x))
        return x + self.layer_scale_moe[:, None, None] * self.moe(self.norm2(seen))


class PLMoE(nn.Module):
    """A cross-stage partial block of `ExpertBlock`s."""

    def __init__(self, channels: int, count: int, experts: int, rank: int, top_k: int) -> None:
        super().__init__()
        half = channels // 2
        self.cv1 = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), batch_norm(channels), nn.SiLU())
        self.cv2 = nn.Sequential(
            nn.Conv2d((2 + count) * half, channels, 1, bias=False), batch_norm(channels), nn.SiLU()
        )
        self.m = nn.ModuleList(ExpertBlock(half, experts, rank, top_k) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        parts = list(self.cv1(x).chunk(2, dim=1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, dim=1))
