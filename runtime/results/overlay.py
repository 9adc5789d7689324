"""Overlays: the image with coloured masks, outlines, boxes, and the sentences."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from rsvl.runtime.results.base import SpatialResult

#: One colour per sentence, distinguishable for the colour-blind too (Okabe and Ito's palette, the bright ones).
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (213, 94, 0), (204, 121, 167))
#: A smaller image is enlarged by a whole factor, so that there is room for lines and captions.
_MIN_SIDE = 256
_OPACITY = 0.45
_CAPTION_LINES = 2


def draw(results: Sequence[SpatialResult], side: int = 2048) -> Image.Image:
    """Draws the results of one image over it.

    Args:
        results: at least one, all of the same image.
        side: longest side of the overlay in pixels; a larger image is thinned out. One below 256 pixels is enlarged.

    Returns:
        An RGB image of the same proportions, with one caption per sentence below it.
    """
    pixels = results[0].thumbnail(side)
    factor = math.ceil(min(_MIN_SIDE, side) / max(pixels.shape[:2]))
    pixels = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    height, width = pixels.shape[:2]
    scale = width / results[0].size[1], height / results[0].size[0]
    stroke = max(1, round(max(width, height) / 400))
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(results))]
    for result, colour in zip(results, colours, strict=True):
        mask = result.thinned_mask(height, width)
        if mask is not None:
            _tint(pixels, mask, colour, stroke)
    drawn = Image.fromarray(pixels)
    pen = ImageDraw.Draw(drawn)
    for result, colour in zip(results, colours, strict=True):
        for outline in result.outlines:
            corners = outline * scale
            pen.line([*map(tuple, corners), tuple(corners[0])], fill=colour, width=stroke, joint="curve")
    return _with_captions(drawn, results, colours)


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
    drawn: Image.Image, results: Sequence[SpatialResult], colours: Sequence[tuple[int, int, int]]
) -> Image.Image:
    size = int(np.clip(drawn.width / 40, 11, 40))
    font = ImageFont.load_default(size)
    margin, line = size // 2, round(size * 1.35)
    room = max(8, int((drawn.width - 3 * margin - size) / (size * 0.55)))  # characters in a line, about
    captions = [_caption(result, room) for result in results]
    extra = margin * 2 + line * sum(len(lines) for lines in captions)
    framed = Image.new("RGB", (drawn.width, drawn.height + extra), (24, 24, 24))
    framed.paste(drawn)
    pen, y = ImageDraw.Draw(framed), drawn.height + margin
    for lines, colour in zip(captions, colours, strict=True):
        pen.rectangle((margin, y + size * 0.15, margin + size * 0.8, y + size * 0.95), fill=colour)
        for text in lines:
            pen.text((margin * 2 + size, y), text, font=font, fill=(240, 240, 240))
            y += line
    return framed


def _caption(result: SpatialResult, room: int) -> list[str]:
    score = f"{result.score:.2f}" if result.found else "not found"
    text = f"{score}  {result.text}"
    return textwrap.wrap(text, room, max_lines=_CAPTION_LINES, placeholder=" …") or [text[:room]]
