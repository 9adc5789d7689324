"""The options of `rsvl run` that say how an image is to be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.options import ReadOptions

_SAR = "sar:"

Bands = Annotated[
    list[str] | None,
    typer.Option(
        "--bands",
        metavar="R,G,B",
        help="Bands to show, by name or number: B4,B3,B2, or one as gray. sar:VV is for the SAR image of a pair.",
    ),
]
Stretch = Annotated[
    list[str] | None,
    typer.Option(
        "--stretch",
        metavar="LO,HI|PERCENT|none",
        help="Values to 8 bits: from LO to HI, between percentiles, or the type's whole range; db:-25,0 in decibels. "
        "Default: 8-bit values as they are, others between the model's percentiles.",
    ),
]
NoData = Annotated[
    list[str] | None,
    typer.Option("--nodata", metavar="VALUE|none", help="The value that means no data. Default: the file's own."),
]
Crs = Annotated[
    str | None,
    typer.Option("--crs", metavar="EPSG:…", help="Coordinate system of an image with a transform and no system."),
]


def read_options(
    bands: Sequence[str] | None,
    stretch: Sequence[str] | None,
    nodata: Sequence[str] | None,
    crs: str | None,
    only_sar: bool,
) -> dict[str, ReadOptions]:
    """How the images of a place are to be read, by sensor.

    Args:
        bands: of `--bands`; each value that begins with ``sar:`` is for the SAR image.
        stretch: of `--stretch`, as `bands`.
        nodata: of `--nodata`, as `bands`.
        crs: of `--crs`.
        only_sar: whether there is no optical image: the options are then for the SAR image.

    Returns:
        Nothing where no option is given.

    Raises:
        UsageError: an option that means nothing, or one that is given twice for the same image.
    """
    main = "sar" if only_sar else "optical"
    found: dict[str, dict[str, str]] = {}
    for name, values in (("bands", bands), ("stretch", stretch), ("nodata", nodata)):
        for value in values or ():
            sensor = "sar" if value.startswith(_SAR) else main
            words = found.setdefault(sensor, {})
            if name in words:
                raise UsageError(f"--{name} is given twice for one image: give it once, and sar:… for a SAR image")
            words[name] = value.removeprefix(_SAR)
    if crs:
        found.setdefault(main, {})["crs"] = crs
    order = ("bands", "stretch", "nodata", "crs")
    return {sensor: ReadOptions.parse(*(words.get(name) for name in order)) for sensor, words in found.items()}
