"""Ways of varying overhead images that leave their scene class as it is.

There is no up or down in an image from above, so all eight symmetries of the square are equally likely; a scene goes on
beyond the image's edge; light and haze change brightness and colours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 0.1
"""The largest shift, as a part of the side."""

GAIN, OFFSET = 0.15, 0.15
"""Standard deviations: of the contrast's factor, and of each channel's offset in standard deviations of the data."""


def symmetries(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image by one of the eight turns and reflections of the square, float [B, C, S, S]."""
    chosen = torch.randint(8, (len(images),), generator=generator)
    varied = torch.empty_like(images)
    for symmetry in range(8):
        rows = torch.nonzero(chosen == symmetry)[:, 0]
        turned = torch.rot90(images[rows], symmetry % 4, (2, 3))
        varied[rows] = turned.flip(3) if symmetry >= 4 else turned
    return varied


def shift(images: Tensor, generator: torch.Generator) -> Tensor:
    """All images moved by the same number of pixels along each axis; what is beyond the edge is reflected."""
    side = images.shape[-1]
    most = max(1, round(SHIFT * side))
    down, right = torch.randint(2 * most + 1, (2,), generator=generator).tolist()
    return F.pad(images, [most] * 4, mode="reflect")[:, :, down : down + side, right : right + side]


def colour(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image with another contrast, and another brightness in each channel."""
    count, channels = images.shape[:2]
    gain = 1 + GAIN * torch.randn(count, 1, 1, 1, generator=generator)
    offset = OFFSET * torch.randn(count, channels, 1, 1, generator=generator)
    return images * gain + offset


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Varies normalised images float [B, C, S, S] in all of these ways."""
    for vary in (symmetries, shift, colour):
        images = vary(images, generator)
    return images
