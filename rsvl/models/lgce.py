"""LGCE: LAVT with deep and shallow features that enhance each other under the sentence's guidance.

Yuan, Mou, Hua and Zhu, "RRSIS: Referring Remote Sensing Image Segmentation", IEEE TGRS 2024 (zhu-xlab/rrsis publishes
the dataset and the training script, not the module). What all models of this family share is in
`rsvl.modules.bases.early_fusion`. Training: AdamW, 5e-5, weight decay 0.01, polynomial decay, 60 epochs.

The language-guided cross-scale enhancement is built as CrossViT's multi-scale block over the two deepest stages, one
and three self-attention blocks deep, with the sentence's mean word in the place of the class tokens: CADFormer's Table
VI leaves 48.5 M parameters for it, and this has 49.5 M. Chosen: the guides look across the scales first and the
self-attention blocks follow, so that what they bring reaches the pixels (in CrossViT the class tokens alone go on).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsvl.models.lavt import LAVT
from rsvl.modules.bases.early_fusion import TINY
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.layers.attention import Attention
from rsvl.registry import register


@dataclass(frozen=True)
class Preset(BasePreset):
    """Sizes of an LGCE.

    Attributes:
        blocks: self-attention blocks over the third and over the fourth stage.
    """

    blocks: tuple[int, int] = (1, 3)


class SelfAttentionBlock(nn.Module):
    """A pre-normalised transformer encoder block.

    Args:
        width: channels.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        y = self.norm1(x)
        x = x + self.attention(y, y)
        return x + self.feed_forward(self.norm2(x))


class Across(nn.Module):
    """Lets one scale's guide look at the other scale.

    Args:
        width: channels of the guide.
        other: channels of the other scale.
        heads: attention heads there.
    """

    def __init__(self, width: int, other: int, heads: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.GELU(), nn.Linear(width, other))
        self.norm = nn.LayerNorm(other)
        self.attention = Attention(other, heads)
        self.leave = nn.Sequential(nn.LayerNorm(other), nn.GELU(), nn.Linear(other, width))

    def forward(self, guide: Tensor, tokens: Tensor) -> Tensor:
        """Guide [B, 1, C], the other scale's tokens [B, N, C'] → [B, 1, C]."""
        guide = self.enter(guide)
        context = self.norm(torch.cat([guide, tokens], dim=1))
        return self.leave(guide + self.attention(context[:, :1], context))


class CrossScaleEnhancement(nn.Module):
    """LGCE over two scales.

    Args:
        words: channels of the words.
        widths, heads, blocks: of each scale, the finer first: channels, attention heads, self-attention blocks.
    """

    def __init__(self, words: int, widths: tuple[int, ...], heads: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.guides = nn.ModuleList(nn.Linear(words, width) for width in widths)
        self.across = nn.ModuleList(
            Across(width, other, h) for width, other, h in zip(widths, widths[::-1], heads[::-1], strict=True)
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(*(SelfAttentionBlock(width, h) for _ in range(count)))
            for width, h, count in zip(widths, heads, blocks, strict=True)
        )

    def forward(self, levels: list[Tensor], words: Tensor, padding: Tensor) -> list[Tensor]:
        """Two maps [B, C, H, W], words [B, T, D] and their padding bias [B, T] → maps of the same shapes."""
        keep = (padding >= 0).to(words.dtype)[:, :, None]
        mean = (words * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1)
        scales = [level.flatten(2).transpose(1, 2) for level in levels]
        enhanced = []
        for index, (level, tokens) in enumerate(zip(levels, scales, strict=True)):
            guide = self.across[index](self.guides[index](mean), scales[1 - index])
            tokens = self.blocks[index](torch.cat([guide, tokens], dim=1))[:, 1:]
            enhanced.append(tokens.transpose(1, 2).unflatten(2, level.shape[-2:]))
        return enhanced


@register("lgce", presets={"lgce": Preset(), "lgce-tiny": Preset(**TINY, blocks=(1, 1))})
class LGCE(LAVT):
    """LAVT with the enhancement of its two deepest stages before the decoder.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "LGCE: RRSIS, Referring Remote Sensing Image Segmentation (IEEE TGRS 2024)"

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        swin = preset.swin
        self.lgce = CrossScaleEnhancement(preset.bert.width, swin.widths[2:], swin.heads[2:], preset.blocks)

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """LGCE."""
        return [*levels[:2], *self.lgce(levels[2:], *text)]
