"""`rsvl run`: runs a bundle on images: where, what, which."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import options, reading
from rsvl.cli.console import print_json, print_line, progress
from rsvl.cli.outputs import make_folder
from rsvl.cli.render import dispatch
from rsvl.runtime.errors import UsageError

_KEYS = {"optical": "image", "sar": "sar"}
"""Where the JSON has a place's images, by sensor."""


def run(
    bundle: options.Bundle,
    images: Annotated[
        list[Path] | None, typer.Argument(metavar="IMAGE", help="Images, GeoTIFFs, scenes of any size.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="What to find or answer, or a label; repeatable."),
    ] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(
            "--mark",
            metavar="KIND=PHRASE",
            help="Which words of the sentences are which, for a model that asks: object=ship; repeatable.",
        ),
    ] = None,
    sar: Annotated[
        list[Path] | None,
        typer.Option(
            "--sar", metavar="IMAGE", help="SAR image of the same place: one for each IMAGE, or instead of them."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results, made if missing.")
    ] = Path(),
    geotiff: Annotated[
        bool, typer.Option("--geotiff", help="Write a GeoTIFF with one mask band per sentence.")
    ] = False,
    geojson: Annotated[
        bool, typer.Option("--geojson", help="Write outlines or boxes; in pixels, as .json, where no place is known.")
    ] = False,
    projected: Annotated[
        bool, typer.Option("--projected", help="Write them in the image's own coordinate system, too.")
    ] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Write one mask per sentence as a PNG, 255 inside.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="P",
            min=0,
            max=1,
            help="Probability above which a pixel or box counts. Default: the model's own.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            min=1,
            help="At most N boxes per sentence, the best; or N classes, the likeliest. Default: all boxes, 5 classes.",
        ),
    ] = None,
    tile: Annotated[
        str,
        typer.Option("--tile", metavar="PX", help="Side of the tiles in pixels, or auto, or whole (untiled)."),
    ] = "auto",
    bands: reading.Bands = None,
    stretch: reading.Stretch = None,
    nodata: reading.NoData = None,
    crs: reading.Crs = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Run a bundle on images or whole scenes.

    Masks and boxes: writes IMAGE-overlay.png; for a georeferenced image also IMAGE-masks.tif and GeoJSON.
    Answers, labels and classes are printed. A bundle of another task takes .npz files of raw inputs.
    """
    side = _tile(tile)
    places = _places(images or [], sar or [])
    read_as = reading.read_options(bands, stretch, nodata, crs, only_sar=not images)
    _prepare(places, output, geotiff)
    from rsvl.runtime import Query, load

    runner = load(bundle, provider, threads)
    flags = {"geotiff": geotiff, "geojson": geojson, "projected": projected, "mask": mask}
    flags |= {"threshold": threshold is not None, "limit": limit is not None, "tile": side != "auto"}
    given = [name for name, is_given in flags.items() if is_given]
    sentences = _marked(text or [], mark or [])
    answers = []
    for place in places:
        name = " and ".join(str(path) for path in place.values())
        first = next(iter(place.values()))
        with progress(f"running on {first.name}") as report:
            query = Query(place, sentences, threshold, side, report, read_as, limit)
            found = dispatch(runner, query, output, first.stem, given)
        paths = {_KEYS[sensor]: str(path) for sensor, path in place.items()}
        answers.append({"image": None} | paths | found.to_dict())
        if not json:
            print_line(f"{name} ({found.size}on {runner.provider})")
            for line in found.lines():
                print_line(f"  {line}")
    if json:
        print_json({"bundle": str(bundle), "provider": runner.provider, "images": answers})


def _tile(value: str) -> Any:
    if value in ("auto", "whole"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"--tile must be auto, whole or a number of pixels, not {value!r}") from None


def _marked(sentences: list[str], marks: list[str]) -> list[str]:
    """The sentences, each with those phrases marked that it contains.

    Raises:
        UsageError: a mark that is not KIND=PHRASE, or a phrase that is in none of them.
    """
    from rsvl.runtime import MarkedText

    phrases: list[dict[str, list[str]]] = [{} for _ in sentences]
    for mark in marks:
        kind, _, phrase = mark.partition("=")
        marked = [found for text, found in zip(sentences, phrases, strict=True) if phrase.lower() in text.lower()]
        if not kind.isidentifier() or not phrase.strip() or not marked:
            raise UsageError(f"--mark {mark}: write KIND=PHRASE with words of a --text, such as object=ship")
        for found in marked:
            found.setdefault(kind, []).append(phrase)
    return [MarkedText(text, **found) if found else text for text, found in zip(sentences, phrases, strict=True)]


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
    from rsvl.runtime.images.formats import existing_file

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
