"""Pictures of segmentations: the image with coloured masks, outlines, boxes, and what was asked for."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from rsvl.runtime.result import Segmentation

#: One colour a sentence, told apart also by the colour-blind (Okabe and Ito's palette, the bright ones).
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
_OPACITY = 0.45
_CAPTION_LINES = 2


def draw(segmentations: Sequence[Segmentation], side: int = 2048) -> Image.Image:
    """Draws the segmentations of one image over it.

    Args:
        segmentations: at least one, all of the same image.
        side: longest side of the picture in pixels; a larger image is thinned out.

    Returns:
        An RGB picture of the image's proportions, with a caption line a sentence below it.
    """
    pixels = segmentations[0].thumbnail(side).copy()
    height, width = pixels.shape[:2]
    scale = width / segmentations[0].mask.shape[1], height / segmentations[0].mask.shape[0]
    stroke = max(1, round(max(width, height) / 400))
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(segmentations))]
    for segmentation, colour in zip(segmentations, colours, strict=True):
        _tint(pixels, _thinned(segmentation.mask, height, width), colour, stroke)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for segmentation, colour in zip(segmentations, colours, strict=True):
        if segmentation.oriented_box is not None:
            corners = segmentation.oriented_box.corners * scale
            pen.line([*map(tuple, corners), tuple(corners[0])], fill=colour, width=stroke, joint="curve")
    return _with_captions(picture, segmentations, colours)


def _thinned(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    if mask.shape == (height, width):
        return mask
    return np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))


def _tint(pixels: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], stroke: int) -> None:
    """Blends the colour into the mask and draws its outline, in place."""
    paint = np.array(colour, np.float32)
    pixels[mask] = (pixels[mask] * (1 - _OPACITY) + paint * _OPACITY).astype(np.uint8)
    inner = mask
    for _ in range(stroke):
        inner = _eroded(inner)
    pixels[mask & ~inner] = colour


def _eroded(mask: np.ndarray) -> np.ndarray:
    padded = np.pad(mask, 1, constant_values=False)
    return mask & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _with_captions(
    picture: Image.Image, segmentations: Sequence[Segmentation], colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    size = int(np.clip(picture.width / 40, 11, 40))
    font = ImageFont.load_default(size)
    margin, line = size // 2, round(size * 1.35)
    room = max(8, int((picture.width - 3 * margin - size) / (size * 0.55)))  # characters in a line, about
    captions = [_caption(segmentation, room) for segmentation in segmentations]
    extra = margin * 2 + line * sum(len(lines) for lines in captions)
    framed = Image.new("RGB", (picture.width, picture.height + extra), (24, 24, 24))
    framed.paste(picture)
    pen, y = ImageDraw.Draw(framed), picture.height + margin
    for lines, colour in zip(captions, colours, strict=True):
        pen.rectangle((margin, y + size * 0.15, margin + size * 0.8, y + size * 0.95), fill=colour)
        for text in lines:
            pen.text((margin * 2 + size, y), text, font=font, fill=(240, 240, 240))
            y += line
    return framed


def _caption(segmentation: Segmentation, room: int) -> list[str]:
    said = f"{segmentation.score:.2f}" if segmentation.found else "not found"
    text = f"{said}  {segmentation.text}"
    return textwrap.wrap(text, room, max_lines=_CAPTION_LINES, placeholder=" …") or [text[:room]]
