"""`rsvl run`: asks a bundle about images: where, what, which."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, progress
from rsvl.cli.outputs import make_folder
from rsvl.cli.render import dispatch
from rsvl.runtime.errors import UsageError

_KEYS = {"optical": "image", "sar": "sar"}
"""Of a place's images in the JSON, by sensor."""


def run(
    bundle: options.Bundle,
    images: Annotated[
        list[Path] | None, typer.Argument(help="Pictures, GeoTIFFs, scenes of any size.", metavar="IMAGE")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="What to find or answer, or a label; may be given several times."),
    ] = None,
    sar: Annotated[
        list[Path] | None,
        typer.Option("--sar", help="The SAR image of the same place, one for each IMAGE, or instead of them."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results, made if missing.")] = Path(),
    geotiff: Annotated[bool, typer.Option("--geotiff", help="Write a GeoTIFF with one mask band a sentence.")] = False,
    geojson: Annotated[bool, typer.Option("--geojson", help="Write outlines or boxes as GeoJSON.")] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Write each sentence's mask as a PNG, 255 inside.")] = False,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Probability from which a pixel or box counts. Default: its own.")
    ] = None,
    tile: Annotated[
        str, typer.Option("--tile", help="auto, whole (one look at the whole image), or the tiles' side in pixels.")
    ] = "auto",
    bands: Annotated[
        str | None,
        typer.Option("--bands", help="Bands to show of a raster of many, by name or number: B4,B3,B2. Default: usual."),
    ] = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Ask a bundle about images or whole scenes: masks, boxes, answers or labels, as its task is.

    Masks and boxes: writes IMAGE-overlay.png; a georeferenced image also gives IMAGE-masks.tif and GeoJSON.
    Answers and labels are printed. A bundle of another task takes .npz files of raw inputs.
    """
    side = _tile(tile)
    places = _places(images or [], sar or [])
    _prepare(places, output, geotiff)
    from rsvl.runtime import Query, load

    runner = load(bundle, provider, threads)
    if bands is not None:
        runner.show_bands(bands.split(","))
    given = {"geotiff": geotiff, "geojson": geojson, "mask": mask, "threshold": threshold is not None}
    given["tile"] = side != "auto"
    answers = []
    for place in places:
        name = " and ".join(str(path) for path in place.values())
        first = next(iter(place.values()))
        with progress(f"asking about {first.name}") as report:
            query = Query(place, text or [], threshold, side, report)
            output_of = dispatch(
                runner, query, output, first.stem, [option for option, is_given in given.items() if is_given]
            )
        answers.append(
            {"image": None} | {_KEYS[sensor]: str(path) for sensor, path in place.items()} | output_of.to_dict()
        )
        if not json:
            typer.echo(f"{name} ({output_of.size}on {runner.provider})")
            for line in output_of.lines():
                typer.echo(f"  {line}")
    if json:
        print_json({"bundle": str(bundle), "provider": runner.provider, "images": answers})


def _tile(value: str) -> Any:
    if value in ("auto", "whole"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"--tile must be auto, whole or a number of pixels, not {value!r}") from None


def _places(images: list[Path], sar: list[Path]) -> list[dict[str, Path]]:
    """The images of each place, by sensor."""
    if not images and not sar:
        raise UsageError("no image: name an IMAGE, or a SAR image with --sar")
    if images and sar and len(images) != len(sar):
        raise UsageError(f"{len(images)} images and {len(sar)} of --sar: give one --sar for each image, or none")
    pairs = zip_longest(images, sar)  # the absent ones are None
    return [
        {sensor: path for sensor, path in zip(("optical", "sar"), pair, strict=True) if path is not None}
        for pair in pairs
    ]


def _prepare(places: list[dict[str, Path]], output: Path, geotiff: bool) -> None:
    """Finds before the long work what would fail after it."""
    from rsvl.runtime.images import raster
    from rsvl.runtime.images.reading import existing_file

    for path in (path for place in places for path in place.values()):
        existing_file(path)
    for stem, count in Counter(next(iter(place.values())).stem for place in places).items():
        if count > 1:
            raise UsageError(
                f"{count} images are called {stem}, so would be their results: run them one by one with -o"
            )
    if geotiff:
        raster.rasterio()
    make_folder(output, "-o")
