"""How an image is to be read, where the usual guesses do not fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rsvl.runtime.errors import UsageError


@dataclass(frozen=True)
class StretchOption:
    """How values become 8 bits, as `rsvl run --stretch` takes it.

    Attributes:
        limits: the values that become 0 and 255.
        percentiles: the percentiles of the values that do, where there are no limits.
        decibels: whether the values are turned into decibels first; None lets the sensor decide.
        off: the whole range of the type becomes 0…255 (0…1 of floats).
    """

    limits: tuple[float, float] | None = None
    percentiles: tuple[float, float] | None = None
    decibels: bool | None = None
    off: bool = False

    @classmethod
    def parse(cls, text: str) -> StretchOption:
        """From ``LO,HI``, ``PERCENT``, ``none``, or ``db``, ``db:LO,HI``, ``db:PERCENT``.

        Raises:
            UsageError: anything else.
        """
        word = text.strip().lower()
        if word == "none":
            return cls(off=True)
        decibels, numbers = word == "db" or word.startswith("db:"), word.removeprefix("db").removeprefix(":")
        try:
            values = [float(number) for number in numbers.split(",")] if numbers else []
        except ValueError:
            values = [math.nan]
        if len(values) == 2 and math.isfinite(values[0]) and math.isfinite(values[1]) and values[0] < values[1]:
            return cls(limits=(values[0], values[1]), decibels=decibels)
        if len(values) == 1 and 0 <= values[0] < 50:
            return cls(percentiles=(values[0], 100 - values[0]), decibels=decibels)
        if decibels and not values:
            return cls(decibels=True)
        raise UsageError(
            f"a stretch is LO,HI (two values), PERCENT (0 to 50), none, or db, db:LO,HI, db:PERCENT, not {text!r}"
        )


@dataclass(frozen=True)
class ReadOptions:
    """How an image is to be read. What is not given is taken from the file, else guessed, and what is guessed is told.

    Attributes:
        bands: which bands to show, three, or one as gray, by number from 1 or by name (`rsvl.runtime.images.bands`).
        stretch: how values become 8 bits (`rsvl.runtime.images.stretch`).
        nodata: the value that means "no data", instead of the file's own; ``"none"``: no value does.
        crs: the coordinate system of an image that has a transform and does not say which system it is of.
        sensor: ``optical`` or ``sar``: what took the image; empty where the model decides.
    """

    bands: tuple[str | int, ...] = ()
    stretch: StretchOption | None = None
    nodata: float | Literal["none"] | None = None
    crs: str = ""
    sensor: str = ""

    @classmethod
    def parse(cls, bands: str | None, stretch: str | None, nodata: str | None, crs: str | None) -> ReadOptions:
        """From the words of the command line.

        Raises:
            UsageError: one of them means nothing.
        """
        return cls(
            _bands(bands.split(",")) if bands else (),
            StretchOption.parse(stretch) if stretch else None,
            _nodata(nodata) if nodata else None,
            crs or "",
        )


def _bands(bands: Sequence[str]) -> tuple[str, ...]:
    if len(bands) not in (1, 3):
        raise UsageError(f"{len(bands)} bands: name three for colour, or one for gray")
    return tuple(bands)


def _nodata(text: str) -> Any:
    if text.strip().lower() == "none":
        return "none"
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"--nodata takes a value or none, not {text!r}") from None
