"""The head: each cell's box, and its likeness with a sentence.

Submodules have the names that published checkpoints give them.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.blocks import ConvBlock, batch_norm

CLASSES = 16
"""Of the authors' dataset, in the start value of the scores."""


class PromptAdapter(nn.Module):
    """SwiGLU beside the sentence's embedding (published as `reprta`); starts as the identity."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.w12 = nn.Linear(embed_dim, 4 * embed_dim)
        self.w3 = nn.Linear(2 * embed_dim, embed_dim)
        nn.init.zeros_(self.w3.weight)
        nn.init.zeros_(self.w3.bias)

    def forward(self, text: Tensor) -> Tensor:
        """Unit embeddings [..., E] → unit prompts [..., E]."""
        gate, value = self.w12(text).chunk(2, dim=-1)
        return F.normalize((text + self.w3(F.silu(gate) * value)).float(), dim=-1)


class Contrast(nn.Module):
    """The logit that a cell is what a sentence names: the product of its normalised embedding with the prompt."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.norm = batch_norm(embed_dim)
        self.logit_scale = nn.Parameter(torch.tensor(-1.0))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, regions: Tensor, prompt: Tensor) -> Tensor:
        """Embeddings [B, E, H, W] and prompts [B, K, E] → logits float32 [B, K, H·W]."""
        likeness = prompt.float() @ self.norm(regions).flatten(2).float()
        return likeness * self.logit_scale.float().exp() + self.bias.float()


class RegionGrid(nn.Module):
    """The region-aware auxiliary head: in which cell of a coarse grid each place lies. Training only."""

    def __init__(self, embed_dim: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.grid_head = nn.Sequential(
            nn.Conv2d(embed_dim, embed_dim // 2, 1), nn.ReLU(), nn.Conv2d(embed_dim // 2, side * side, 1)
        )

    def forward(self, regions: Tensor) -> Tensor:
        """Embeddings [B, E, H, W] → logits [B, side², H, W]."""
        return self.grid_head(regions)


class LevelHead(nn.Module):
    """Boxes and embeddings of one level's cells.

    Args:
        channels: of the level.
        finest: channels of the finest level, which sets the branches' widths.
        embed_dim: length of the embeddings.
        stride: of the level in pixels.
        image_size: pixels of the square input.
        bins: distances of a box's side, in strides.
    """

    def __init__(self, channels: int, finest: int, embed_dim: int, stride: int, image_size: int, bins: int) -> None:
        super().__init__()
        narrow, wide = max(16, finest // 4, 4 * bins), max(finest, CLASSES)
        sides, embedding = nn.Conv2d(narrow, 4 * bins, 1), nn.Conv2d(wide, embed_dim, 1)
        sides.bias, embedding.bias = nn.Parameter(torch.ones(4 * bins)), nn.Parameter(torch.zeros(embed_dim))
        self.box = nn.Sequential(ConvBlock(channels, narrow, 3), ConvBlock(narrow, narrow, 3), sides)
        self.embed = nn.Sequential(
            nn.Sequential(ConvBlock(channels, channels, 3, groups=channels), ConvBlock(channels, wide)),
            nn.Sequential(ConvBlock(wide, wide, 3, groups=wide), ConvBlock(wide, wide)),
            embedding,
        )
        self.contrast = Contrast(embed_dim)
        self.grid = RegionGrid(embed_dim, max(2, int(4 / math.sqrt(stride / 8))))
        nn.init.constant_(self.contrast.bias, math.log(5 / CLASSES / (image_size / stride) ** 2))

    def forward(self, x: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Level [B, C, H, W] and prompts [B, K, E].

        Returns:
            Logits [B, K, H·W], the box's distances' logits [B, H·W, 4·bins], embeddings [B, E, H, W].
        """
        regions = self.embed(x)
        return self.contrast(regions, prompt), self.box(x).flatten(2).transpose(1, 2), regions
