"""Short requests: an image and sentences, answered at once."""

from __future__ import annotations

import base64
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request

from rsvl.runtime.images.formats import VRT, identify
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import Scene, open_scene
from rsvl.runtime.images.size import image_size
from rsvl.runtime.progress import Progress
from rsvl.runtime.results.base import Result
from rsvl.runtime.results.objects import ObjectFilter, in_pixels
from rsvl.runtime.service.bundles import ServedBundle
from rsvl.runtime.service.forms import Answer, answer_in, mask_png, preview_jpeg
from rsvl.runtime.service.inputs import Inputs, ShortInputs
from rsvl.runtime.service.limits import Limits
from rsvl.runtime.service.problems import RequestError, one_line
from rsvl.runtime.service.roots import Roots
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.tiles import plan_scene

SENSORS = {"image": "optical", "sar": "sar"}
"""The sensor of each field that has an image."""
_FILTERS = {"min-score", "min-area", "limit", "simplify"}
"""Options that concern a mask's objects."""


@dataclass
class Images:
    """The images of a request.

    Attributes:
        paths: their files, by sensor.
        names: what the client calls each file, by its path.
        uploads: the files that came with the request.
    """

    paths: dict[str, Path] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    uploads: list[Path] = field(default_factory=list)

    def add(self, sensor: str, path: Path, name: str) -> None:
        """Adds an image."""
        self.paths[sensor] = path
        self.names[str(path)] = name

    def remove_uploads(self) -> None:
        """Removes what came with the request."""
        for path in self.uploads:
            path.unlink(missing_ok=True)


async def read_request(request: Request, limits: Limits, folder: Path, key: str = "") -> tuple[dict[str, Any], Images]:
    """What a request says, by field, and the images that came with it, as files of a folder.

    Args:
        request: of JSON or of a form (multipart/form-data).
        limits: what is refused.
        folder: where files go.
        key: a field of a form whose value is JSON with all others.

    Raises:
        RequestError: neither of the two, or not as it should be.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        try:
            values = await request.json()
        except (ValueError, RecursionError) as error:
            raise RequestError(400, f"the body is no JSON ({error}): send one object") from error
        if not isinstance(values, dict):
            raise RequestError(400, "the body is JSON and no object: send one object")
        return values, Images()
    if kind != "multipart/form-data":
        raise RequestError(415, "send a form (multipart/form-data) with an image, or application/json that names one")
    return await _read_form(request, limits, folder, key)


async def _read_form(request: Request, limits: Limits, folder: Path, key: str) -> tuple[dict[str, Any], Images]:
    fields = limits.sentences + 64
    values: dict[str, Any] = {}
    images = Images()
    try:
        async with request.form(max_files=len(SENSORS), max_fields=fields, max_part_size=limits.json_bytes) as form:
            for name, value in form.multi_items():
                if isinstance(value, UploadFile):
                    await _keep(name, value, images, folder)
                elif name == "text":
                    values.setdefault(name, []).append(value)
                elif name in values:
                    raise RequestError(422, f"{name[:50]} is given twice: give it once")
                else:
                    values[name] = value
    except BaseException:
        images.remove_uploads()
        raise
    return values, images


async def _keep(name: str, upload: UploadFile, images: Images, folder: Path) -> None:
    if name not in SENSORS or SENSORS[name] in images.paths:
        raise RequestError(422, f"a file in the field {name[:50]!r}: send one as image, or one as sar, or both")
    path = folder / uuid.uuid4().hex
    images.uploads.append(path)
    images.add(SENSORS[name], path, (upload.filename or name)[:200])
    if upload.size is not None and upload.size < 1 << 20:
        path.write_bytes(await upload.read())
    else:
        await run_in_threadpool(_copy, upload, path)
    if path.stat().st_size and _is_vrt(path):
        raise RequestError(422, f"{images.names[str(path)]}: a VRT names other files: send the image itself")


def _copy(upload: UploadFile, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(upload.file, file, 1 << 20)


def _is_vrt(path: Path) -> bool:
    try:
        return identify(path) is VRT
    except Exception:  # the same is found, and told, when it is opened
        return False


def add_named(images: Images, inputs: Inputs, roots: Roots) -> None:
    """Adds the images that a request names.

    Raises:
        RequestError: there is no such image, one is given twice, or there is none at all.
    """
    for name, sensor in SENSORS.items():
        given = getattr(inputs, name)
        if given is None:
            continue
        if sensor in images.paths:
            raise RequestError(422, f"{name} is sent and named: do one of both")
        images.add(sensor, roots.find(given), given)
    if not images.paths:
        raise RequestError(422, "no image: send one in the field image, or name one that GET /images lists")


def check_asked(bundle: ServedBundle, inputs: Inputs) -> None:
    """Refuses what does not go with a bundle, before anything is decoded.

    Raises:
        RequestError: an option without effect on its task; no text where it is needed, or text where none is taken.
    """
    unused = [option for option in inputs.given_options if option not in bundle.runner.options]
    if unused:
        raise RequestError(422, f"this model {bundle.runner.purpose}: leave {' and '.join(unused)} out")
    takes_text = bundle.runner.spec.text is not None
    if takes_text and not inputs.text:
        raise RequestError(422, "nothing is asked: say in text what to find, answer or tell apart")
    if inputs.text and not takes_text:
        raise RequestError(422, "this model takes no text: leave it out")
    if any(not text.strip() for text in inputs.text):
        raise RequestError(422, "a sentence is empty: leave it out")


def check_pixels(images: Images, limits: Limits) -> None:
    """Refuses images that are too large, by their headers.

    Raises:
        RequestError: one is (413).
        InputError: one cannot be read.
    """
    for path in images.paths.values():
        height, width = image_size(path)
        if height * width > limits.pixels:
            raise RequestError(
                413,
                f"{images.names[str(path)]}: {width} × {height} pixels, and at most {limits.pixels} are answered at "
                "once: send it as a job",
            )


def answer(
    bundle: ServedBundle, inputs: ShortInputs, images: Images, form: str, limits: Limits, progress: Progress
) -> Answer:
    """Asks a bundle and gives the answer in a form.

    Raises:
        RequestError: an image that is too large, or a form that the answer does not have.
        RsvlError: an image that cannot be read, or a query that cannot be answered.
    """
    started = time.perf_counter()
    check_pixels(images, limits)
    results = ask(bundle, inputs, images, progress)
    about: dict[str, Any] = {"bundle": bundle.label(), "warnings": _warnings(bundle, inputs)}
    about["read"] = [_named(reading.to_dict(), images.names) for reading in results[0].readings]
    about["seconds"] = round(time.perf_counter() - started, 6)
    if form != "json":
        return answer_in(form, results, about)
    if inputs.masks:
        about["masks"] = [mask_png(mask) for result in results if (mask := getattr(result, "mask", None)) is not None]
    if inputs.preview:
        about["preview"] = base64.b64encode(_preview(images, inputs)).decode()
    return answer_in(form, results, about)


def ask(bundle: ServedBundle, inputs: Inputs, images: Images, progress: Progress) -> list[Result]:
    """The results of a request."""
    runner, query = bundle.runner, inputs.query(images.paths, progress)
    if not isinstance(runner, Segmenter) or not _FILTERS & set(inputs.given_options):
        return list(runner.ask(query))
    sensor, _ = query.only_image
    scene = query.open(sensor, runner.image_for(sensor))
    grids = plan_scene(scene, runner.image_for(sensor), query.tile, query.overlap)
    keep = object_filter(inputs, scene, runner.cell_area(grids))
    return list(runner.ask(replace(query, images={sensor: scene}, keep=keep)))


def object_filter(inputs: Inputs, scene: Scene, cell: float) -> ObjectFilter:
    """Which objects are given of a scene.

    Args:
        inputs: what is asked.
        scene: the scene.
        cell: the default of the least area, in pixels.

    Raises:
        InputError: an area or length in metres, of a scene whose resolution is not known.
    """
    least = cell if inputs.min_area is None else in_pixels(inputs.min_area, scene, "min_area", 2)
    tolerance = 0.0 if inputs.simplify is None else in_pixels(inputs.simplify, scene, "simplify", 1)
    return ObjectFilter(inputs.min_score or 0.0, least, inputs.limit, tolerance)


def _warnings(bundle: ServedBundle, inputs: Inputs) -> list[str]:
    words = bundle.runner.unknown_words(inputs.text)
    return [f"the model does not know the words {', '.join(words[:8])}"] if words else []


def _named(reading: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {key: one_line(value, names) if isinstance(value, str) else value for key, value in reading.items()}


def _preview(images: Images, inputs: ShortInputs) -> bytes:
    sensor, path = next(iter(images.paths.items()))
    options = inputs.reading([sensor]).get(sensor, ReadOptions())
    scene = open_scene(path, None, replace(options, sensor=sensor))
    try:
        return preview_jpeg(scene.thumbnail(inputs.preview or 0))
    finally:
        scene.close()
