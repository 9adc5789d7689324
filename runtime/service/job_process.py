"""What a job's own process does: the bundle's answer for a scene, block by block, as files in the job's folder."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import replacing
from rsvl.runtime.bundle import MANIFEST, sha256
from rsvl.runtime.errors import BundleError
from rsvl.runtime.images import raster
from rsvl.runtime.images.area import Area, AreaScene, read_area, to_pixels
from rsvl.runtime.loading import load
from rsvl.runtime.processes import follow_parent
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.image_files import save_all
from rsvl.runtime.results.saving import save
from rsvl.runtime.scenes.find import plan_by_blocks, run_planned
from rsvl.runtime.service.forms import as_json, preview_jpeg
from rsvl.runtime.service.inputs import JobInputs
from rsvl.runtime.service.problems import one_line, problem_of
from rsvl.runtime.service.short_requests import object_filter
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.tiles import plan_scene

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
        return self.results / f"{STEM}.parts"

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
    follow_parent()
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
    query = inputs.query(order.images, _Told(told))
    if isinstance(runner, (Segmenter, Grounder)):
        results: Sequence[Result] = _located(order, inputs, runner, query, told)
    else:
        results = runner.ask(query)
        save_all(results, order.results, STEM)
    read = [reading.to_dict() for reading in results[0].readings]
    for reading in read:
        reading["source"] = one_line(reading["source"], order.names)
    about = {"bundle_sha256": order.sha256, "warnings": runner.unknown_words(inputs.text), "read": read}
    _write(order.results / ANSWER, as_json({**about, "found": [result.to_dict() for result in results]}))


def _located(
    order: Order, inputs: JobInputs, runner: Segmenter | Grounder, query: Query, told: Connection
) -> Sequence[SpatialResult]:
    """Masks and boxes, with all their files; as `rsvl run` does it, a scene of one block at once."""
    (sensor, source), area = query.only_image, _area(inputs)
    scene = query.open(sensor, runner.image_for(sensor))
    if area is not None:
        scene = AreaScene(scene, to_pixels(area, scene.georeference, str(source)))
    _write(order.results / PREVIEW, preview_jpeg(scene.thumbnail(_PREVIEW_SIDE)))
    grids = plan_scene(scene, runner.image_for(sensor), query.tile, query.overlap)
    if isinstance(runner, Segmenter):
        query = replace(query, keep=object_filter(inputs, scene, runner.cell_area(grids)))
    plan = plan_by_blocks(runner, query, scene, area, inputs.probability, order.threads)
    if plan is not None:
        query, stem = replace(query, progress=_Told(told, sum(map(len, grids)))), order.results / STEM
        results: Sequence[SpatialResult] = run_planned(
            plan, runner, query, scene, stem, order.workers, geotiff=True, keep_parts=True
        )[0]
    else:
        results = runner.ask(replace(query, images={sensor: scene}))
    save_all(results, order.results, STEM, geotiff=raster.available(), geojson=True)
    pixels = order.results / f"{STEM}-{results[0].shapes}.json"
    if not pixels.exists():
        save(results, pixels)
    return results


def _area(inputs: JobInputs) -> Area | None:
    return None if inputs.aoi is None else read_area(",".join(map(str, inputs.aoi)))


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


class _Told:
    """Progress as a share of the whole job: nine tenths are the tiles, those of earlier runs included."""

    def __init__(self, told: Connection, tiles: int | None = None) -> None:
        self._told, self._tiles, self._last = told, tiles, 0.0

    def __call__(self, done: float, total: float, stage: str = "", detail: str = "") -> None:
        if stage:
            share, tiles = 0.9 + 0.09 * done / max(total, 1), 0.0
        else:
            whole = max(self._tiles or total, 1)
            share, tiles = 0.9 * (whole - total + done) / whole, done - self._last
            self._last = done
        self._told.send(("progress", share, f"{stage} {detail}".strip(), tiles))
