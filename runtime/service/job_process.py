"""What a job's own process does: the bundle's answer for a scene, block by block, as files in the job's folder."""

from __future__ import annotations

import os
import signal
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import replacing
from rsvl.runtime.bundle import MANIFEST, sha256
from rsvl.runtime.errors import BundleError
from rsvl.runtime.images import raster
from rsvl.runtime.images.area import AreaScene, read_area, to_pixels
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import Scene
from rsvl.runtime.loading import load
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.image_files import save_all
from rsvl.runtime.results.saving import save
from rsvl.runtime.scenes.plan import Plan, hashes_of
from rsvl.runtime.scenes.scene_run import SceneFiles, ground_scene, run_scene
from rsvl.runtime.scenes.work import Located, blocks_of, end_with_parent
from rsvl.runtime.service.forms import as_json, preview_jpeg
from rsvl.runtime.service.inputs import JobInputs
from rsvl.runtime.service.problems import one_line, problem_of
from rsvl.runtime.service.short_requests import object_filter
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner
from rsvl.runtime.tasks.segmentation import Segmenter

STEM = "scene"
PREVIEW, ANSWER = "preview.jpg", "answer.json"
_PREVIEW_SIDE = 2048
_NICE = 5
"""A job takes what short requests leave."""


@dataclass(frozen=True)
class Order:
    """What a job's process is told.

    Attributes:
        bundle: the bundle's folder or file.
        sha256: of the manifest that is served.
        provider: what runs it.
        threads: CPU threads.
        workers: processes that do blocks.
        images: the scene's files, by sensor.
        names: what the client calls each file.
        inputs: what is asked.
        folder: the job's.
    """

    bundle: Path
    sha256: str
    provider: str
    threads: int | None
    workers: int
    images: Mapping[str, Path]
    names: Mapping[str, str]
    inputs: dict[str, Any]
    folder: Path

    @property
    def parts(self) -> Path:
        """The folder of the parts."""
        return self.folder / "parts"

    @property
    def results(self) -> Path:
        """The folder of the results."""
        return self.folder / "results"


def run_job(order: Order, told: Connection) -> None:
    """Does a job. Called in a process of its own, which ends with its parent.

    Args:
        order: what is to be done.
        told: gets ``("progress", share, line, tiles)``; at the end ``("done",)`` or ``("failed", status, line, why)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")  # what is guessed of an image is in the answer
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        _do(order, told)
    except Exception as error:
        problem = problem_of(error, order.names)
        told.send(("failed", problem.status, problem.detail, "".join(traceback.format_exception(error))))
    else:
        told.send(("done",))


def _do(order: Order, told: Connection) -> None:
    order.results.mkdir(parents=True, exist_ok=True)
    runner = load(order.bundle, order.provider, order.threads)
    if sha256(runner.bundle.root / MANIFEST) != order.sha256:
        raise BundleError("the bundle on the disk is another than the one that is served: reload it, and ask again")
    inputs = JobInputs.model_validate(order.inputs)
    sensors = list(order.images)
    query = Query(
        images=dict(order.images),
        texts=inputs.text,
        threshold=inputs.threshold,
        tile=inputs.tile,
        overlap=inputs.overlap,
        limit=inputs.limit,
        progress=_Told(told),
        reading=inputs.reading(sensors),
    )
    if isinstance(runner, (Segmenter, Grounder)):
        results: Sequence[Result] = _located(order, inputs, runner, query)
    else:
        results = runner.ask(query)
        save_all(results, order.results, STEM)
    read = [reading.to_dict() for reading in results[0].readings]
    for reading in read:
        reading["source"] = one_line(reading["source"], order.names)
    about = {"bundle_sha256": order.sha256, "warnings": runner.unknown_words(inputs.text), "read": read}
    _write(order.results / ANSWER, as_json({**about, "found": [result.to_dict() for result in results]}))


def _located(order: Order, inputs: JobInputs, runner: Segmenter | Grounder, query: Query) -> Sequence[Result]:
    """Masks and boxes, with all their files."""
    scene = _open(query, inputs, runner)
    _write(order.results / PREVIEW, preview_jpeg(scene.thumbnail(_PREVIEW_SIDE)))
    results = _by_blocks(order, inputs, runner, query, scene)
    if results is None:
        sensor, _ = query.only_image
        query = replace(query, images={sensor: scene})
        if isinstance(runner, Segmenter):
            grid = blocks_of(_plan(order, inputs, runner, query), scene, runner).grid
            query = replace(query, keep=object_filter(inputs, scene, runner.cell_area(grid)))
        results = runner.ask(query)
    save_all(results, order.results, STEM, geotiff=raster.available(), geojson=True)
    spatial = [result for result in results if isinstance(result, SpatialResult)]
    pixels = order.results / f"{STEM}-{spatial[0].shapes}.json"
    if not pixels.exists():
        save(spatial, pixels)
    return results


def _by_blocks(
    order: Order, inputs: JobInputs, runner: Segmenter | Grounder, query: Query, scene: Scene
) -> Sequence[Result] | None:
    """As `rsvl run` does it; None for a scene of one block, which is done at once."""
    if not raster.available() or query.tile == "whole":
        return None
    plan = _plan(order, inputs, runner, query, scene)
    blocks = blocks_of(plan, scene, runner)
    if len(blocks) == 1 and not plan.probability:
        return None
    plan = replace(plan, hashes=hashes_of(plan.scene, runner.bundle))
    tiles = sum(blocks.tile_count(block) for block in range(len(blocks)))
    progress = _Told(query.progress.told, tiles)  # type: ignore[attr-defined]
    try:
        if isinstance(runner, Grounder):
            return ground_scene(plan, runner, scene, order.parts, inputs.limit, order.workers, progress, True)
        probability = order.results / f"{STEM}-probability.tif" if plan.probability else None
        files = SceneFiles(order.parts, order.results / f"{STEM}-masks.tif", probability)
        keep = object_filter(inputs, scene, runner.cell_area(blocks.grid))
        return run_scene(plan, runner, scene, files, keep, order.workers, progress, True)
    finally:
        scene.close()


def _open(query: Query, inputs: JobInputs, runner: Runner) -> Scene:
    sensor, source = query.only_image
    scene = query.open(sensor, runner.image_for(sensor))
    if inputs.aoi is None:
        return scene
    return AreaScene(scene, to_pixels(_area(inputs), scene.georeference, str(source)))


def _area(inputs: JobInputs) -> Any:
    return read_area(",".join(map(str, inputs.aoi or ())))


def _plan(order: Order, inputs: JobInputs, runner: Located, query: Query, scene: Scene | None = None) -> Plan:
    sensor = next(iter(query.images))
    is_limited = inputs.aoi is not None and scene is not None
    return Plan(
        scene=order.images[sensor],
        bundle=order.bundle,
        provider=runner.provider,
        threads=order.threads,
        sentences=tuple(query.sentences),
        threshold=runner.spec.threshold if query.threshold is None else query.threshold,
        tile=query.tile,
        overlap=query.overlap,
        reading=replace(query.reading.get(sensor, ReadOptions()), sensor=sensor),
        area=to_pixels(_area(inputs), scene.georeference, STEM) if is_limited and scene is not None else None,
        probability=inputs.probability,
    )


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


class _Told:
    """Progress as a share of the whole job: nine tenths are the tiles, those of earlier runs included."""

    def __init__(self, told: Connection, tiles: int | None = None) -> None:
        self.told, self._tiles, self._last = told, tiles, 0.0

    def __call__(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        if stage:
            share, tiles = 0.9 + 0.09 * done / max(total, 1), 0.0
        else:
            whole = max(self._tiles or total, 1)
            share, tiles = 0.9 * (whole - total + done) / whole, done - self._last
            self._last = done
        self.told.send(("progress", share, f"{stage} {detail}".strip(), tiles))
