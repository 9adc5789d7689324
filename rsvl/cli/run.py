"""`rsvl run`: segments what sentences name in images."""

from __future__ import annotations

import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, progress
from rsvl.runtime.errors import OutputError, UsageError

if TYPE_CHECKING:
    from rsvl.runtime import Segmentation


def run(
    bundle: options.Bundle,
    images: Annotated[list[Path], typer.Argument(help="Pictures, GeoTIFFs, scenes of any size.", metavar="IMAGE")],
    text: Annotated[list[str], typer.Option("--text", "-t", help="What to find; may be given several times.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the results, made if missing.")] = Path(),
    geotiff: Annotated[bool, typer.Option("--geotiff", help="Write a GeoTIFF with one mask band a sentence.")] = False,
    geojson: Annotated[bool, typer.Option("--geojson", help="Write the outlines as GeoJSON.")] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Write each sentence's mask as a PNG, 255 inside.")] = False,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Probability from which a pixel counts. Default: the model's.")
    ] = None,
    tile: Annotated[
        str, typer.Option("--tile", help="auto, whole (one look at the whole image), or the tiles' side in pixels.")
    ] = "auto",
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Segment what sentences name in images or whole scenes.

    Writes IMAGE-overlay.png. A georeferenced image also gives IMAGE-masks.tif and IMAGE-outlines.geojson.
    """
    side = _tile(tile)
    _prepare(images, output, geotiff)
    from rsvl.runtime import load

    segmenter = load(bundle, provider, threads)
    answers = []
    for image in images:
        with progress(f"segmenting {image.name}") as report:
            found = segmenter.segment(image, text, threshold, tile=side, progress=report)
            files = _write(found, output, image.stem, geotiff, geojson, mask)
        answers.append({"image": str(image), "files": [str(f) for f in files], "found": [f.to_dict() for f in found]})
        if not json:
            _print(image, found, files, segmenter.provider)
    if json:
        print_json({"bundle": str(bundle), "provider": segmenter.provider, "images": answers})


def _tile(value: str) -> Any:
    if value in ("auto", "whole"):
        return value
    try:
        return int(value)
    except ValueError:
        raise UsageError(f"--tile must be auto, whole or a number of pixels, not {value!r}") from None


def _prepare(images: list[Path], output: Path, geotiff: bool) -> None:
    """Finds before the long work what would fail after it."""
    from rsvl.runtime import geo
    from rsvl.runtime.image import existing_file

    for image in images:
        existing_file(image)
    for stem, count in Counter(image.stem for image in images).items():
        if count > 1:
            raise UsageError(
                f"{count} images are called {stem}, so would be their results: run them one by one with -o"
            )
    if geotiff:
        geo.rasterio()
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made ({error.strerror}): choose another folder with -o") from error


def _write(found: list[Segmentation], folder: Path, stem: str, geotiff: bool, geojson: bool, mask: bool) -> list[Path]:
    from rsvl.runtime.result import save

    georeferenced = found[0].georeference is not None
    suffixes = ["overlay.png"]
    if geotiff or georeferenced:
        suffixes.append("masks.tif")
    if geojson or georeferenced:
        suffixes.append("outlines.geojson")
    files = [folder / f"{stem}-{suffix}" for suffix in suffixes]
    for file in files:
        save(found, file)
    if mask:
        for number, each in enumerate(found, start=1):
            files.append(folder / f"{stem}-mask-{number}.png")
            _write_mask(each, files[-1])
    return files


def _write_mask(found: Segmentation, path: Path) -> None:
    from PIL import Image

    from rsvl.runtime.atomic import replacing

    with replacing(path) as temporary:
        Image.fromarray(found.mask).convert("L").save(temporary, "PNG")


def _print(image: Path, found: list[Segmentation], files: list[Path], provider: str) -> None:
    height, width = found[0].mask.shape
    typer.echo(f"{image} ({width} × {height}, on {provider})")
    for each in found:
        text = textwrap.shorten(each.text, 100, placeholder=" …")
        if each.box is None:
            typer.echo(f"  not found  {text}")
        else:
            x1, y1, x2, y2 = each.box
            typer.echo(f"  {each.score:.2f}  {text}: {each.area} px in x {x1}–{x2}, y {y1}–{y2}")
    for file in files:
        typer.echo(f"  wrote {file}")
