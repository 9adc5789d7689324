"""What `rsvl run` asks of a bundle, and how it shows the results."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsvl.cli.outputs import check_free_space, make_folder
from rsvl.cli.scenes import SceneOptions, plan_by_blocks, scaled
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from rsvl.runtime import Query, Runner
    from rsvl.runtime.images.scene import Scene
    from rsvl.runtime.results.base import Result

_OVERLAY_PIXELS = 2048**2


@dataclass(frozen=True)
class RunOutput:
    """The results of a query.

    Attributes:
        results: one per sentence, or as the task has it.
        files: what was written.
    """

    results: Sequence[Result]
    files: Sequence[Path]

    @property
    def size(self) -> str:
        """The image's size for people, where the results lie in one; else empty."""
        from rsvl.runtime.results.base import SpatialResult

        first = self.results[0]
        return f"{first.size[1]} × {first.size[0]}, " if isinstance(first, SpatialResult) else ""

    @property
    def skipped(self) -> int:
        """How many tiles failed."""
        return sum(len(reading.skipped) for reading in self.results[0].readings) if self.results else 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        read = [reading.to_dict() for reading in self.results[0].readings] if self.results else []
        return {
            "read": read,
            "files": [str(file) for file in self.files],
            "found": [result.to_dict() for result in self.results],
        }

    def lines(self) -> list[str]:
        """For people: the results, then the files."""
        lines = [line for result in self.results for line in result.lines()]
        return lines + [f"wrote {file}" for file in self.files]


def check_options(runner: Runner, options: Collection[str]) -> None:
    """Refuses options that have no effect on a bundle's task.

    Args:
        runner: the bundle.
        options: the names of those that were given and that only some tasks have (`Runner.options`).

    Raises:
        UsageError: some have none, or need what was not fitted to the bundle.
    """
    unused = [f"--{name}" for name in options if name not in runner.options]
    if unused:
        raise UsageError(f"this model {runner.purpose}: leave {' and '.join(unused)} out")
    if "presence" in options and runner.manifest.presence is None:
        raise UsageError(f"{runner.bundle.source} was not calibrated: run rsvl calibrate, or leave --presence out")


def dispatch(
    runner: Runner, query: Query, folder: Path, stem: str, given: Collection[str], options: SceneOptions
) -> RunOutput:
    """Asks a loaded bundle and writes what belongs to the results.

    Args:
        runner: the bundle.
        query: what is asked.
        folder: where the files go.
        stem: what their names begin with.
        given: names of the options that were given and that only some tasks have.
        options: what is asked of scenes.

    Raises:
        UsageError: no text for a task that needs it.
        InputError: an image or file that cannot be used.
        OutputError: a result cannot be written, or there is no room for them.
    """
    from rsvl.runtime.results.image_files import check_place, save_all

    forms = {name: name in given for name in ("geotiff", "geojson", "projected", "gpkg", "geoparquet", "mask")}
    if "workers" not in runner.options:  # results that lie in no image, or in its tiles
        query = _check_tiles(runner, query, forms)
        results = runner.ask(query)
        make_folder(folder, "-o")
        return RunOutput(results, save_all(results, folder, stem, **forms))
    (sensor, _), sentences = query.only_image, query.sentences
    scene = _open(runner, query, options)
    if forms["gpkg"] or forms["geoparquet"]:
        check_place(scene.georeference)
    check_free_space(folder, _room(scene, len(sentences), runner, options), "-o")
    query = scaled(query, scene, runner, options.scales, options.gsd)
    if options.filters and "min-area" in runner.options:
        from rsvl.runtime.tasks.tiles import plan_scene

        grids = plan_scene(scene, runner.image_for(sensor), query.tile, query.overlap, query.scales)
        query = replace(query, keep=options.filter(scene, runner.cell_area(grids)))  # type: ignore[attr-defined]
    plan = plan_by_blocks(runner, query, scene, given, options)  # type: ignore[arg-type]
    make_folder(folder, "-o")
    if plan is not None:
        from rsvl.runtime.scenes.find import run_planned

        path, workers = folder / stem, options.workers
        found, rasters = run_planned(plan, runner, query, scene, path, workers, forms["geotiff"])  # type: ignore[arg-type]
        return RunOutput(found, [*rasters, *save_all(found, folder, stem, **forms)])
    results = runner.ask(replace(query, images={sensor: scene}))
    return RunOutput(results, save_all(results, folder, stem, **forms))


def _check_tiles(runner: Runner, query: Query, forms: Mapping[str, bool]) -> Query:
    """A query about tiles with its images open, so that what its results need is known to be there.

    Raises:
        UsageError: files are asked for, and no tiles.
        InputError: a table of an image that has no place.
    """
    from rsvl.runtime.results.image_files import check_place

    asked = [f"--{name}" for name, is_asked in forms.items() if is_asked]
    if not isinstance(query.tile, int):
        if asked:
            raise UsageError(f"{' and '.join(asked)} is about tiles here: give their side with --tile, too")
        return query
    images = {sensor: query.open(sensor, runner.image_for(sensor)) for sensor in query.images}
    if forms["gpkg"] or forms["geoparquet"]:
        check_place(next(iter(images.values())).georeference)
    return replace(query, images=images)


def _open(runner: Runner, query: Query, options: SceneOptions) -> Scene:
    """The image of a query, in the area that is asked for."""
    from rsvl.runtime.images.area import AreaScene, to_pixels

    sensor, source = query.only_image
    scene = query.open(sensor, runner.image_for(sensor))
    if options.area is None:
        return scene
    return AreaScene(scene, to_pixels(options.area, scene.georeference, str(source)))


def _room(scene: Scene, sentences: int, runner: Runner, options: SceneOptions) -> int:
    """Bytes that the results may take: a bit per pixel of each mask, what is kept on the way, and an overlay."""
    pixels = scene.height * scene.width
    each = 0.125 if "mask" in runner.options else 0.0
    if pixels > _OVERLAY_PIXELS and each:
        each += 4.0 if options.probability else 0.5
    return int(sentences * pixels * each) + 3 * min(pixels, _OVERLAY_PIXELS)
