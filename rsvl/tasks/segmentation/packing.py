"""Masks as short text, to be kept by the thousand and compared later."""

from __future__ import annotations

import base64
import binascii
import zlib

import numpy as np

from rsvl.runtime.errors import InputError

_LARGEST = 1 << 32
"""Pixels of the largest mask that is unpacked."""


def pack(mask: np.ndarray) -> str:
    """A mask, bool [H, W], as ``HxW:`` and its bits, compressed, in base 64."""
    bits = zlib.compress(np.packbits(mask).tobytes())
    return f"{mask.shape[0]}x{mask.shape[1]}:{base64.b64encode(bits).decode()}"


def unpack(text: str) -> np.ndarray:
    """The mask, bool [H, W].

    Raises:
        InputError: not what `pack` gives.
    """
    try:
        size, _, data = text.partition(":")
        height, width = (int(side) for side in size.split("x"))
        if not 0 < height * width <= _LARGEST:
            raise ValueError("its size")
        needed = -(-height * width // 8)
        bits = zlib.decompressobj().decompress(base64.b64decode(data, validate=True), needed)
        if len(bits) < needed:
            raise ValueError("its end is missing")
        return np.unpackbits(np.frombuffer(bits, np.uint8), count=height * width).reshape(height, width).astype(bool)
    except (ValueError, AttributeError, zlib.error, binascii.Error) as error:
        raise InputError(f"a recorded mask is damaged ({error}): record it again") from error


def mask_iou(one: str, other: str) -> float:
    """Intersection over union of two packed masks; 1 where both are empty, 0 for different sizes."""
    if one == other:
        return 1.0
    a, b = unpack(one), unpack(other)
    if a.shape != b.shape:
        return 0.0
    either = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / either) if either else 1.0
