"""Sizes of CLIP's two encoders: what weights tell of them, and the heads that are usual where nothing tells these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from rsvl.modules.encoders.clip import Size
from rsvl.modules.encoders.clip_keys import image_sizes, text_sizes
from rsvl.modules.encoders.clip_resnet import ResNetSizes, resnet_sizes
from rsvl.runtime.errors import CheckpointError

HEAD = 64
"""Channels of a head of most published encoders."""

_SIXTEEN_HEADS = (1280, 1408, 1664)


def sizes_of(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sizes of a CLIP that weights in the encoders' names tell, of the encoders all but heads; none or all.

    Returns:
        `image_size`, `patch` (0 of a ResNet), `tokens`, `vocabulary`, `embed_dim`, and of the encoders `vision` and
        `text` what `depth` gives.

    Raises:
        CheckpointError: feed-forward layers that rsvl's CLIP has not.
    """
    image, text = image_sizes(state) or resnet_sizes(state), text_sizes(state)
    if not image or not text:
        return {}
    for part in (image, text):
        if part.get("feed_forward", 4 * part["width"]) != 4 * part["width"]:
            raise CheckpointError(
                f"a CLIP whose layers of {part['width']} channels have {part['feed_forward']} within is not supported: "
                "give one with four times as many, as all up to ViT-H/14 have"
            )
    towers = {name: (part["width"], part["layers"]) for name, part in (("vision", image), ("text", text))}
    shared = {name: image[name] for name in ("image_size", "embed_dim")}
    others = {"patch": image.get("patch", 0), "tokens": text["tokens"], "vocabulary": text["vocabulary"]}
    return {**towers, **shared, **others}


def depth(size: Size | ResNetSizes) -> tuple[int, Any]:
    """An encoder's width and layers, of a ResNet those of each stage."""
    return (size.width, size.blocks) if isinstance(size, ResNetSizes) else size[:2]


def shared_by_heads(size: Size | ResNetSizes) -> tuple[int, int]:
    """How many channels how many heads share; of a ResNet those of its attention pool."""
    return (size.widths[-1], size.heads) if isinstance(size, ResNetSizes) else (size[0], size[2])


def usual(sizes: tuple[int, Any], own: Size | ResNetSizes) -> Size | ResNetSizes:
    """An encoder of a width and layers, as `depth` gives them, with the model's own heads, or else open_clip's."""
    width, layers = sizes
    if not isinstance(layers, tuple):
        return width, layers, _heads(width, own)
    resnet = ResNetSizes(layers, width)
    return with_heads(resnet, _heads(resnet.widths[-1], own))


def with_heads(size: Size | ResNetSizes, heads: int) -> Size | ResNetSizes:
    """An encoder of other heads."""
    return replace(size, heads=heads) if isinstance(size, ResNetSizes) else (*size[:2], heads)


def _heads(width: int, own: Size | ResNetSizes) -> int:
    """How many heads encoders of a width have: the model's own, or open_clip's, 64 wide but in ViT-H and -g; or one."""
    own_width, own_heads = shared_by_heads(own)
    if width == own_width:
        return own_heads
    return 16 if width in _SIXTEEN_HEADS else 1 if width % HEAD else width // HEAD
