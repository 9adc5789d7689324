"""Adaptive rotated convolution of RMSIN and CADFormer: `rsvl.ops.rotated_conv2d` in mode ``arc`` with its routing."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.layers.rotated_conv import RotatedConv2d

LARGEST_ANGLE = math.radians(40)


class AdaptiveRotatedConv2d(nn.Module):
    """A 3×3 convolution that rotates its kernels by angles it predicts from its input (LeapLabTHU/ARC).

    Args:
        channels: of input and output.
        bases: base kernels, n; RMSIN and CADFormer have one.
        dropout: before the routing's linear layers, in training.
    """

    def __init__(self, channels: int, bases: int = 1, dropout: float = 0.2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.route_norm = nn.LayerNorm(channels)
        self.gate = nn.Linear(channels, bases)
        self.angle = nn.Linear(channels, bases, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.conv = RotatedConv2d(channels, channels, 3, bases, mode="arc")
        for layer in (self.depthwise, self.gate, self.angle):
            nn.init.trunc_normal_(layer.weight, std=0.02)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Angles in radians, within 40° of zero, and gates in (0, 1), each [B, n], for [B, C, H, W]."""
        y = F.relu(self.route_norm(self.depthwise(x).permute(0, 2, 3, 1))).mean(dim=(1, 2))
        gate = self.gate(self.dropout(y)).sigmoid()
        return LARGEST_ANGLE * F.softsign(self.angle(self.dropout(y))), gate

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return self.conv(x, *self.route(x))
