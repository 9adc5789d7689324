"""Values of any type to 8 bits: as they are, or stretched linearly between two percentiles."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

PERCENTILES = (2.0, 98.0)
"""What becomes 0 and 255, unless a model declares otherwise (`ImageSpec.stretch`, whose default this is)."""


@dataclass(frozen=True)
class Stretch:
    """A linear stretch of values to 0…255: `low` and below become 0, `high` and above 255."""

    low: float
    high: float

    @classmethod
    def of(
        cls,
        values: np.ndarray,
        valid: np.ndarray | None = None,
        percentiles: tuple[float, float] = PERCENTILES,
    ) -> Stretch | None:
        """The stretch for an image of these values, None where they stay as they are.

        8-bit values stay; booleans become 0 and 255; floats within 0…1 are multiplied by 255; anything else is
        stretched between the percentiles of all bands together, with a warning, as there is for an image without any
        value.

        Args:
            values: [H, W] or [H, W, C]; a thinned-out copy will do.
            valid: bool [H, W], the pixels that count; all finite ones without it.
            percentiles: of the values that become 0 and 255, 0…100.
        """
        if values.dtype == np.uint8:
            return None
        if values.dtype == np.bool_:
            return cls(0.0, 1.0)
        counted = values if valid is None else values[valid]
        counted = counted[np.isfinite(counted)]
        if counted.size == 0:
            warnings.warn("the image holds no values: all of it is missing data", stacklevel=2)
            return cls(0.0, 1.0)
        if values.dtype.kind == "f" and counted.min() >= 0 and counted.max() <= 1:
            return cls(0.0, 1.0)
        low, high = (float(p) for p in np.percentile(counted, percentiles))
        warnings.warn(
            f"{values.dtype} image stretched to 8 bits from {low:g}…{high:g} "
            f"(percentiles {percentiles[0]:g} and {percentiles[1]:g}): pass 8-bit values to choose otherwise",
            stacklevel=2,  # the caller is ours; further up may be functools, whose warnings nobody shows
        )
        return cls(low, high)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The values stretched to uint8, in their own shape."""
        scale = np.float32(255.0 / max(self.high - self.low, 1e-12))
        scaled = (values.astype(np.float32) - np.float32(self.low)) * scale
        np.nan_to_num(scaled, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)
