"""`rsvl run`: runs a bundle on images: where, what, which."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import options, reading, scenes
from rsvl.cli.batch import check_all_done, run_batch
from rsvl.cli.console import print_json, print_line, progress
from rsvl.cli.outputs import check_can_be_folder
from rsvl.cli.places import Place, find_places
from rsvl.cli.render import check_options, dispatch
from rsvl.runtime.errors import UsageError


def run(
    bundle: options.Bundle,
    images: Annotated[
        list[Path] | None,
        typer.Argument(metavar="IMAGE", help="Images and scenes of any size; folders, patterns, STAC items, @LIST."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="What to find or answer, or a label; repeatable."),
    ] = None,
    texts: scenes.Texts = None,
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
    asset: Annotated[
        str | None,
        typer.Option(
            "--asset", metavar="NAME", help="Which file of STAC items to take. Default: visual, overview, the only one."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results, made if missing.")
    ] = Path(),
    geotiff: scenes.GeoTiff = False,
    geojson: Annotated[
        bool, typer.Option("--geojson", help="Write outlines or boxes; in pixels, as .json, where no place is known.")
    ] = False,
    projected: Annotated[
        bool, typer.Option("--projected", help="Write them in the image's own coordinate system, too.")
    ] = False,
    gpkg: scenes.GeoPackage = False,
    geoparquet: scenes.GeoParquet = False,
    mask: Annotated[bool, typer.Option("--mask", help="Write one mask per sentence as a PNG, 255 inside.")] = False,
    threshold: scenes.Threshold = None,
    limit: scenes.MostFound = None,
    min_score: scenes.MinScore = None,
    min_area: scenes.MinArea = None,
    presence: scenes.MinPresence = None,
    simplify: scenes.Simplify = None,
    probability: scenes.Probability = False,
    tile: scenes.Tile = "auto",
    overlap: scenes.Overlap = None,
    scales: scenes.Scales = None,
    gsd: scenes.Gsd = None,
    batch: scenes.Batch = None,
    aoi: scenes.Aoi = None,
    workers: scenes.Workers = None,
    ray: scenes.Ray = None,
    bands: reading.Bands = None,
    stretch: reading.Stretch = None,
    nodata: reading.NoData = None,
    crs: reading.Crs = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
    json_lines: Annotated[
        bool, typer.Option("--json-lines", help="Print one JSON object per image and line, as each is done.")
    ] = False,
) -> None:
    """Run a bundle on images or whole scenes.

    Masks and boxes: writes IMAGE-overlay.png; for a georeferenced image also IMAGE-masks.tif and GeoJSON.
    Answers, labels and classes are printed; those of a scene's tiles (--tile) also give a table, a map and a raster.
    A bundle of another task takes .npz files of raw inputs.
    """
    if json and json_lines:
        raise UsageError("--json is one object at the end, --json-lines one per image: choose one")
    side = tile_of(tile)
    if gsd is not None and side != "auto":
        raise UsageError("--gsd says how large the tiles are: leave --tile out")
    places = find_places(images or [], sar or [], asset)
    read_as = reading.read_options(bands, stretch, nodata, crs, only_sar=not images)
    sentences = _marked([*(text or []), *scenes.read_texts(texts)], mark or [])
    about = scenes.options_of(
        threads, aoi, workers, min_score, min_area, limit, presence, simplify, scales, gsd, probability
    )
    _prepare(places, output, geotiff, [name for name, asked in (("pyogrio", gpkg), ("pyarrow", geoparquet)) if asked])
    from rsvl.runtime import Query, load

    runner = load(bundle, provider, threads)
    flags = {"geotiff": geotiff, "geojson": geojson, "projected": projected, "mask": mask}
    flags |= {"gpkg": gpkg, "geoparquet": geoparquet}
    flags |= {"threshold": threshold is not None, "limit": limit is not None, "tile": side != "auto"}
    flags |= {"overlap": overlap is not None, "aoi": aoi is not None, "workers": workers is not None}
    flags |= {"ray": ray is not None}
    flags |= {"min-score": min_score is not None, "min-area": min_area is not None, "probability": probability}
    flags |= {"simplify": simplify is not None, "batch": batch is not None}
    flags |= {"presence": presence is not None}
    flags |= {"scales": scales is not None, "gsd": gsd is not None}
    given = [name for name, is_given in flags.items() if is_given]
    check_options(runner, given)
    share = Query.overlap if overlap is None else overlap
    skipped: list[str] = []

    def work(place: Place) -> dict[str, Any]:
        with progress(f"running on {place.stem}") as report:
            query = Query(place.images, sentences, threshold, side, report, read_as, limit, None, share, batch)
            found = dispatch(runner, query, output, place.stem, given, about)
        if found.skipped:
            skipped.append(f"{place.name} ({found.skipped})")
        if not (json or json_lines):
            print_line(f"{place.name} ({found.size}on {runner.provider})")
            for line in found.lines():
                print_line(f"  {line}")
        return found.to_dict()

    with scenes.workers_of(ray, workers, runner) as sharing:
        about = replace(about, workers=sharing)
        answers, failed = run_batch(places, work, json_lines)
    if json:
        print_json({"bundle": str(bundle), "provider": runner.provider, "images": answers})
    check_all_done(failed, len(places), skipped)


def tile_of(value: str) -> Any:
    """The value of `--tile`.

    Raises:
        UsageError: it is none.
    """
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


def _prepare(places: list[Place], output: Path, geotiff: bool, modules: list[str]) -> None:
    """Finds before the long work what would fail after it."""
    from rsvl.runtime.images import raster
    from rsvl.runtime.images.formats import existing_file
    from rsvl.runtime.results.tables import import_component

    if len(places) == 1:
        for path in places[0].images.values():
            existing_file(path)
    if geotiff:
        raster.rasterio()
    for module in modules:
        import_component(module)
    check_can_be_folder(output, "-o")
