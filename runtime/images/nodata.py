"""Which pixels hold no data: one rule for whatever holds them.

A pixel is void where

- one of its shown bands is not a finite number;
- all of its shown bands have the value that means "no data": the one asked for (`ReadOptions.nodata`), else the file's
  own, else, in types wider than 8 bits, a usual fill value that stands apart from all others, which is a guess;
- the file's mask says so;
- its alpha is 0. An image's alpha (PNG, WebP, Pillow) is one. A raster's band that is called alpha, or an array's last
  of two or four, is only one where it looks like a mask: writers call the near infrared alpha, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

#: Values that stand for "no data" where a file forgets to say so, and the least share of the pixels that must have it.
_FILLS = {
    -9999.0: 0.0,
    -99999.0: 0.0,
    -32768.0: 0.0,
    -32767.0: 0.0,
    float(np.finfo(np.float32).min): 0.0,
    0.0: 0.005,
    65535.0: 0.005,
}
#: How far a fill value must stand from all other values, in their own spread.
_APART = 0.25
#: Of an alpha band's pixels at least so many are 0 or its largest value.
_MASKLIKE = 0.95


def void_pixels(values: np.ndarray, nodata: Sequence[float | None]) -> np.ndarray | None:
    """Which pixels are void by their values.

    Args:
        values: [h, w, C], of any real dtype.
        nodata: the value of each band that means "no data", or None.

    Returns:
        bool [h, w]; None where no pixel can be.
    """
    void = None
    if values.dtype.kind == "f":
        void = ~np.isfinite(values).all(axis=2)
    if nodata and all(value is not None for value in nodata):
        filled = np.ones(values.shape[:2], bool)
        for band, value in enumerate(nodata):
            filled &= _equals(values[:, :, band], value)
        void = filled if void is None else void | filled
    return void


def guess_fill(values: np.ndarray) -> float | None:
    """A fill value that the file does not declare.

    Args:
        values: [N, C], the shown bands of pixels that are finite and by nothing else void, of a type wider than 8 bits.

    Returns:
        None where no usual fill value stands apart from all others.
    """
    if not len(values):
        return None
    for fill, share in _FILLS.items():
        filled = _equals(values, fill).all(axis=1)
        if not filled.any() or filled.mean() < share or filled.all():
            continue
        rest = values[~filled].astype(np.float64)
        low, high = np.percentile(rest, (1, 99))
        if min(abs(rest.min() - fill), abs(rest.max() - fill)) > _APART * (high - low) and not (
            rest.min() < fill < rest.max()
        ):
            return fill
    return None


def looks_like_mask(alpha: np.ndarray) -> bool:
    """Whether an alpha band's values are nearly all 0 or the largest of them."""
    return bool(((alpha == 0) | (alpha == alpha.max())).mean() >= _MASKLIKE) if alpha.size else True


def _equals(values: np.ndarray, value: float | None) -> np.ndarray:
    """Where values are a number, as their own type can hold it."""
    assert value is not None
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values == values.dtype.type(value)
    return values == value
