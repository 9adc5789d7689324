"""Plain blocks of the trunk and the neck: convolutions with batch norm, cross-stage partial blocks, pooling, attention.

Submodules have the names that published checkpoints give them (`cv1`, `cv2`, `m` …).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BN_EPS, BN_MOMENTUM = 1e-3, 0.03
"""Of every BatchNorm2d of the network."""


class BatchNorm(nn.BatchNorm2d):
    """The network's batch norm. Its gradient keeps the input's layout: with mixed ones CPUs train far slower."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=BN_EPS, momentum=BN_MOMENTUM)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        y = super().forward(x)
        if y.requires_grad and not torch.jit.is_tracing() and y.is_contiguous(memory_format=torch.channels_last):
            y.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return y


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """The network's batch norm."""
    return BatchNorm(channels)


class ConvBlock(nn.Module):
    """A convolution without bias that keeps the size (divided by the stride), batch norm, and SiLU if `active`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = batch_norm(outputs)
        self.act = nn.SiLU() if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H/stride, W/stride]."""
        return self.act(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    """Two 3×3 convolutions and a shortcut."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = ConvBlock(channels, hidden, 3), ConvBlock(hidden, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return x + self.cv2(self.cv1(x))


class C3k(nn.Module):
    """A cross-stage partial block: two bottlenecks on half of the channels, a 1×1 convolution on the other half."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.cv1, self.cv2 = ConvBlock(channels, half), ConvBlock(channels, half)
        self.cv3 = ConvBlock(2 * half, channels)
        self.m = nn.Sequential(Bottleneck(half, half), Bottleneck(half, half))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        return self.cv3(torch.cat([self.m(self.cv1(x)), self.cv2(x)], dim=1))


class C3k2(nn.Module):
    """A cross-stage partial block that keeps what each inner block gives.

    Args:
        inputs: channels.
        outputs: channels.
        hidden: channels of each part.
        count: inner blocks, n.
        nested: whether they are `C3k`, else bottlenecks.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, count: int, nested: bool) -> None:
        super().__init__()
        self.cv1, self.cv2 = ConvBlock(inputs, 2 * hidden), ConvBlock((2 + count) * hidden, outputs)
        self.m = nn.ModuleList(C3k(hidden) if nested else Bottleneck(hidden, hidden // 2) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, outputs, H, W]."""
        parts = list(self.cv1(x).chunk(2, dim=1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, dim=1))


class SPPF(nn.Module):
    """Spatial pyramid pooling by three max pools in a row. Its first convolution has no activation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1 = ConvBlock(channels, channels // 2, active=False)
        self.cv2 = ConvBlock(2 * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, stride=1, padding=2))
        return self.cv2(torch.cat(parts, dim=1))


class CellAttention(nn.Module):
    """Self-attention over all cells, with a depthwise convolution of the values for their places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads, self.width = max(1, channels // 64), channels // max(1, channels // 64)
        self.key = self.width // 2
        self.qkv = ConvBlock(channels, channels + 2 * self.heads * self.key, active=False)
        self.proj = ConvBlock(channels, channels, active=False)
        self.pe = ConvBlock(channels, channels, 3, groups=channels, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        parts = self.qkv(x).flatten(2).unflatten(1, (self.heads, -1))  # [B, heads, 2·key + width, H·W]
        query, key, value = parts.split([self.key, self.key, self.width], dim=2)
        weight = (query.transpose(2, 3) @ key * self.key**-0.5).softmax(dim=-1)
        mixed = (value @ weight.transpose(2, 3)).flatten(1, 2).view_as(x)
        return self.proj(mixed + self.pe(value.flatten(1, 2).view_as(x)))


class AttentionBlock(nn.Module):
    """Cell attention and a feed-forward network, each with a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = CellAttention(channels)
        self.ffn = nn.Sequential(ConvBlock(channels, 2 * channels), ConvBlock(2 * channels, channels, active=False))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        x = x + self.attn(x)
        return x + self.ffn(x)


class C2PSA(nn.Module):
    """A cross-stage partial block with attention on half of the channels."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = ConvBlock(channels, channels), ConvBlock(channels, channels)
        self.m = nn.Sequential(*(AttentionBlock(channels // 2) for _ in range(count)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        a, b = self.cv1(x).chunk(2, dim=1)
        return self.cv2(torch.cat([a, self.m(b)], dim=1))
