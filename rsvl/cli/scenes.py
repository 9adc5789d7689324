"""The options of `rsvl run` for scenes, and how one of any size is run block by block."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.runtime.errors import InputError, UsageError

if TYPE_CHECKING:
    from rsvl.runtime import Grounder, Query, Runner, Segmenter
    from rsvl.runtime.images.area import Area
    from rsvl.runtime.images.scene import Scene
    from rsvl.runtime.results.objects import ObjectFilter
    from rsvl.runtime.scenes.executors import Executor
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
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Let workers of Ray share them: on this machine, local, or on a cluster, HOST:PORT, that sees images, "
        "BUNDLE and DIR under the same names. Default of --workers then: one per GPU.",
    ),
]
GeoTiff = Annotated[bool, typer.Option("--geotiff", help="Write a GeoTIFF with one mask band per sentence.")]
GeoPackage = Annotated[bool, typer.Option("--gpkg", help="Write outlines or boxes as a GeoPackage, too.")]
GeoParquet = Annotated[bool, typer.Option("--geoparquet", help="Write outlines or boxes as GeoParquet, too.")]
Threshold = Annotated[
    float | None,
    typer.Option(
        "--threshold",
        metavar="P",
        min=0,
        max=1,
        help="Probability above which a pixel or box counts. Default: the model's own.",
    ),
]
MostFound = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="At most N objects or boxes per sentence, the best, or N classes. Default: all, and 5 classes.",
    ),
]
Tile = Annotated[
    str, typer.Option("--tile", metavar="PX", help="Side of the tiles in pixels, or auto, or whole (untiled).")
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
MinPresence = Annotated[
    float | None,
    typer.Option(
        "--presence",
        metavar="P",
        min=0,
        max=1,
        help="Least probability that an object is what the sentence names; needs a bundle with rsvl calibrate.",
    ),
]
Simplify = Annotated[
    str | None,
    typer.Option(
        "--simplify",
        metavar="M|PXpx",
        help="Outlines with fewer corners, off by at most so many metres or, as in 1.5px, pixels. Default: exact.",
    ),
]
Scales = Annotated[
    str | None,
    typer.Option(
        "--scales",
        metavar="S,S…",
        help="Look at the scene at each of these scales, such as 2,1,0.5,0.25: small ones for objects larger than a "
        "tile, large ones for tiny objects. Default: 1.",
    ),
]
Gsd = Annotated[
    str | None,
    typer.Option(
        "--gsd", metavar="M,M…", help="The same by ground resolution: as if the scene had so many metres per pixel."
    ),
]
Batch = Annotated[
    int | None,
    typer.Option("--batch", metavar="N", min=1, help="Tiles per inference. Default: 1 on a CPU, 8 elsewhere."),
]
Probability = Annotated[
    bool, typer.Option("--probability", help="Write a GeoTIFF with one band of probabilities per sentence.")
]

_MOST_TEXTS = 10_000
_LENGTH = r"\d+(\.\d*)?(px)?"


@dataclass(frozen=True)
class SceneOptions:
    """What is asked of a scene besides what a `Query` holds.

    Attributes:
        area: where to look, in longitude and latitude; None for everywhere.
        workers: processes that share its blocks, or what else does them.
        min_score: of an object.
        min_area: of an object, as `--min-area` has it.
        limit: the most objects of a sentence.
        scales: at which the scene is looked at; none for its own.
        gsd: ground resolutions at which it is, metres per pixel.
        min_presence: of an object.
        simplify: how far outlines may stray, as `--simplify` has it.
        probability: whether to write probabilities.
        threads: CPU threads in all; None for all cores.
    """

    threads: int | None = None
    area: Area | None = None
    workers: int | Executor = 1
    min_score: float | None = None
    min_area: str | None = None
    limit: int | None = None
    min_presence: float | None = None
    simplify: str | None = None
    scales: tuple[float, ...] = ()
    gsd: tuple[float, ...] = ()
    probability: bool = False

    @property
    def _filters(self) -> tuple[object, ...]:
        return self.min_score, self.min_area, self.limit, self.min_presence, self.simplify

    @property
    def filters(self) -> bool:
        """Whether it is asked which objects are given."""
        return any(each is not None for each in self._filters)

    def filter(self, scene: Scene, cell: float) -> ObjectFilter:
        """Which objects are given of a scene, and with which outlines.

        Args:
            scene: the scene.
            cell: the default of `min_area`, in pixels.

        Raises:
            InputError: an area or length in metres, of a scene whose resolution is not known.
        """
        from rsvl.runtime.results.objects import ObjectFilter, in_pixels

        least = cell if self.min_area is None else in_pixels(self.min_area, scene, "--min-area", 2)
        tolerance = 0.0 if self.simplify is None else in_pixels(self.simplify, scene, "--simplify", 1)
        return ObjectFilter(self.min_score or 0.0, least, self.limit, tolerance, self.min_presence or 0.0)


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
    threads: int | None,
    aoi: str | None,
    workers: int | None,
    min_score: float | None,
    min_area: str | None,
    limit: int | None,
    min_presence: float | None,
    simplify: str | None,
    scales: str | None,
    gsd: str | None,
    probability: bool,
) -> SceneOptions:
    """The options of the command line.

    Raises:
        UsageError: a value that means nothing, or `--scales` and `--gsd` together.
        InputError: an area that cannot be read.
        MissingComponentError: one of them needs rasterio or shapely, which is not installed.
    """
    from rsvl.runtime.images.area import read_area
    from rsvl.runtime.images.raster import rasterio
    from rsvl.runtime.results.simplify import shapely

    if aoi is not None or probability:
        rasterio()
    if simplify is not None:
        shapely()
        if not re.fullmatch(_LENGTH, simplify):
            raise UsageError(f"--simplify takes metres, or pixels as in 1.5px, not {simplify!r}")
    if min_area is not None and not re.fullmatch(_LENGTH, min_area):
        raise UsageError(f"--min-area takes square metres, or pixels as in 20px, not {min_area!r}")
    area = None if aoi is None else read_area(aoi)
    at, resolutions = numbers(scales, "--scales"), numbers(gsd, "--gsd")
    if at and resolutions:
        raise UsageError("--scales and --gsd both say how large the scene is shown: choose one")
    return SceneOptions(
        threads, area, workers or 1, min_score, min_area, limit, min_presence, simplify, at, resolutions, probability
    )


@contextmanager
def workers_of(ray: str | None, workers: int | None, runner: Runner) -> Iterator[int | Executor]:
    """What does a scene's blocks, as `--workers` and `--ray` say it.

    Raises:
        MissingComponentError: Ray is not installed.
        DeviceError: it cannot be started or reached.
    """
    if ray is None:
        yield workers or 1
        return
    from rsvl.runtime.scenes.ray_workers import RayWorkers

    with RayWorkers(ray, workers, gpu=runner.on_gpu) as started:
        yield started


def scaled(query: Query, scene: Scene, runner: Runner, scales: Sequence[float], gsd: Sequence[float]) -> Query:
    """A query at the scales that are asked for.

    Args:
        query: what is asked.
        scene: its image, open.
        runner: the bundle.
        scales: of `--scales`; none for the scene's own.
        gsd: of `--gsd`, metres per pixel.

    Raises:
        InputError: ground resolutions, of a scene whose own is not known.
    """
    from rsvl.runtime.tasks.tiles import scales_of_resolutions

    sensor, _ = query.only_image
    if gsd:
        tile, scales = scales_of_resolutions(scene, runner.image_for(sensor), gsd)
        return replace(query, tile=tile, scales=scales)
    return replace(query, scales=scales) if scales else query


def numbers(text: str | None, option: str) -> tuple[float, ...]:
    """The numbers of an option, separated by commas; none where it is not given.

    Raises:
        UsageError: they are none.
    """
    try:
        found = tuple(float(number) for number in text.split(",")) if text is not None else ()
    except ValueError:
        found = (-1.0,)
    if any(not 0 < number < math.inf for number in found):
        raise UsageError(f"{option} takes numbers above 0 with commas between them, as in 1,0.5, not {text!r}")
    return found


def plan_by_blocks(
    runner: Segmenter | Grounder, query: Query, scene: Scene, given: Collection[str], options: SceneOptions
) -> Plan | None:
    """The plan by which a scene is run block by block.

    Returns:
        None for an image that is better done at once: of one block, or one that has to be.

    Raises:
        UsageError: an option that does not fit.
    """
    from rsvl.runtime.scenes import find

    _, source = query.only_image
    plan = None
    if "mask" not in given and isinstance(source, Path):
        plan = find.plan_by_blocks(runner, query, scene, options.area, options.probability, _threads(options))
    if plan is None and options.probability:
        raise UsageError("--probability needs rasterio, and neither --tile whole nor --mask: leave it out")
    return plan


def _threads(options: SceneOptions) -> int | None:
    """Threads of each process: the cores, or what was asked for, shared between them."""
    from rsvl.runtime.scenes.executors import executor_of

    return executor_of(options.workers).threads(options.threads)
