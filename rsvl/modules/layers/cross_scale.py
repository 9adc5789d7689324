"""Interaction between the stages of a pyramid: all pooled to the coarsest, worked on together, given back to each.

RMSIN's cross-scale interaction module (CIM) is `CrossScale` with a `CIMBlock`; CADFormer's public code has it too.
FIANet's text-aware multi-scale enhancement is `CrossScale` with blocks that attend to the words.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CrossScale(nn.Module):
    """Pools the stages to the coarsest one's size, runs blocks on them together, and gives each stage its part back.

    Args:
        widths: channels of the stages, finest first; the blocks work in a quarter of their sum.
        blocks: modules that keep the shape [B, sum(widths) // 4, h, w]; each also takes what `forward` is given after
            the maps.
    """

    def __init__(self, widths: tuple[int, ...], blocks: Iterable[nn.Module]) -> None:
        super().__init__()
        self.widths = widths
        self.reduce = nn.Conv2d(sum(widths), sum(widths) // 4, 1)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(sum(widths) // 4)
        self.expand = nn.Conv2d(sum(widths) // 4, sum(widths), 1)
        self.gates = nn.ModuleList(ScaleAwareGate(width) for width in widths)

    def forward(self, levels: list[Tensor], *context: Tensor) -> list[Tensor]:
        """Maps [B, C, H, W], finest first, each side a multiple of the last one's → maps of the same shapes."""
        side = levels[-1].shape[-1]
        x = self.reduce(torch.cat([F.avg_pool2d(x, x.shape[-1] // side) for x in levels], dim=1))
        for block in self.blocks:
            x = block(x, *context)
        parts = self.expand(self.norm(x)).split(self.widths, dim=1)
        return [gate(level, part) for gate, level, part in zip(self.gates, levels, parts, strict=True)]


class ScaleAwareGate(nn.Module):
    """Lets a coarse map gate a finer one and adds itself to it.

    Args:
        width: channels of both.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.local = _conv_norm(width)
        self.added = _conv_norm(width)
        self.gate = _conv_norm(width)

    def forward(self, level: Tensor, part: Tensor) -> Tensor:
        """Maps [B, C, H, W] and [B, C, h, w] → [B, C, H, W]."""

        def enlarge(x: Tensor) -> Tensor:
            return F.interpolate(x, size=level.shape[-2:], mode="bilinear")

        return self.local(level) * enlarge(F.hardsigmoid(self.gate(part))) + enlarge(self.added(part))


class CIMBlock(nn.Module):
    """RMSIN's block: attention over three scales, feed-forward within each stage's part; both again over all channels.

    Args:
        widths: channels of the stages; the block works in a quarter of their sum.
        side: side of the pooled map.
        heads: attention heads.
        key: channels of a head's queries and keys; its values have twice as many.
    """

    def __init__(self, widths: tuple[int, ...], side: int, heads: int = 8, key: int = 32) -> None:
        super().__init__()
        self.parts = tuple(width // 4 for width in widths)
        width = sum(self.parts)
        self.attention1 = CrossScaleAttention(width, side, heads, key)
        self.part_feed_forwards = nn.ModuleList(ConvFeedForward(part) for part in self.parts)
        self.attention2 = CrossScaleAttention(width, side, heads, key)
        self.feed_forward = ConvFeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h, w]."""
        x = x + self.attention1(x)
        parts = x.split(self.parts, dim=1)
        fed = [part + layer(part) for layer, part in zip(self.part_feed_forwards, parts, strict=True)]
        x = x + torch.cat(fed, dim=1)  # the parts' own residuals lie within that of the whole
        x = x + self.attention2(x)
        return x + self.feed_forward(x)


class CrossScaleAttention(nn.Module):
    """Attention between the cells of a map at its own size, at a half and at a third of it.

    The result is brought back to the map's own cells by a linear layer over the positions, and a depthwise convolution
    of the values is added to it.

    Args:
        width: channels.
        side: side of the map.
        heads: attention heads.
        key: channels of a head's queries and keys; its values have twice as many.
    """

    def __init__(self, width: int, side: int, heads: int, key: int) -> None:
        super().__init__()
        self.side, self.heads, self.sizes = side, heads, (key, key, 2 * key)
        values = 2 * key * heads
        cells = side**2 + (-(-side // 2)) ** 2 + (-(-side // 3)) ** 2
        self.norm = nn.BatchNorm2d(width)
        self.scale2 = _depthwise(width, 3, stride=2)
        self.scale3 = _depthwise(width, 5, stride=3)
        self.query_key_value = nn.Linear(width, sum(self.sizes) * heads, bias=False)
        self.query_key_value_norm = nn.BatchNorm1d(sum(self.sizes) * heads)
        self.value_conv = nn.Conv2d(values, values, 3, padding=1, groups=values)
        self.positions = nn.Linear(cells, side**2)
        self.out = nn.Linear(values, width)
        self.out_norm = nn.BatchNorm2d(width)
        self.out_conv = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h, w]."""
        x = self.norm(x)
        cells = torch.cat([scale.flatten(2) for scale in (x, self.scale2(x), self.scale3(x))], dim=2).transpose(1, 2)
        mixed = self.query_key_value_norm(self.query_key_value(cells).transpose(1, 2)).transpose(1, 2)
        query, key, value = mixed.unflatten(2, (self.heads, -1)).transpose(1, 2).split(self.sizes, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)  # [B, cells, values]
        attended = self.positions(attended.transpose(1, 2)) + self._convolved(value)  # [B, values, h·w]
        out = self.out(attended.transpose(1, 2)).transpose(1, 2).unflatten(2, (self.side, self.side))
        return self.out_conv(F.hardswish(self.out_norm(out)))

    def _convolved(self, value: Tensor) -> Tensor:
        """The map's own values [B, heads, cells, d] after a depthwise convolution, [B, heads·d, h·w]."""
        own = value[:, :, : self.side**2].transpose(2, 3).flatten(1, 2)
        return self.value_conv(F.hardswish(own.unflatten(2, (self.side, self.side)))).flatten(2)


class ConvFeedForward(nn.Module):
    """A feed-forward layer of convolutions: 1×1, grouped 3×3, ReLU6, 1×1, twice as wide inside.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = 2 * width
        self.norm1 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, hidden, 1)
        self.norm2 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, padding=1, groups=width)
        self.conv3 = nn.Conv2d(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] → [B, C, h, w]."""
        return self.conv3(F.relu6(self.conv2(self.norm2(self.conv1(self.norm1(x))))))


def _conv_norm(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 1), nn.BatchNorm2d(width))


def _depthwise(width: int, kernel: int, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(width, width, kernel, stride=stride, padding=kernel // 2, groups=width)
    return nn.Sequential(conv, nn.BatchNorm2d(width))
