"""LWGANet's encoder: blocks whose channels are split among four ranges of interaction.

"LWGANet: A Lightweight Group Attention Backbone for Remote Sensing Visual Tasks", arXiv 2501.10040 (AAAI 2026). A stem
of one convolution, four stages at strides 4, 8, 16 and 32, and between them a down-sampler. In a block the channels
fall into four groups in order: point, local, medium-range and global interaction.

Two of its parts are computed otherwise than in the released code, with the same results, so that every runtime
takes them. The four strips of the medium range, two of them on sheared maps, are one 13×13 kernel per channel, for maps
of any proportions; an export folds its weights into one. And what was pooled returns to its place by comparing the map
with its maxima, where the released code asks the pooling for indices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count, pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.key_rules import Rules, renamed

_LONG, _SHORT, _KERNEL = 11, 3, 13  # a strip's taps, and the side of the kernel that holds all four


@dataclass(frozen=True)
class LWGANetSizes:
    """Sizes of an LWGANet.

    Attributes:
        width: channels of the first stage, a multiple of 8; each further stage has twice as many at half the side.
        blocks: of each of the four stages.
        relu: whether activations are ReLU; GELU otherwise.
        drop_path: stochastic depth of the last block, rising linearly from 0.
        patch: pixels of a side that the stem makes one place.
    """

    width: int
    blocks: tuple[int, int, int, int]
    relu: bool = False
    drop_path: float = 0.0
    patch: int = 4

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage."""
        return tuple(self.width * 2**stage for stage in range(len(self.blocks)))

    @property
    def strides(self) -> tuple[int, ...]:
        """Pixels per place of each stage's map."""
        return tuple(self.patch * 2**stage for stage in range(len(self.blocks)))

    def act(self) -> nn.Module:
        """A new activation."""
        return nn.ReLU() if self.relu else nn.GELU()


L0 = LWGANetSizes(32, (1, 2, 4, 2))
L1 = LWGANetSizes(64, (1, 2, 4, 2), drop_path=0.1)
L2 = LWGANetSizes(96, (1, 4, 4, 2), relu=True, drop_path=0.1)


class LWGANetEncoder(nn.Module):
    """The stem and the stages.

    Args:
        sizes: its sizes.
    """

    kind: ClassVar[str] = "an LWGANet of its authors"

    def __init__(self, sizes: LWGANetSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.stem = nn.Sequential(
            nn.Conv2d(3, sizes.width, sizes.patch, sizes.patch, bias=False), nn.BatchNorm2d(sizes.width)
        )
        last = max(sum(sizes.blocks) - 1, 1)
        drops = (sizes.drop_path * index / last for index in count())
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(sizes, stage, next(drops)) for _ in range(blocks)))
            for stage, blocks in enumerate(sizes.blocks)
        )
        self.downs = nn.ModuleList(DownSampler(sizes, width) for width, _ in pairwise(sizes.widths))

    def forward(self, image: Tensor) -> list[Tensor]:
        """The stages' maps.

        Args:
            image: normalised, float [B, 3, H, W]; H and W are multiples of 8 times the patch, and at least 24 times it
                unless only the classes of a small image matter.

        Returns:
            [B, C, H / s, W / s] for the sizes' widths C and strides s.
        """
        x = self.stem(image)
        maps = [self.stages[0](x)]
        for down, stage in zip(self.downs, list(self.stages)[1:], strict=True):
            maps.append(stage(down(maps[-1])))
        return maps

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a checkpoint of the authors' or of an encoder like this; None for any other."""
        if is_lwganet(state):
            own = (key for key in state if key.startswith(("Stem.", "stages.")))
            found = {renamed(key, _RENAMES): state[key] for key in own if not key.endswith(_CONSTANT)}
            return {key: value[..., None, None] if _LINEAR.search(key) else value for key, value in found.items()}
        return dict(state) if "stages.0.0.medium.vertical_sheared" in state else None


class Block(nn.Module):
    """Four groups of channels, each by its own range, and an MLP over all: [B, C, H, W] → the same."""

    def __init__(self, sizes: LWGANetSizes, stage: int, drop: float) -> None:
        super().__init__()
        width = sizes.widths[stage]
        group = width // 4
        self.point = nn.Sequential(
            nn.Conv2d(group, width, 1, bias=False),
            nn.BatchNorm2d(width),
            sizes.act(),
            nn.Conv2d(width, group, 1, bias=False),
            nn.Sigmoid(),
        )
        self.local = nn.Sequential(
            nn.Conv2d(group, group, 3, padding=1, bias=False), nn.BatchNorm2d(group), sizes.act()
        )
        self.medium = MediumRange(group)
        self.globe: nn.Module = (
            SparseKernels(group, sizes.act())
            if stage < 2
            else SparseAttention(group)
            if stage < 3
            else Attention(group)
        )
        self.mlp = nn.Sequential(
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            sizes.act(),
            nn.Conv2d(2 * width, width, 1, bias=False),
        )
        self.norm = nn.BatchNorm2d(width)
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        """Adds what the groups tell each other."""
        point, local, medium, globe = x.chunk(4, 1)
        groups = (point * (1 + self.point(point)), self.local(local), self.medium(medium), self.globe(globe))
        return x + self._dropped(self.norm(self.mlp(torch.cat(groups, 1))))

    def _dropped(self, x: Tensor) -> Tensor:
        """Stochastic depth: in training some samples skip the block."""
        if not self.training or self.drop == 0:
            return x
        keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
        return x * keep / (1 - self.drop)


class MediumRange(nn.Module):
    """Gates a group by strips of 11×3 taps, along both axes and both diagonals, on a blurred map of a third the side.

    [B, C, H, W] → the same.
    """

    blur: Tensor
    diagonal: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        tall, wide = (channels, 1, _LONG, _SHORT), (channels, 1, _SHORT, _LONG)
        self.vertical, self.vertical_sheared = (nn.Parameter(torch.empty(tall)) for _ in range(2))
        self.horizontal, self.horizontal_sheared = (nn.Parameter(torch.empty(wide)) for _ in range(2))
        self.norm = nn.BatchNorm2d(channels)
        binomial = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer(
            "blur", torch.outer(binomial, binomial).expand(channels, 1, 4, 4).clone(), persistent=False
        )
        self.register_buffer("diagonal", _diagonal(), persistent=False)
        for parameter in (self.vertical, self.vertical_sheared, self.horizontal, self.horizontal_sheared):
            nn.init.kaiming_uniform_(parameter, a=5**0.5)  # as PyTorch starts convolutions

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        blurred = F.pad(F.max_pool2d(x, 3, 1, 1), (1, 2, 1, 2), mode="reflect")
        blurred = F.conv2d(blurred, self.blur, stride=3, groups=x.shape[1])
        strips = F.conv2d(blurred, self.kernel(), padding=_KERNEL // 2, groups=x.shape[1])
        return x * F.interpolate(self.norm(strips).sigmoid(), size=x.shape[2:], mode="nearest")

    def kernel(self) -> Tensor:
        """All four strips as one kernel [C, 1, 13, 13].

        A sheared map moves row i to the right by i, so that the strip's tap (p, r) reads x[i + p, j + r - p]; the other
        shears the transposed map.
        """
        sheared = self.vertical_sheared.flatten(2) @ self.diagonal
        across = self.horizontal_sheared.transpose(2, 3).flatten(2) @ self.diagonal
        square = (*self.vertical.shape[:2], _KERNEL, _KERNEL)
        along = (_KERNEL - _LONG) // 2, (_KERNEL - _SHORT) // 2
        return (
            F.pad(self.vertical, (along[1], along[1], along[0], along[0]))
            + F.pad(self.horizontal, (along[0], along[0], along[1], along[1]))
            + sheared.reshape(square)
            + across.reshape(square).transpose(2, 3)
        )


def _diagonal() -> Tensor:
    """Where the taps (p, r) of a sheared 11×3 strip lie in the 13×13 kernel: [33, 169] of zeros and ones."""
    middle = _KERNEL // 2
    places = torch.zeros(_LONG, _SHORT, _KERNEL, _KERNEL)
    for p in range(_LONG):
        for r in range(_SHORT):
            row, column = p - _LONG // 2, r - _SHORT // 2
            places[p, r, middle + row, middle + column - row] = 1
    return places.flatten(2).flatten(0, 1)


def maxima(x: Tensor) -> tuple[Tensor, Tensor]:
    """The maxima of 2×2 windows, and where they lie.

    Args:
        x: [B, C, 2·H, 2·W].

    Returns:
        The maxima [B, C, H, W], and bool [B, C, 2·H, 2·W], true at one place of each window, that which holds its
        maximum; of several the first, row by row.
    """
    pooled = F.max_pool2d(x, 2)
    ranks = x.new_tensor([[4.0, 3.0], [2.0, 1.0]]).repeat(x.shape[2] // 2, x.shape[3] // 2)
    rank = (x == _repeated(pooled)) * ranks  # zero where the maximum is not
    return pooled, rank == _repeated(F.max_pool2d(rank, 2))


def unpool(x: Tensor, places: Tensor) -> Tensor:
    """Puts values [B, C, H, W] where `maxima` found theirs, zeros elsewhere: [B, C, 2·H, 2·W]."""
    return torch.where(places, _repeated(x), 0.0)


def _repeated(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="nearest")


class SparseKernels(nn.Module):
    """Global interaction of the first two stages: large kernels on each window's maximum, which return to its place."""

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__()
        half = channels // 2
        self.before = nn.Sequential(nn.Conv2d(channels, channels, 1), act)
        self.near = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.far = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.near_half, self.far_half = nn.Conv2d(channels, half, 1), nn.Conv2d(channels, half, 1)
        self.select = nn.Conv2d(2, 2, 7, padding=3)
        self.weigh = nn.Conv2d(half, channels, 1)
        self.after = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same."""
        pooled, places = maxima(x)
        return self.norm(x + unpool(self._interact(pooled), places))

    def _interact(self, x: Tensor) -> Tensor:
        value = self.before(x)
        near = self.near(value)
        far = self.far(near)
        near, far = self.near_half(near), self.far_half(far)
        both = torch.cat((near, far), 1)
        chosen = self.select(torch.cat((both.mean(1, keepdim=True), both.amax(1, keepdim=True)), 1)).sigmoid()
        mixed = near * chosen[:, :1] + far * chosen[:, 1:]
        return self.after(value * self.weigh(mixed))


class SelfAttention(nn.Module):
    """Attention between all places with heads of 4 channels, without positions: [B, C, H, W] → the same."""

    head = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query_key_value = nn.Conv2d(channels, 3 * channels, 1, bias=False)
        self.out = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        mixed = self.query_key_value(x).flatten(2).unflatten(1, (3, -1, self.head))  # [B, 3, heads, 4, N]
        query, key, value = mixed.unbind(1)
        scores = (query * self.head**-0.5).transpose(2, 3) @ key
        read = value @ scores.softmax(-1).transpose(2, 3)
        return self.out(read.flatten(1, 2).unflatten(2, x.shape[2:]))


class SparseAttention(nn.Module):
    """Global interaction of the third stage: attention between each window's maximum, which returns to its place."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = SelfAttention(channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same."""
        pooled, places = maxima(x)
        return x + unpool(self.norm(self.attention(pooled)), places)


class Attention(nn.Module):
    """Global interaction of the last stage: attention between all places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = SelfAttention(channels)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → the same."""
        return self.norm(x + self.attention(x))


class DownSampler(nn.Module):
    """A strided convolution beside a max pool: [B, C, H, W] → [B, 2·C, H / 2, W / 2]."""

    def __init__(self, sizes: LWGANetSizes, width: int) -> None:
        super().__init__()
        wide = 2 * width
        self.expand = nn.Conv2d(width, wide, 3, padding=1, groups=width)
        self.shrink = nn.Sequential(nn.Conv2d(wide, wide, 3, 2, 1, groups=wide), sizes.act(), nn.BatchNorm2d(wide))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.BatchNorm2d(wide))
        self.fuse = nn.Conv2d(2 * wide, wide, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = self.expand(x)
        return self.fuse(torch.cat((self.shrink(x), self.pool(x)), 1))


_CONSTANT = ".max_m2.filt"  # the blur
_LINEAR = re.compile(r"\.attention\.(query_key_value|out)\.weight$")
_RENAMES: Rules = (
    (r"^Stem\.proj\.", "stem.0."),
    (r"^Stem\.norm\.", "stem.1."),
    (r"^stages\.([135])\.", lambda found: f"downs.{int(found[1]) // 2}."),
    (r"^stages\.([0246])\.blocks\.", lambda found: f"stages.{int(found[1]) // 2}."),
    (r"^(downs\.\d)\.conv\.", r"\1.expand."),
    (r"^(downs\.\d)\.conv_c\.", r"\1.shrink.0."),
    (r"^(downs\.\d)\.norm_c\.", r"\1.shrink.2."),
    (r"^(downs\.\d)\.norm_m\.", r"\1.pool.1."),
    (r"^(downs\.\d)\.fusion\.", r"\1.fuse."),
    (r"\.PA\.p_conv\.", ".point."),
    (r"\.LA\.conv\.", ".local."),
    (r"\.MRA\.H_att1\.weight", ".medium.vertical"),
    (r"\.MRA\.V_att1\.weight", ".medium.horizontal"),
    (r"\.MRA\.H_att2\.weight", ".medium.vertical_sheared"),
    (r"\.MRA\.V_att2\.weight", ".medium.horizontal_sheared"),
    (r"\.MRA\.norm\.", ".medium.norm."),
    (r"\.GA12\.proj_1\.", ".globe.before.0."),
    (r"\.GA12\.conv0\.", ".globe.near."),
    (r"\.GA12\.conv_spatial\.", ".globe.far."),
    (r"\.GA12\.conv1\.", ".globe.near_half."),
    (r"\.GA12\.conv2\.", ".globe.far_half."),
    (r"\.GA12\.conv_squeeze\.", ".globe.select."),
    (r"\.GA12\.conv\.", ".globe.weigh."),
    (r"\.GA12\.proj_2\.", ".globe.after."),
    (r"\.GA3\.norm\.", ".globe.norm."),
    (r"\.GA(?:3\.attn|4)\.qkv\.", ".globe.attention.query_key_value."),
    (r"\.GA(?:3\.attn|4)\.proj\.", ".globe.attention.out."),
    (r"^(stages\.\d\.\d+)\.norm\.", r"\1.globe.norm."),
    (r"^(stages\.\d\.\d+)\.norm1\.", r"\1.norm."),
)


def is_lwganet(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint is the authors', for classification, by the names of its entries."""
    return "Stem.proj.weight" in state and any(re.search(r"\.MRA\.H_att2\.", key) for key in state)
