"""A scene from a query to a folder of results, block by block: what `rsvl run` does with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from rsvl.runtime.errors import OutputError, UsageError
from rsvl.runtime.images import raster
from rsvl.runtime.images.area import Area, AreaScene, to_pixels
from rsvl.runtime.images.formats import existing_file
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.images.tiling import check_range
from rsvl.runtime.results.grounding import Grounding
from rsvl.runtime.results.image_files import save_all
from rsvl.runtime.results.scene_masks import SceneMask
from rsvl.runtime.scenes.executors import Executor
from rsvl.runtime.scenes.plan import Plan, hashes_of
from rsvl.runtime.scenes.scene_run import SceneFiles, ground_scene, run_scene
from rsvl.runtime.scenes.work import Located, blocks_of
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.query import Query

if TYPE_CHECKING:  # from 3.11 on it is in typing
    from typing_extensions import Unpack


class Forms(TypedDict, total=False):
    """Which files are written besides the usual ones: see `rsvl.runtime.results.image_files.save_all`."""

    geotiff: bool
    geojson: bool
    projected: bool
    gpkg: bool
    geoparquet: bool


class SceneResults(NamedTuple):
    """What was found in a scene.

    Attributes:
        results: one per sentence.
        files: what was written.
    """

    results: Sequence[SceneMask | Grounding]
    files: Sequence[Path]


def find_in_scene(
    runner: Located,
    query: Query,
    folder: str | Path,
    *,
    stem: str = "",
    area: Area | None = None,
    probability: bool = False,
    workers: int | Executor = 1,
    threads: int | None = None,
    **forms: Unpack[Forms],
) -> SceneResults:
    """Finds what sentences name in a scene of any size, with memory for a block of it, and writes all results.

    Every block is a file in ``FOLDER/STEM.parts`` as soon as it is done. Ended at any instant, the same call goes on
    with what is there and gives the same bytes; the folder of parts is removed at the end. The masks' pixels are in
    ``STEM-masks.tif``, which is written where the scene has a georeference or `geotiff` is asked for.

    Args:
        runner: a loaded `Segmenter` or `Grounder`.
        query: the scene's file, the sentences, and how it is looked at; `Query.tile` is no ``whole``.
        folder: where the results go, made if missing.
        stem: what their names begin with; the scene's own where nothing is said.
        area: where to look, polygons in longitude and latitude (`rsvl.runtime.images.area.read_area`).
        probability: whether to write ``STEM-probability.tif``.
        workers: processes that share the blocks, or what else does them.
        threads: of each process; None for all cores.
        **forms: which files are written besides the usual ones.

    Returns:
        The results and the files.

    Raises:
        UsageError: an option out of range, or no sentence.
        InputError: a scene that cannot be used.
        OutputError: a file cannot be written.
        RsvlError: the bundle failed, or a process died; what is done is kept.

    Examples:
        >>> from rsvl.runtime import Query, load
        >>> query = Query({"optical": "squares.png"}, ["the red square", "the blue square"], tile=16)
        >>> red, blue = find_in_scene(load("tiny.bundle"), query, "found", geojson=True).results
        >>> red.box, blue.box
        ((10, 5, 20, 15), (20, 18, 28, 30))
        >>> sorted(path.name for path in Path("found").iterdir())
        ['squares-outlines.json', 'squares-overlay.png']
    """
    sensor, source = query.only_image
    if not isinstance(source, str | Path):
        raise UsageError("a scene is a file: give its path, and an array to Segmenter.segment")
    path, folder = existing_file(source), Path(folder)
    scene = query.open(sensor, runner.image_for(sensor))
    if area is not None:
        scene = AreaScene(scene, to_pixels(area, scene.georeference, str(path)))
    plan = plan_query(runner, query, scene, area, probability, threads)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}): choose another folder") from error
    stem = stem or path.stem
    found, rasters = run_planned(plan, runner, query, scene, folder / stem, workers, forms.get("geotiff", False))
    return SceneResults(found, [*rasters, *save_all(found, folder, stem, **forms)])


def plan_query(
    runner: Located, query: Query, scene: Scene, area: Area | None, probability: bool, threads: int | None
) -> Plan:
    """A query as a plan, but for the hashes; see `find_in_scene` for the arguments and errors.

    Args:
        runner: the bundle.
        query: what is asked.
        scene: the query's scene, open.
        area: where to look.
        probability: whether every probability is kept.
        threads: of each process.
    """
    sensor, source = query.only_image
    assert isinstance(source, str | Path)
    if query.tile == "whole":
        raise UsageError("a scene is done in tiles: choose another tile than whole")
    threshold = runner.spec.threshold if query.threshold is None else query.threshold
    check_range("threshold", threshold, 0, 1)
    return Plan(
        scene=Path(source),
        bundle=runner.bundle.source,
        provider=runner.provider,
        threads=threads,
        sentences=tuple(query.sentences),
        threshold=threshold,
        tile=query.tile,
        overlap=query.overlap,
        scales=tuple(query.scales),
        batch=runner.checked_batch(query.batch),
        reading=replace(query.reading.get(sensor, ReadOptions()), sensor=sensor),
        area=None if area is None else to_pixels(area, scene.georeference, str(source)),
        probability=probability,
    )


def plan_by_blocks(
    runner: Located, query: Query, scene: Scene, area: Area | None, probability: bool, threads: int | None
) -> Plan | None:
    """The plan by which a scene is done block by block; see `plan_query` for the arguments and errors.

    Returns:
        None for an image that is better done at once: of one block, untiled, or without rasterio.
    """
    if not raster.available() or query.tile == "whole":
        return None
    plan = plan_query(runner, query, scene, area, probability, threads)
    return plan if len(blocks_of(plan, scene, runner)) > 1 or probability else None


def run_planned(
    plan: Plan,
    runner: Located,
    query: Query,
    scene: Scene,
    stem: Path,
    workers: int | Executor,
    geotiff: bool,
    keep_parts: bool = False,
) -> tuple[Sequence[SceneMask | Grounding], list[Path]]:
    """Does a plan and writes its rasters.

    Args:
        plan: what is asked.
        runner: the bundle.
        query: the same, for what is no part of the plan: which objects are given, and who is told of the progress.
        scene: the plan's scene, open; closed at the end.
        stem: what the paths of the results begin with.
        workers: processes that share the blocks, or what else does them.
        geotiff: whether masks are written of a scene without a georeference, too.
        keep_parts: whether the folder of parts stays.

    Returns:
        The results and the files.
    """
    plan = replace(plan, hashes=hashes_of(plan.scene, runner.bundle))
    runner.tell_unknown_words(plan.sentences)
    parts = stem.with_name(f"{stem.name}.parts")
    try:
        if isinstance(runner, Grounder):
            return ground_scene(plan, runner, scene, parts, query.limit, workers, query.progress, keep_parts), []
        masks = stem.with_name(f"{stem.name}-masks.tif") if geotiff or scene.georeference is not None else None
        probability = stem.with_name(f"{stem.name}-probability.tif") if plan.probability else None
        files = SceneFiles(parts, masks, probability)
        found = run_scene(plan, runner, scene, files, query.keep, workers, query.progress, keep_parts)
    finally:
        scene.close()
    return found, [path for path in (masks, probability) if path is not None]
