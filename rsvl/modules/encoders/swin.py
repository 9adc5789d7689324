"""Swin Transformer on the modules of transformers, run one stage at a time.

The state-dict keys below ``embeddings.`` and ``stages.`` are those of transformers' ``SwinModel`` below ``embeddings.``
and ``encoder.layers.``; `rsvl.checkpoints` reads published files into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from torch import Tensor, nn
from transformers import SwinConfig
from transformers.models.swin.modeling_swin import SwinEmbeddings, SwinPatchMerging, SwinStage

from rsvl.modules.encoders.position import grid_position
from rsvl.modules.encoders.stem import ConvStem

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class SwinSizes:
    """Sizes of a Swin Transformer.

    Attributes:
        embed: channels of the first stage; each further stage has twice as many at half the side.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of the attention windows; a stage that is smaller takes its own side.
        mlp_ratio: hidden width of the feed-forward layers relative to the stage's.
        drop_path: stochastic depth of the last block, rising linearly from 0.
    """

    embed: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    mlp_ratio: float = 4.0
    drop_path: float = 0.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.embed * 2**stage for stage in range(len(self.depths)))


SWIN_B = SwinSizes(embed=128, depths=(2, 2, 18, 2), heads=(4, 8, 16, 32), window=12, drop_path=0.3)
"""Swin-B with windows of 12, as LAVT and those after it use it."""

_PATCH = 4


class SwinEncoder(nn.Module):
    """The stages of a Swin Transformer for square images of one size.

    Args:
        sizes: its sizes.
        image_size: side of the image in pixels.
        stem: replaces the single patch convolution when given; its last map must be ``sizes.embed`` wide. The tokens
            are then told their places by sines and cosines, because such an encoder learns from nothing.

    Attributes:
        sides: the side of each stage's map.
    """

    position: Tensor

    def __init__(self, sizes: SwinSizes, image_size: int, stem: ConvStem | None = None) -> None:
        super().__init__()
        patch = _PATCH if stem is None else 2 ** len(stem.stages)
        self.sides = tuple(image_size // patch // 2**stage for stage in range(len(sizes.depths)))
        self.embeddings = SwinEmbeddings(_config(sizes, sizes.window, image_size))
        self.stem = stem
        if stem is not None:
            self.embeddings.patch_embeddings = nn.Identity()  # type: ignore[assignment]
            self.register_buffer("position", _position(sizes.embed, self.sides[0]), persistent=False)
        self.stages = nn.ModuleList(_stage(sizes, index, side) for index, side in enumerate(self.sides))
        self.apply(_initialise)

    def embed(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Embeds the patches of images float [B, 3, S, S].

        Returns:
            Tokens [B, N, C], and the stem's maps before the last (empty without a stem).
        """
        if self.stem is None:
            return self._tokens(self.embeddings.patch_embeddings.projection(image)), []
        maps = self.stem(image)
        return self._tokens(maps[-1]) + self.position, maps[:-1]

    def stage(self, index: int, x: Tensor) -> Tensor:
        """Runs stage `index`, counted from 0: merges the stage before's patches (from 1 on), then its blocks.

        Args:
            index: the stage.
            x: the patch embeddings [B, N, C] for stage 0, else the tokens of the stage before [B, 4·N, C / 2].

        Returns:
            [B, N, C].
        """
        stages = cast(Sequence[Any], self.stages)  # transformers' own modules, which do not tell what they hold
        if index:
            before = self.sides[index - 1]
            x = stages[index - 1].downsample(x, (before, before))
        side = self.sides[index]
        for block in stages[index].blocks:
            x, _ = block(x, (side, side), always_partition=True)
        return x

    def map(self, index: int, tokens: Tensor) -> Tensor:
        """A stage's tokens [B, N, C] as a map [B, C, H, W]."""
        return tokens.transpose(1, 2).unflatten(2, (self.sides[index], self.sides[index]))

    def _tokens(self, patches: Tensor) -> Tensor:
        return self.embeddings.norm(patches.flatten(2).transpose(1, 2))


def _config(sizes: SwinSizes, window: int, image_size: int) -> SwinConfig:
    config = SwinConfig(
        image_size=image_size,
        patch_size=_PATCH,
        embed_dim=sizes.embed,
        depths=list(sizes.depths),
        num_heads=list(sizes.heads),
        window_size=window,
        mlp_ratio=sizes.mlp_ratio,
        drop_path_rate=sizes.drop_path,
    )
    config._attn_implementation = "sdpa"
    return config


def _stage(sizes: SwinSizes, index: int, side: int) -> SwinStage:
    first, count = sum(sizes.depths[:index]), sum(sizes.depths)
    stage = SwinStage(
        config=_config(sizes, min(sizes.window, side), side),
        dim=sizes.widths[index],
        input_resolution=(side, side),
        depth=sizes.depths[index],
        num_heads=sizes.heads[index],
        drop_path=[sizes.drop_path * (first + block) / max(1, count - 1) for block in range(sizes.depths[index])],
        downsample=SwinPatchMerging if index < len(sizes.depths) - 1 else None,
    )
    for block in cast(Sequence[Any], stage.blocks):
        block.set_shift_and_window_size((side, side))  # here once; in the forward pass it would be a branch
    return stage


def _position(width: int, side: int) -> Tensor:
    return grid_position(width, side).flatten(1).T.contiguous() / 2


def _initialise(module: nn.Module) -> None:
    """Linear layers as Swin starts them: a normal distribution of width 0.02, no bias."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
