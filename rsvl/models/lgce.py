"""LGCE: LAVT with its two deepest features enhanced by self-attention that the sentence guides.

Yuan, Mou, Hua and Zhu, "RRSIS: Referring Remote Sensing Image Segmentation", IEEE TGRS 2024. What all models of this
family share is in `rsvl.modules.bases.early_fusion`. Training: AdamW, 5e-5, weight decay 0.01, polynomial decay, 60
epochs.

This is what the released code computes. The paper's cross-scale step follows the self-attention there and changes the
guide alone, which is then cut off: it reaches no pixel and is left out, and so are the scales that are never called.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rsvl.models.lavt import KEYS, LAVT
from rsvl.modules.bases.early_fusion import TINY
from rsvl.modules.bases.early_fusion import Preset as BasePreset
from rsvl.modules.key_rules import Rules
from rsvl.modules.layers.attention import Attention
from rsvl.registry import register


@dataclass(frozen=True)
class Preset(BasePreset):
    """Sizes of an LGCE.

    Attributes:
        blocks: self-attention blocks over the third and over the fourth stage.
        heads: attention heads there.
    """

    blocks: tuple[int, int] = (1, 3)
    heads: tuple[int, int] = (8, 16)


class SelfAttentionBlock(nn.Module):
    """A pre-normalised transformer encoder block.

    Args:
        width: channels.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, bias=False)
        self.feed_forward = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, N, C] → [B, N, C]."""
        y = self.norm1(x)
        x = x + self.attention(y, y)
        return x + self.feed_forward(self.norm2(x))


class GuidedEnhancement(nn.Module):
    """Self-attention over the tokens of each scale and one of the sentence, which guides them.

    Args:
        words: channels of the words.
        widths: channels of each scale.
        heads: its attention heads.
        blocks: its self-attention blocks.
    """

    def __init__(self, words: int, widths: tuple[int, ...], heads: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        self.guides = nn.ModuleList(nn.Linear(words, width) for width in widths)
        self.blocks = nn.ModuleList(
            nn.Sequential(*(SelfAttentionBlock(width, h) for _ in range(count)))
            for width, h, count in zip(widths, heads, blocks, strict=True)
        )

    def forward(self, levels: list[Tensor], words: Tensor) -> list[Tensor]:
        """Maps [B, C, H, W] and words [B, T, D], of which all count alike, padding too → maps of the same shapes."""
        mean = words.mean(1, keepdim=True)
        enhanced = []
        for level, guide, blocks in zip(levels, self.guides, self.blocks, strict=True):
            tokens = torch.cat([guide(mean), level.flatten(2).transpose(1, 2)], dim=1)
            enhanced.append(blocks(tokens)[:, 1:].transpose(1, 2).unflatten(2, level.shape[-2:]))
        return enhanced


_RELEASED: Rules = (
    *KEYS,
    (r"^classifier\.lg_layer([34])\.", lambda m: f"lgce.guides.{int(m[1]) - 3}."),
    (r"^classifier\.msb1\.msb\.blocks\.", "lgce.blocks."),
    (r"^(lgce\.blocks\..*)\.attn\.qkv\.", r"\1.attention.query&key_value."),
    (r"^(lgce\.blocks\..*)\.attn\.proj\.", r"\1.attention.out."),
    (r"^(lgce\.blocks\..*)\.mlp\.fc1\.", r"\1.feed_forward.0."),
    (r"^(lgce\.blocks\..*)\.mlp\.fc2\.", r"\1.feed_forward.2."),
)


@register("lgce", presets={"lgce": Preset(), "lgce-tiny": Preset(**TINY, blocks=(1, 1))})
class LGCE(LAVT):
    """LAVT with the enhancement of its two deepest stages before the decoder.

    Args:
        name: the preset's name.
        preset: its sizes.
    """

    paper = "LGCE: RRSIS, Referring Remote Sensing Image Segmentation (IEEE TGRS 2024)"
    released_parts = frozenset({"classifier.msb1."})
    released_keys = _RELEASED
    unread = (
        r"^backbone\.layers\.3\.res_gate\.|^classifier\.(msb[23]|lg_layer[12])\.|"
        r"^classifier\.msb1\.(patch_embed|msb\.(projs|fusion|revert_projs))\."
    )

    def __init__(self, name: str, preset: Preset) -> None:
        super().__init__(name, preset)
        self.lgce = GuidedEnhancement(preset.bert.width, preset.swin.widths[2:], preset.heads, preset.blocks)

    def refine(self, levels: list[Tensor], text: tuple[Tensor, ...]) -> list[Tensor]:
        """LGCE."""
        return [*levels[:2], *self.lgce(levels[2:], text[0])]
