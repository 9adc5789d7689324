"""The network of OptiSAR-Net++ between an image, a prompt and the raw answers of all cells."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.models.optisar.blocks import C2PSA, SPPF, C3k2, ConvBlock
from rsvl.models.optisar.fusion import TGDF
from rsvl.models.optisar.moe import PLMoE


@dataclass(frozen=True)
class Scale:
    """How a network of the family is scaled.

    Attributes:
        depth: factor of the repeats.
        width: factor of the channels.
        most: most channels before that factor.
        nested: whether every `C3k2` holds `C3k` blocks; else only the one that always does.
        experts, rank, top_k: of PL-MoE.
        embed_dim: length of a sentence's embedding, E.
        bins: distances of a box's side, in strides.
    """

    depth: float
    width: float
    most: int
    nested: bool
    experts: int = 8
    rank: int = 16
    top_k: int = 2
    embed_dim: int = 512
    bins: int = 16

    def channels(self, count: int) -> int:
        """Channels of a layer that has `count` at full width: a multiple of 8."""
        return -(-int(min(count, self.most) * self.width) // 8) * 8

    def repeats(self, count: int) -> int:
        """Repeats of a block that has `count` at full depth, at least one."""
        return max(1, round(count * self.depth))


class Trunk(nn.Module):
    """The image alone: maps at strides 8, 16 and 32, the last through PL-MoE, pooling and attention."""

    def __init__(self, s: Scale) -> None:
        super().__init__()
        c = s.channels

        def stage(inputs: int, outputs: int, share: float, nested: bool) -> C3k2:
            return C3k2(c(inputs), c(outputs), int(c(outputs) * share), s.repeats(2), nested)

        self.layers = nn.ModuleList(
            [
                ConvBlock(3, c(64), 3, 2),
                ConvBlock(c(64), c(128), 3, 2),
                stage(128, 256, 0.25, s.nested),
                ConvBlock(c(256), c(256), 3, 2),
                stage(256, 512, 0.25, s.nested),
                ConvBlock(c(512), c(512), 3, 2),
                stage(512, 512, 0.5, True),
                ConvBlock(c(512), c(1024), 3, 2),
                PLMoE(c(1024), s.repeats(2), s.experts, s.rank, s.top_k),
                SPPF(c(1024)),
                C2PSA(c(1024), s.repeats(2)),
            ]
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Image [B, 3, S, S] → maps at strides 8, 16 and 32."""
        maps = []
        for number, layer in enumerate(self.layers):
            image = layer(image)
            if number in (4, 6, 10):
                maps.append(image)
        return maps[0], maps[1], maps[2]


class Neck(nn.Module):
    """From coarse to fine, then back with the text at each level."""

    def __init__(self, s: Scale) -> None:
        super().__init__()
        c, count = s.channels, s.repeats(3)
        self.merge = C3k2(c(1024) + c(512), c(512), int(c(512) * 0.5), s.repeats(2), s.nested)
        self.fuse8 = TGDF(c(512) + c(512), c(256), count, s.embed_dim)
        self.fuse16 = TGDF(c(256) + c(512), c(512), count, s.embed_dim)
        self.fuse32 = TGDF(c(512) + c(1024), c(1024), count, s.embed_dim)
        self.down16, self.down32 = ConvBlock(c(256), c(256), 3, 2), ConvBlock(c(512), c(512), 3, 2)

    def of_image(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> tuple[Tensor, ...]:
        """The trunk's maps → what all sentences share: the finest level up to its gate, and the coarser maps."""
        middle = self.merge(torch.cat([_doubled(coarse), middle], dim=1))
        return *self.fuse8.of_image(torch.cat([_doubled(middle), fine], dim=1)), middle, coarse

    def with_text(self, features: tuple[Tensor, ...], guide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `of_image` gives, and prompts [B, K, E] → the levels at strides 8, 16 and 32."""
        plain, embeddings, values, middle, coarse = features
        fine = self.fuse8.with_text(plain, embeddings, values, guide)
        middle = self.fuse16(torch.cat([self.down16(fine), middle], dim=1), guide)
        return fine, middle, self.fuse32(torch.cat([self.down32(middle), coarse], dim=1), guide)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
