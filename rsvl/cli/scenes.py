"""The options of `rsvl run` for scenes, and running one of any size block by block."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from rsvl.runtime import Grounder, Grounding, Query, Segmenter
    from rsvl.runtime.images.area import Area
    from rsvl.runtime.images.scene import Scene
    from rsvl.runtime.results.objects import ObjectFilter
    from rsvl.runtime.results.scene_masks import SceneMask
    from rsvl.runtime.scenes.plan import Plan

Texts = Annotated[
    Path | None,
    typer.Option("--texts", metavar="FILE", help="File of what to find, one per line; NAME<TAB>TEXT names it."),
]
Aoi = Annotated[
    str | None,
    typer.Option("--aoi", metavar="W,S,E,N|FILE", help="Only there: a box in degrees, or a GeoJSON file's polygons."),
]
Overlap = Annotated[
    float | None,
    typer.Option("--overlap", metavar="SHARE", min=0, max=0.5, help="Least overlap of tiles, as a part of one."),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", metavar="N", min=1, help="Processes that share a scene's blocks. Default: 1."),
]
MinScore = Annotated[
    float | None,
    typer.Option("--min-score", metavar="P", min=0, max=1, help="Least mean probability of an object. Default: any."),
]
MinArea = Annotated[
    str | None,
    typer.Option(
        "--min-area",
        metavar="M2|PXpx",
        help="Least area of an object, in m² or, as in 20px, in pixels. Default: what the model's mask can tell.",
    ),
]
Probability = Annotated[
    bool, typer.Option("--probability", help="Write a GeoTIFF with one band of probabilities per sentence.")
]

_MOST_TEXTS = 10_000


@dataclass(frozen=True)
class SceneOptions:
    """What is asked of a scene besides what a `Query` holds.

    Attributes:
        area: where to look, in longitude and latitude; None for everywhere.
        workers: processes that share its blocks.
        min_score: of an object.
        min_area: of an object, as `--min-area` has it.
        limit: the most objects of a sentence.
        probability: whether to write probabilities.
        bundle: the bundle's path.
        threads: CPU threads in all; None for all cores.
    """

    bundle: Path
    threads: int | None = None
    area: Area | None = None
    workers: int = 1
    min_score: float | None = None
    min_area: str | None = None
    limit: int | None = None
    probability: bool = False

    @property
    def filters(self) -> bool:
        """Whether it is asked which objects are given."""
        return (self.min_score, self.min_area, self.limit) != (None, None, None)

    def filter(self, scene: Scene, cell: float) -> ObjectFilter:
        """Which objects are given of a scene.

        Args:
            scene: the scene.
            cell: the default of `min_area`, in pixels.

        Raises:
            InputError: an area in square metres, of a scene whose resolution is not known.
        """
        from rsvl.runtime.results.objects import ObjectFilter, area_in_pixels

        least = cell if self.min_area is None else area_in_pixels(self.min_area, scene)
        return ObjectFilter(self.min_score or 0.0, least, self.limit)


def read_texts(path: Path | None) -> list[str]:
    """The sentences of a file, those that it names as `NamedText`.

    Raises:
        InputError: the file cannot be read, or has no sentence.
    """
    from rsvl.runtime.tasks.named_text import NamedText

    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}): write one sentence per line") from error
    texts: list[str] = []
    for line in lines:
        name, tab, text = line.partition("\t")
        if tab and text.strip():
            texts.append(NamedText(text.strip(), name.strip()))
        elif line.strip() and not line.startswith("#"):
            texts.append(line.strip())
    if not 0 < len(texts) <= _MOST_TEXTS:
        raise InputError(f"{path}: {len(texts)} sentences: write one per line, at most {_MOST_TEXTS}")
    return texts


def options_of(
    bundle: Path,
    threads: int | None,
    aoi: str | None,
    workers: int | None,
    min_score: float | None,
    min_area: str | None,
    limit: int | None,
    probability: bool,
) -> SceneOptions:
    """The options of the command line.

    Raises:
        UsageError: a `--min-area` that is none.
        InputError: an area that cannot be read.
        MissingComponentError: one of them needs rasterio, which is not installed.
    """
    from rsvl.runtime.images.area import read_area
    from rsvl.runtime.images.raster import rasterio

    if aoi is not None or probability:
        rasterio()
    if min_area is not None and not re.fullmatch(r"\d+(\.\d*)?(px)?", min_area):
        raise UsageError(f"--min-area takes square metres, or pixels as in 20px, not {min_area!r}")
    area = None if aoi is None else read_area(aoi)
    return SceneOptions(bundle, threads, area, workers or 1, min_score, min_area, limit, probability)


def run_by_blocks(
    runner: Segmenter | Grounder,
    query: Query,
    scene: Scene,
    folder: Path,
    stem: str,
    given: Collection[str],
    options: SceneOptions,
) -> tuple[Sequence[SceneMask | Grounding], list[Path]] | None:
    """Runs a scene block by block and writes its rasters.

    Returns:
        The results and the files; None for an image that is better done at once: of one block, or one that has to be.
    """
    from rsvl.runtime import Grounder
    from rsvl.runtime.images import raster
    from rsvl.runtime.scenes.plan import hashes_of
    from rsvl.runtime.scenes.scene_run import SceneFiles, ground_scene, run_scene
    from rsvl.runtime.scenes.work import blocks_of

    _, source = query.only_image
    if not raster.available() or query.tile == "whole" or "mask" in given or not isinstance(source, Path):
        if options.probability:
            raise UsageError("--probability needs rasterio, and neither --tile whole nor --mask: leave it out")
        return None
    plan = _plan(runner, query, scene, options)
    blocks = blocks_of(plan, scene, runner)
    if len(blocks) == 1 and not options.probability:
        return None
    plan = replace(plan, hashes=hashes_of(source, runner.bundle))
    runner.tell_unknown_words(query.sentences)
    parts, workers = folder / f"{stem}.parts", options.workers
    try:
        if isinstance(runner, Grounder):
            return ground_scene(plan, runner, scene, parts, query.limit, workers, query.progress), []
        masks = folder / f"{stem}-masks.tif" if "geotiff" in given or scene.georeference is not None else None
        probability = folder / f"{stem}-probability.tif" if options.probability else None
        keep = options.filter(scene, runner.cell_area(blocks.grid))
        files = SceneFiles(parts, masks, probability)
        found = run_scene(plan, runner, scene, files, keep, workers, query.progress)
    finally:
        scene.close()
    return found, [path for path in (masks, probability) if path is not None]


def _plan(runner: Segmenter | Grounder, query: Query, scene: Scene, options: SceneOptions) -> Plan:
    from rsvl.runtime.images.area import to_pixels
    from rsvl.runtime.images.options import ReadOptions
    from rsvl.runtime.images.tiling import check_range
    from rsvl.runtime.scenes.plan import Plan

    sensor, source = query.only_image
    threshold = runner.spec.threshold if query.threshold is None else query.threshold
    check_range("threshold", threshold, 0, 1)
    assert isinstance(source, Path)
    return Plan(
        scene=source,
        bundle=options.bundle,
        provider=runner.provider,
        threads=_threads(options),
        sentences=tuple(query.sentences),
        threshold=threshold,
        tile=query.tile,
        overlap=query.overlap,
        reading=replace(query.reading.get(sensor, ReadOptions()), sensor=sensor),
        area=None if options.area is None else to_pixels(options.area, scene.georeference, str(source)),
        probability=options.probability,
    )


def _threads(options: SceneOptions) -> int | None:
    """Threads of each process: the cores, or what was asked for, shared between them."""
    if options.workers == 1:
        return options.threads
    return max(1, (options.threads or os.cpu_count() or 1) // options.workers)
