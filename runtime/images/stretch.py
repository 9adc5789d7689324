"""Values of any type to 8 bits: one rule for whatever holds them.

First match first:

1. What is asked for (`StretchOption`).
2. Booleans, and integers of fewer than 8 bits, by their whole range; 8-bit values as they are.
3. Wider types that hold an 8-bit image, as it was: whole numbers up to 255, 16-bit numbers that are 257 times such
   numbers, floats that are such numbers over 255.
4. Linear power of a SAR (floats that are not negative), in decibels between two percentiles. So calibrated power, its
   amplitude and its decibels give the same image.
5. Anything else linearly between two percentiles of all shown bands together, which keeps the balance of the colours.

Rules 3 to 5 are guesses, and are told. Void pixels count in none of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rsvl.runtime.images.options import StretchOption

PERCENTILES = (2.0, 98.0)
"""What becomes 0 and 255, unless a model declares otherwise (`ImageSpec.stretch`, whose default this is)."""

#: The share of the values that must agree for a guess about all of them: a few odd pixels change nothing.
_ALMOST_ALL = 0.999
#: A SAR's power in a linear unit has no negative values; noise that was subtracted leaves a few.
_MOST_NEGATIVE = 0.01
#: Values whose spread from the 1st to the 99th percentile is less than this, of 255, are next to one.
_ONE_COLOUR = 8


@dataclass(frozen=True)
class Stretch:
    """A linear stretch of values to 0…255: `low` and below become 0, `high` and above 255. `high` may be the lesser.

    Attributes:
        low: what becomes 0.
        high: what becomes 255.
        decibels: whether 10·log10 of the values is stretched.
        how: what it is, for people.
        guessed: whether it was found from the values and not from what the file or the user says.
    """

    low: float
    high: float
    decibels: bool = False
    how: str = "8-bit values"
    guessed: bool = False

    def inverted(self) -> Stretch:
        """The same for values whose lowest is white."""
        return Stretch(self.high, self.low, self.decibels, self.how, self.guessed)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The values stretched to uint8, in their own shape; values that are not finite become 0."""
        if values.dtype == np.uint8 and (self.low, self.high, self.decibels) == (0.0, 255.0, False):
            return values
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            scaled = _decibels(values) if self.decibels else values.astype(np.float32)
            finite = np.isfinite(scaled)
            scaled -= np.float32(self.low)
            scaled *= np.float32(255 / (self.high - self.low))
        scaled[~finite] = 0
        return np.rint(np.clip(scaled, 0, 255, out=scaled), out=scaled).astype(np.uint8)


def find_stretch(
    values: np.ndarray,
    bits: int,
    *,
    sar: bool = False,
    asked: StretchOption | None = None,
    percentiles: tuple[float, float] = PERCENTILES,
) -> Stretch:
    """The stretch for an image, by the module's rule.

    Args:
        values: its values, those of void pixels left out; a thinned-out copy will do. Of any real dtype.
        bits: how many bits of an integer are used.
        sar: whether it is a SAR's.
        asked: what the user asked for.
        percentiles: of the values that become 0 and 255, 0…100.
    """
    kind = str(values.dtype)
    asked = asked or StretchOption()
    if asked.limits:
        unit = " dB" if asked.decibels else ""
        return _told(*asked.limits, f"{_number(asked.limits[0])}…{_number(asked.limits[1])}{unit} as asked", asked)
    if asked.off:
        return Stretch(*_range(values.dtype, bits), how=f"the whole range of {kind} as asked")
    chosen = asked.percentiles is not None or asked.decibels is not None
    if not chosen and values.dtype.kind in "bu" and bits <= 8:
        return Stretch(*_range(values.dtype, bits), how=f"{bits}-bit values")
    counted = values[np.isfinite(values)]
    white = 0 if chosen else _white_of_8_bits(counted)
    if white:
        return Stretch(0.0, white, how=f"{kind} that holds 8-bit values, 0…{_number(white)}", guessed=True)
    decibels = asked.decibels if asked.decibels is not None else sar and _is_linear_power(counted)
    if decibels:
        counted = _decibels(counted[counted > 0])
    low, high = _limits(counted, asked.percentiles or percentiles)
    first, last = asked.percentiles or percentiles
    how = f"{kind}{' in decibels' if decibels else ''} stretched to 8 bits from {_number(low)}…{_number(high)}"
    how += f" (percentiles {first:g} and {last:g})"
    return Stretch(low, high, decibels, how, guessed=asked.percentiles is None)


def nearly_one_colour(rgb: np.ndarray) -> str:
    """What is said of an image that is next to one colour; empty for any other.

    Args:
        rgb: uint8 [N, 3], its pixels; a sample will do.
    """
    if len(rgb) < 2:
        return ""
    low, high = np.percentile(rgb, (1, 99), axis=0)
    if (spread := (high - low).max()) >= _ONE_COLOUR:
        return ""
    return (
        f"nearly one colour, {' '.join(f'{value:.0f}' for value in np.median(rgb, axis=0))} ± {spread / 2:.0f} of 255"
    )


def _told(low: float, high: float, how: str, asked: StretchOption) -> Stretch:
    return Stretch(low, high, bool(asked.decibels), how)


def _range(dtype: np.dtype, bits: int) -> tuple[float, float]:
    """The least and the largest value of a type."""
    if dtype.kind == "i":
        return float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
    return 0.0, float(2**bits - 1) if dtype.kind == "u" else 1.0


def _white_of_8_bits(values: np.ndarray) -> float:
    """What stands for white where the values are an 8-bit image in a wider type; 0 where they are not."""
    if not values.size:
        return 0.0
    tolerance = 0.13 if values.dtype == np.float16 else 1e-3
    for white in (255.0, 65535.0) if values.dtype.kind in "ui" else (255.0, 1.0):
        scaled = values.astype(np.float64) * (255 / white)
        whole = (np.abs(scaled - np.rint(scaled)) <= tolerance) & (scaled >= 0) & (scaled <= 255 + tolerance)
        if whole.mean() >= _ALMOST_ALL and scaled[whole].max() >= 128:
            return white
    return 0.0


def _is_linear_power(values: np.ndarray) -> bool:
    return values.dtype.kind == "f" and values.size > 0 and float((values < 0).mean()) <= _MOST_NEGATIVE


def _limits(values: np.ndarray, percentiles: tuple[float, float]) -> tuple[float, float]:
    """The percentiles; the extremes where these are one value; about that value where all are the same."""
    if not values.size:
        return 0.0, 1.0
    low, high = (float(p) for p in np.percentile(values, percentiles))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 1, low + 1)


def _decibels(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return 10 * np.log10(values.astype(np.float32))


def _number(value: float) -> str:
    return f"{value:.6g}"
