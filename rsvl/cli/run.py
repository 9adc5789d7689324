"""`rsvl run`: asks a bundle about images: where, what, which."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.asking import Request, ask
from rsvl.cli.console import print_json, progress
from rsvl.cli.outputs import make_folder
from rsvl.runtime.errors import UsageError


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
    from rsvl.runtime import load

    runner = load(bundle, provider, threads)
    if bands is not None:
        runner.show_bands(bands.split(","))
    answers = []
    for image, radar in places:
        name = (image or radar or Path()).name
        with progress(f"asking about {name}") as report:
            request = Request(image, radar, text or [], threshold, side, output, geotiff, geojson, mask, report)
            told = ask(runner, request)
        pictures = {"image": str(image) if image else None, **({"sar": str(radar)} if radar else {})}
        answers.append({**pictures, "files": [str(file) for file in told.files], "found": told.found})
        if not json:
            typer.echo(f"{' and '.join(str(p) for p in (image, radar) if p)} ({told.about}on {runner.provider})")
            for line in told.lines:
                typer.echo(f"  {line}")
            for file in told.files:
                typer.echo(f"  wrote {file}")
    if json:
        print_json({"bundle": str(bundle), "provider": runner.provider, "images": answers})


def _tile(value: str) -> Any:
    if value in ("auto", "whole"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"--tile must be auto, whole or a number of pixels, not {value!r}") from None


def _places(images: list[Path], sar: list[Path]) -> list[tuple[Path | None, Path | None]]:
    """The optical and SAR picture of each place."""
    if not images and not sar:
        raise UsageError("no image: name an IMAGE, or a SAR image with --sar")
    if images and sar and len(images) != len(sar):
        raise UsageError(f"{len(images)} images and {len(sar)} of --sar: give one --sar for each image, or none")
    return list(zip_longest(images, sar))  # the absent ones are None


def _prepare(places: list[tuple[Path | None, Path | None]], output: Path, geotiff: bool) -> None:
    """Finds before the long work what would fail after it."""
    from rsvl.runtime import geo
    from rsvl.runtime.image import existing_file

    for path in (path for place in places for path in place if path is not None):
        existing_file(path)
    for stem, count in Counter((image or radar or Path()).stem for image, radar in places).items():
        if count > 1:
            raise UsageError(
                f"{count} images are called {stem}, so would be their results: run them one by one with -o"
            )
    if geotiff:
        geo.rasterio()
    make_folder(output, "-o")
