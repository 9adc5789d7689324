"""TGDF-SSA: text-guided dual-gate fusion with spatial shuffle attention, one block per level of the neck.

Submodules have the names that published checkpoints give them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.blocks import Bottleneck, ConvBlock

GROUPS, HEADS, HEAD_WIDTH = 32, 4, 64


def shuffled(x: Tensor, groups: int = 2) -> Tensor:
    """Channels [B, C, H, W] interleaved: new channel ``groups·i + j`` is old channel ``j·C/groups + i``."""
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


class SpatialShuffleAttention(nn.Module):
    """Within each of 32 groups, one half's mean and the other half's maximum gate the channels crosswise."""

    weight_max: Tensor
    bias_max: Tensor
    weight_avg: Tensor
    bias_avg: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        quarter = channels // (2 * GROUPS)
        for name, start in (("weight_max", 0.0), ("bias_max", 1.0), ("weight_avg", 0.0), ("bias_avg", 1.0)):
            self.register_parameter(name, nn.Parameter(torch.full((1, quarter, 1, 1), start)))
        self.dropout = nn.Dropout(0.01)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H, W]."""
        grouped = shuffled(x.unflatten(1, (GROUPS, -1)).flatten(0, 1))  # [B·groups, C/groups, H, W]
        first, second = grouped.chunk(2, dim=1)
        mean = self.weight_avg * first.mean(dim=(2, 3), keepdim=True) + self.bias_avg
        maximum = self.weight_max * second.amax(dim=(2, 3), keepdim=True) + self.bias_max
        gate = self.dropout(torch.cat([maximum, mean], dim=1).sigmoid())  # crosswise: the second half gates the first
        return shuffled((grouped * gate).unflatten(0, (-1, GROUPS)).flatten(1, 2))


class GuideProjection(nn.Module):
    """A sentence's embedding in the width of all heads."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        width = HEADS * HEAD_WIDTH
        self.proj = nn.Sequential(
            nn.Linear(embed_dim, embed_dim),
            nn.LayerNorm(embed_dim),
            nn.GELU(),
            nn.Identity(),
            nn.Linear(embed_dim, width),
            nn.LayerNorm(width),
        )

    def forward(self, guide: Tensor) -> Tensor:
        """[B, K, E] → [B, K, heads·width]."""
        return self.proj(guide)


class DualGateAttention(nn.Module):
    """Each head's likeness with the sentence gates its share of the channels.

    `cells` is of the image alone and may be computed once for all sentences.
    """

    def __init__(self, channels: int, embed_dim: int) -> None:
        super().__init__()
        self.gl = GuideProjection(embed_dim)
        width = HEADS * HEAD_WIDTH
        self.ec = ConvBlock(channels, width, active=False) if channels != width else None
        self.proj_conv = ConvBlock(channels, channels, 3, active=False)
        self.temperature = nn.Parameter(torch.full((1,), 8.0))
        self.bias = nn.Parameter(torch.zeros(HEADS))
        self.weight_gate = nn.Parameter(torch.ones(1, HEADS, 1, 1))
        self.feature_gate = nn.Parameter(torch.ones(1, HEADS, 1, 1))

    def cells(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, C, H, W] → embeddings [B, heads·width, H, W] and values [B, C, H, W]."""
        return (x if self.ec is None else self.ec(x)), self.proj_conv(x)

    def forward(self, embeddings: Tensor, values: Tensor, guide: Tensor) -> Tensor:
        """What `cells` gives, and the prompts [B, K, E] of which the best counts at each cell → [B, C, H, W]."""
        heads = embeddings.flatten(2).unflatten(1, (HEADS, HEAD_WIDTH))  # [B, heads, width, H·W]
        wanted = self.gl(guide).unflatten(2, (HEADS, HEAD_WIDTH)).transpose(1, 2)  # [B, heads, K, width]
        likeness = (wanted @ heads).amax(dim=2) / self.temperature + self.bias[:, None]  # [B, heads, H·W]
        gate = likeness.sigmoid().unsqueeze(2)
        strength = (self.weight_gate * self.feature_gate)[:, :, :, 0].unsqueeze(3)  # [1, heads, 1, 1]
        own = values.flatten(2).unflatten(1, (HEADS, -1))  # [B, heads, C/heads, H·W]
        return (own * (1 + strength * (gate - 1))).flatten(1, 2).view_as(values)


class TGDF(nn.Module):
    """A cross-stage partial block: shuffle attention, bottlenecks, and the dual gate at its end.

    Args:
        inputs: channels.
        outputs: channels.
        count: bottlenecks.
        embed_dim: length of a sentence's embedding.
    """

    def __init__(self, inputs: int, outputs: int, count: int, embed_dim: int) -> None:
        super().__init__()
        hidden = outputs // 2
        self.ssa = SpatialShuffleAttention(inputs)
        self.cv1, self.cv2 = ConvBlock(inputs, 2 * hidden), ConvBlock((3 + count) * hidden, outputs)
        self.m = nn.ModuleList(Bottleneck(hidden, hidden // 2) for _ in range(count))
        self.attn = DualGateAttention(hidden, embed_dim)

    def of_image(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, inputs, H, W] → what the last convolution makes of all but the gated part, and the gate's `cells`."""
        parts = list(self.cv1(self.ssa(x)).chunk(2, dim=1))
        for block in self.m:
            parts.append(block(parts[-1]))
        plain = torch.cat(parts, dim=1)
        return F.conv2d(plain, self.cv2.conv.weight[:, : plain.shape[1]]), *self.attn.cells(parts[-1])

    def with_text(self, plain: Tensor, embeddings: Tensor, values: Tensor, guide: Tensor) -> Tensor:
        """What `of_image` gives, and prompts [B, K, E] → [B, outputs, H, W]."""
        gated = self.attn(embeddings, values, guide)
        weight = self.cv2.conv.weight[:, -gated.shape[1] :]
        return self.cv2.act(self.cv2.bn(plain + F.conv2d(gated, weight)))

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Map [B, inputs, H, W] and prompts [B, K, E] → [B, outputs, H, W]."""
        return self.with_text(*self.of_image(x), guide)
