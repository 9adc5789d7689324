"""CLIP's other image encoder, a modified ResNet with an attention pool, giving a map at each of its stages.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", 2021, section 2.4: a stem of
three convolutions, average pooling before every strided convolution, and attention in the place of the last pooling.
The state-dict keys are OpenAI's below ``visual.``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.encoders.clip_configuration import told_of_resnet
from rsvl.modules.encoders.clip_keys import is_clip_resnet
from rsvl.modules.encoders.published import Configuration, Told
from rsvl.modules.layers.attention import attend

CELL = 32
"""Pixels of the image along a side of a cell of the last map."""

_EXPANSION = 4
_PREFIX = "visual."


@dataclass(frozen=True)
class ResNetSizes:
    """Sizes of a CLIP's ResNet.

    Attributes:
        blocks: in each of the four stages.
        width: channels after the stem; the stages give 4, 8, 16 and 32 times as many.
        heads: of the attention pool.
        grid: side of the attention pool's grid of positions: the image that it was trained on, over 32.
    """

    blocks: tuple[int, int, int, int]
    width: int = 64
    heads: int = 32
    grid: int = 7

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels after each stage."""
        return tuple(_EXPANSION * self.width * 2**stage for stage in range(4))


RN50 = ResNetSizes((3, 4, 6, 3))
RN101 = ResNetSizes((3, 4, 23, 3))
RN50X4 = ResNetSizes((4, 6, 10, 6), width=80, heads=40)
RN50X16 = ResNetSizes((6, 8, 18, 8), width=96, heads=48)
RN50X64 = ResNetSizes((3, 15, 36, 10), width=128, heads=64)


class CLIPResNetEncoder(nn.Module):
    """CLIP's modified ResNet.

    Args:
        sizes: its sizes.
        embed_dim: width of the space shared with the text.
    """

    kind: ClassVar[str] = "a CLIP with a ResNet (RN50 or a relative of it, of OpenAI or open_clip)"

    def __init__(self, sizes: ResNetSizes, embed_dim: int) -> None:
        super().__init__()
        half = sizes.width // 2
        for number, (before, after, stride) in enumerate([(3, half, 2), (half, half, 1), (half, sizes.width, 1)], 1):
            conv = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(after))
        inputs = (sizes.width, *sizes.widths[:-1])
        for stage, (before, blocks) in enumerate(zip(inputs, sizes.blocks, strict=True)):
            layers = [Bottleneck(before, sizes.width * 2**stage, 2 if stage else 1)]
            layers += [Bottleneck(sizes.widths[stage], sizes.width * 2**stage) for _ in range(blocks - 1)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.attnpool = AttentionPool(sizes.widths[-1], sizes.heads, embed_dim, sizes.grid)
        self._start()

    def forward(self, image: Tensor) -> list[Tensor]:
        """Images float [B, 3, S, S], normalised → the maps after each stage, at a 4th to a 32nd of the side."""
        x = image
        for number in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)))
        x = F.avg_pool2d(x, 2)
        maps = []
        for number in (1, 2, 3, 4):
            x = getattr(self, f"layer{number}")(x)
            maps.append(x)
        return maps

    def embed(self, image: Tensor) -> Tensor:
        """The embeddings [B, E] of images float [B, 3, S, S], normalised pixels."""
        return self.attnpool(self(image)[-1])

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a CLIP with a ResNet; None where it is something else."""
        return resnet_part(state) if is_clip_resnet(state) else None

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """See `ConfiguredEncoder`; of open_clip's configuration."""
        return told_of_resnet(resnet_sizes(resnet_part(state)), configuration)

    def settings(self) -> dict[str, str]:
        """See `ConfiguredEncoder`: `heads` of the attention pool."""
        return {"heads": str(self.attnpool.heads)}

    def configure(self, settings: Mapping[str, str]) -> None:
        """See `ConfiguredEncoder`."""
        heads, width = int(settings.get("heads", self.attnpool.heads)), self.attnpool.k_proj.in_features
        if heads < 1 or width % heads:
            raise ValueError(f"{heads} heads for {width} channels")
        self.attnpool.heads = heads

    def _start(self) -> None:
        """Starting values for training without a checkpoint, CLIP's: a block adds nothing before it is trained."""
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)


class Bottleneck(nn.Module):
    """Three convolutions with a residual; a stride is an average pooling before the last of them.

    Args:
        channels_in: channels of the input.
        width: channels within; four times as many leave.
        stride: 1, or 2 to halve the map.
    """

    def __init__(self, channels_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        channels = _EXPANSION * width
        self.stride = stride
        self.conv1, self.bn1 = nn.Conv2d(channels_in, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.downsample = None
        if stride > 1 or channels_in != channels:
            self.downsample = nn.Sequential(nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, 4 width, H / stride, W / stride]."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self._pooled(F.relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(self._pooled(x))))

    def _pooled(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) if self.stride > 1 else x


class AttentionPool(nn.Module):
    """Multi-head attention over a map's places, which CLIP asks from their mean and CRIS from every place.

    Args:
        width: channels of the map.
        heads: number of heads.
        out: channels that it gives.
        grid: side of the grid of positions; they are interpolated to other maps.
    """

    def __init__(self, width: int, heads: int, out: int, grid: int) -> None:
        super().__init__()
        self.heads = heads
        self.grid = grid
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, width) / math.sqrt(width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """The mean's question [B, E] to a map [B, C, H, W] and to itself: CLIP's pooling."""
        places, positions = x.flatten(2).transpose(1, 2), self.positions(x.shape[-2], x.shape[-1])
        mean = places.mean(1, keepdim=True) + self.positional_embedding[:1]
        tokens = torch.cat([mean, places + positions], dim=1)
        return self._attend(tokens[:, :1], tokens)[:, 0]

    def dense(self, x: Tensor) -> Tensor:
        """Every place's question to all places: a map [B, C, H, W] → [B, E, H, W] (CRIS)."""
        tokens = x.flatten(2).transpose(1, 2) + self.positions(x.shape[-2], x.shape[-1])
        return self._attend(tokens, tokens).transpose(1, 2).unflatten(2, x.shape[-2:])

    def positions(self, height: int, width: int) -> Tensor:
        """The positions [H·W, C] of a map's places, bicubic between those of the grid (corners not aligned)."""
        positions = self.positional_embedding[1:]
        if (height, width) == (self.grid, self.grid):
            return positions
        grid = positions.T.unflatten(1, (self.grid, self.grid))[None]
        return F.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)[0].flatten(1).T

    def _attend(self, query: Tensor, tokens: Tensor) -> Tensor:
        return self.c_proj(attend(self.q_proj(query), self.k_proj(tokens), self.v_proj(tokens), self.heads))


def resnet_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image encoder's of a published CLIP's weights, in the encoder's names."""
    return {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}


def resnet_blocks(state: Mapping[str, Tensor]) -> tuple[int, ...]:
    """How many blocks each stage has, of weights in the encoder's names."""
    return tuple(len({key.split(".")[1] for key in state if key.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4))


def resnet_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sizes of a CLIP's ResNet, from its weights in the encoder's names.

    Returns:
        `image_size` in pixels, `width`, `layers` (the blocks of each stage) and `embed_dim`; nothing where weights are
        missing that tell them. How many heads its attention pool has they do not tell.
    """
    positions, shared = state.get("attnpool.positional_embedding"), state.get("attnpool.c_proj.bias")
    if positions is None or shared is None or "bn3.weight" not in state:
        return {}
    return {
        "image_size": CELL * math.isqrt(len(positions) - 1),
        "width": len(state["bn3.weight"]),
        "layers": resnet_blocks(state),
        "embed_dim": len(shared),
    }
