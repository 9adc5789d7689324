"""An answer in the form that is asked for: JSON, overlay, GeoTIFF, GeoJSON, outlines in pixels."""

from __future__ import annotations

import base64
import io
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rsvl.runtime.errors import UsageError
from rsvl.runtime.results import geojson, overlay
from rsvl.runtime.results.base import Result, SpatialResult
from rsvl.runtime.results.saving import save
from rsvl.runtime.service.problems import RequestError

JSON, PNG, TIFF, GEOJSON = "application/json", "image/png", "image/tiff", "application/geo+json"
_FORMS = {"json": JSON, "png": PNG, "geotiff": TIFF, "geojson": GEOJSON, "outlines": JSON}
_BY_TYPE = {JSON: "json", PNG: "png", TIFF: "geotiff", GEOJSON: "geojson"}
_JPEG_QUALITY = 85


class Answer(NamedTuple):
    """The body of a response and its media type."""

    body: bytes
    media_type: str


def negotiated(accept: str, form: str | None) -> str:
    """The form of an answer, from ``format`` or the header ``Accept``.

    Raises:
        RequestError: none of what is accepted can be given.
    """
    if form is not None:
        return form
    wanted = []
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        media_type, *parameters = (word.strip().lower() for word in part.split(";"))
        wanted.append((-_quality(parameters), media_type))
    for quality, media_type in sorted(wanted, key=lambda each: each[0]):
        if quality < 0:
            if media_type in _BY_TYPE:
                return _BY_TYPE[media_type]
            if media_type in ("*/*", "application/*"):
                return "json"
            if media_type == "image/*":
                return "png"
    raise RequestError(406, f"no answer of that type: accept {', '.join(_BY_TYPE)}")


def _quality(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def answer_in(form: str, results: Sequence[Result], about: dict[str, Any]) -> Answer:
    """Results in a form.

    Args:
        form: the form.
        results: of one query, at least one.
        about: what the JSON says besides.

    Raises:
        RequestError: the results have no such form (406).
        UsageError: a GeoJSON of an image whose place is not known.
        MissingComponentError: a GeoTIFF without rasterio.
    """
    if form == "json":
        return Answer(as_json(about | {"found": [result.to_dict() for result in results]}), JSON)
    spatial = [result for result in results if isinstance(result, SpatialResult)]
    if not spatial:
        raise RequestError(406, f"this model's answers lie in no image, so they have no form {form}: ask for json")
    return Answer(_spatial(form, spatial), _FORMS[form])


def _spatial(form: str, results: Sequence[SpatialResult]) -> bytes:
    if form == "png":
        return encoded(overlay.draw(results), "PNG")
    if form == "outlines":
        return as_json(geojson.in_pixels(results))
    if form == "geojson":
        if not geojson.is_placed(results):
            raise UsageError("it is not known where on Earth the image lies: ask for the format outlines, in pixels")
        return as_json(geojson.collection(results))
    if any(result.mask is None for result in results):
        raise RequestError(406, "this model gives boxes and no masks: ask for geojson, outlines, png or json")
    with tempfile.TemporaryDirectory(prefix="rsvl-answer-") as folder:
        path = Path(folder) / "masks.tif"
        save(results, path)
        return path.read_bytes()


def mask_png(mask: np.ndarray) -> str:
    """A mask, bool [H, W], as a PNG in base64."""
    return base64.b64encode(encoded(Image.fromarray(mask), "PNG", compress_level=1)).decode()


def preview_jpeg(pixels: np.ndarray) -> bytes:
    """An image, uint8 [h, w, 3], as a JPEG."""
    return encoded(Image.fromarray(pixels), "JPEG", quality=_JPEG_QUALITY)


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """An image as a file's bytes."""
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def as_json(value: Any) -> bytes:
    """Values as JSON; what is not finite, which JSON has no word for, becomes null."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False).encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value
