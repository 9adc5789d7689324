"""A scene from its plan to its files: the parts that are missing are done, then all of them are put together."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import sweep, write_text
from rsvl.runtime.errors import OutputError
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.geotiff import RasterWriter, open_writer
from rsvl.runtime.results.grounding import Grounding
from rsvl.runtime.results.objects import Judge, ObjectFilter
from rsvl.runtime.results.scene_masks import SceneMask
from rsvl.runtime.scenes.blocks import Levels
from rsvl.runtime.scenes.executors import Executor, do_here, executor_of
from rsvl.runtime.scenes.merge import Merger
from rsvl.runtime.scenes.plan import PLAN, Plan, hash_in
from rsvl.runtime.scenes.work import BlockWorker, Located, part_path
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.named_text import name_of
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.temporary import exclusive


@dataclass(frozen=True)
class SceneFiles:
    """Where a scene's results go.

    Attributes:
        folder: of the parts, removed when the results are there.
        masks: the masks' GeoTIFF; None for none.
        probability: the probabilities' GeoTIFF; None for none.
    """

    folder: Path
    masks: Path | None = None
    probability: Path | None = None


def run_scene(
    plan: Plan,
    runner: Segmenter,
    scene: Scene,
    files: SceneFiles,
    keep: ObjectFilter | None = None,
    workers: int | Executor = 1,
    progress: Progress = silent,
    keep_parts: bool = False,
) -> list[SceneMask]:
    """Does what is missing of a scene and puts its results together.

    Killed at any instant, the same call goes on with what is there, loses at most the blocks that were being done, and
    ends with the same bytes. The parts of another plan are removed.

    Args:
        plan: what is asked.
        runner: the plan's bundle, loaded.
        scene: the plan's scene, open.
        files: where the results go.
        keep: which objects the results give; None drops those smaller than `Segmenter.cell_area`.
        workers: processes that do blocks, where 1 does them here, or what else does them.
        progress: called after every block and every window that is put together.
        keep_parts: whether the parts stay, for a caller who removes them when all other results are there, too.

    Returns:
        One result per sentence; the masks' pixels are in the file.

    Raises:
        OutputError: a file cannot be written.
        RsvlError: the bundle failed, or a process died; the parts that are done stay.
    """
    with _folder(plan, files.folder) as folder:
        for path in (files.masks, files.probability):
            if path is not None:
                sweep(path)
        blocks = _do_missing(plan, folder, runner, scene, workers, progress)
        grids = [each.grid for each in blocks.blocks]
        keep = keep or ObjectFilter(min_area=runner.cell_area(grids))
        found = _merged(plan, folder, blocks, scene, files, keep, runner.judge(grids), progress)
    if not keep_parts:
        shutil.rmtree(files.folder, ignore_errors=True)
    return found


def ground_scene(
    plan: Plan,
    runner: Grounder,
    scene: Scene,
    folder: Path,
    limit: int | None = None,
    workers: int | Executor = 1,
    progress: Progress = silent,
    keep_parts: bool = False,
) -> list[Grounding]:
    """The same for boxes: see `run_scene`; boxes of all tiles are merged as `Grounder.ground` does.

    Args:
        plan: what is asked.
        runner: the plan's bundle, loaded.
        scene: the plan's scene, open.
        folder: of the parts, removed when all are merged.
        limit: the most boxes that a sentence gives.
        workers: as for `run_scene`.
        progress: called after every block.
        keep_parts: as for `run_scene`.

    Raises:
        OutputError: as for `run_scene`.
        RsvlError: as for `run_scene`.
    """
    with _folder(plan, folder) as place:
        blocks = _do_missing(plan, place, runner, scene, workers, progress)
        merger, tiled = Merger(plan, place, blocks), sum(len(each.grid) for each in blocks.blocks) > 1
        _tell_void_and_skipped(merger, scene)
        found = [
            runner.merged(text, merger.rows(index), plan.threshold, limit, tiled, scene)
            for index, text in enumerate(plan.sentences)
        ]
    if not keep_parts:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _do_missing(
    plan: Plan, folder: Path, runner: Located, scene: Scene, workers: int | Executor, progress: Progress
) -> Levels:
    """Does the blocks whose parts are not there, and returns all."""
    worker = BlockWorker(plan, folder, runner, scene)
    there = set(folder.iterdir())  # one listing: on a shared folder each question costs, and a no may be remembered
    missing = [block for block in range(len(worker.blocks)) if part_path(folder, block) not in there]
    meter = _Meter(progress, sum(map(worker.blocks.tile_count, missing)), "tiles")
    if workers == 1 or len(missing) < 2:
        do_here(worker, missing, meter)
    else:
        executor_of(workers).do(plan, folder, missing, meter)
    return worker.blocks


def _merged(
    plan: Plan,
    folder: Path,
    blocks: Levels,
    scene: Scene,
    files: SceneFiles,
    keep: ObjectFilter,
    judge: Judge | None,
    progress: Progress,
) -> list[SceneMask]:
    merger, size = Merger(plan, folder, blocks), (scene.height, scene.width)
    _tell_void_and_skipped(merger, scene)
    results, meter = [], _Meter(progress, len(plan.sentences) * len(merger.windows), "windows", "putting together")
    with ExitStack() as stack:
        masks = _writer(stack, files.masks, plan, scene)
        probabilities = _writer(stack, files.probability, plan, scene, dtype="float32", nodata=-1)
        for index, text in enumerate(plan.sentences):
            found = merger.sentence(index, masks, probabilities, lambda: meter(1))
            whole = found.objects
            results.append(
                SceneMask(
                    text=text,
                    objects=whole.finish(),
                    keep=keep,
                    thumbnail_mask=found.thumbnail,
                    area=whole.area,
                    score=whole.score,
                    threshold=plan.threshold,
                    size=size,
                    box=whole.box,
                    oriented_box=whole.oriented_box,
                    georeference=scene.georeference,
                    scene=scene,
                    judge=judge,
                )
            )
    return results


def _writer(stack: ExitStack, path: Path | None, plan: Plan, scene: Scene, **options: Any) -> RasterWriter | None:
    if path is None:
        return None
    size = scene.height, scene.width
    return stack.enter_context(
        open_writer(path, size, [name_of(text) for text in plan.sentences], scene.georeference, **options)
    )


def _tell_void_and_skipped(merger: Merger, scene: Scene) -> None:
    """Says so where no tile held data, as `rsvl.runtime.tasks.tiles` does, and which tiles failed."""
    reading = getattr(scene, "reading", None)
    if reading is None:
        return
    if not merger.looked_at():
        reading.tell_void()
    for skipped in merger.skipped():
        reading.skipped.append({"window": list(skipped.window), "reason": skipped.reason})
    if reading.skipped:
        count = len(reading.skipped)
        tiles = "a tile" if count == 1 else f"{count} tiles"
        reading.add(f"{tiles} failed and count as no data: {reading.skipped[0]['reason']}")


@contextmanager
def _folder(plan: Plan, folder: Path) -> Iterator[Path]:
    """The folder of a plan's parts, for this process alone; those of another plan and unfinished files are removed.

    Raises:
        OutputError: it cannot be used, or holds something else.
    """
    about = plan.to_dict()
    with ExitStack() as stack:
        try:
            folder.mkdir(exist_ok=True)
            stack.enter_context(exclusive(folder))
            others = [path for path in folder.iterdir() if not _is_ours(path)]
            if others:
                raise OutputError(f"{folder}: holds {others[0].name}, which is no part of a scene: choose another -o")
            if hash_in(folder) != about["plan_sha256"]:
                for path in folder.iterdir():
                    path.unlink()
                write_text(folder / PLAN, json.dumps(about, indent=1) + "\n")
            for path in folder.glob(".*.tmp*"):
                path.unlink()
        except OSError as error:
            reason = error.strerror or str(error)
            raise OutputError(
                f"{folder}: cannot be used for parts ({reason}): choose another folder with -o"
            ) from error
        yield folder


def _is_ours(path: Path) -> bool:
    return (
        path.name == PLAN or path.match("part-*.npz") or path.match(".part-*.tmp.npz") or path.match(".plan.*.tmp.json")
    )


@dataclass
class _Meter:
    """Counts, and tells progress with the rate and the time that is left."""

    progress: Progress
    total: int
    unit: str
    stage: str = ""
    count: int = 0
    started: float = field(default_factory=time.monotonic)

    def __call__(self, more: int) -> None:
        self.count += more
        rate = self.count / max(time.monotonic() - self.started, 1e-6)
        left = (self.total - self.count) / rate
        self.progress(self.count, self.total, self.stage, f"{rate:.1f} {self.unit}/s, {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes // 60} h {minutes % 60} min"
        if minutes >= 60
        else f"{minutes} min {rest} s"
        if minutes
        else f"{rest} s"
    )
