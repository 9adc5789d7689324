"""Arrays of any type and number of channels as 8-bit RGB; `rsvl.runtime.images.reading` says by which rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.bands import choose_bands
from rsvl.runtime.images.stretch import PERCENTILES, Stretch


def to_rgb(
    values: np.ndarray,
    stretch: Stretch | None = None,
    bands: Sequence[str | int] = (),
    percentiles: tuple[float, float] = PERCENTILES,
) -> np.ndarray:
    """Makes an array 8-bit RGB by the rules of `rsvl.runtime.images.reading`.

    Args:
        values: [H, W] or [H, W, C], of any real dtype.
        stretch: how values become 8-bit; found from the values themselves when not given.
        bands: which channels to show, as in `rsvl.runtime.images.bands`.
        percentiles: between which to stretch what is not 8-bit.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: another number of dimensions, channels to choose from, no pixels, or not numbers.
    """
    if values.dtype.kind not in "buif":
        raise InputError(f"an image must hold numbers, not {values.dtype}")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise InputError(f"an image is [H, W] or [H, W, C] with at least one pixel, not {list(values.shape)}")
    cube = values[:, :, None] if values.ndim == 2 else values
    chosen = [number - 1 for number in choose_bands(cube.shape[2], bands, source="the array")]
    first = chosen[0]
    # Neighbouring channels are a view; anything else is a copy.
    planes = (
        cube[:, :, first : first + len(chosen)] if chosen == [*range(first, first + len(chosen))] else cube[..., chosen]
    )
    if planes.dtype != np.uint8:
        stretch = stretch or Stretch.of(planes, percentiles=percentiles)
        assert stretch is not None
        planes = stretch.apply(planes)
    return np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes
