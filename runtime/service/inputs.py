"""What a request may say, checked: one model for short requests, one for jobs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.progress import Progress
from rsvl.runtime.service.limits import Limits
from rsvl.runtime.service.problems import RequestError
from rsvl.runtime.tasks.query import Query

_Model = TypeVar("_Model", bound=BaseModel)
Form = Literal["json", "png", "geotiff", "geojson", "outlines"]

_COMMAND_OPTIONS = {"threshold": "threshold", "limit": "limit", "tile": "tile", "overlap": "overlap"}
_COMMAND_OPTIONS |= {"min_score": "min-score", "min_area": "min-area", "aoi": "aoi", "probability": "probability"}
_COMMAND_OPTIONS |= {"simplify": "simplify"}
_LENGTH = r"^\d+(\.\d*)?(px)?$"


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_name(value: Any) -> Any:
    """An image by its name, or by reference as OGC API - Processes has it: ``{"href": NAME}``."""
    if isinstance(value, Mapping) and set(value) <= {"href", "type"}:
        return value.get("href")
    return value


ImageName = Annotated[str, BeforeValidator(_as_name), Field(min_length=1, max_length=1000)]


class Inputs(BaseModel):
    """What is asked of an image; the names and meanings are those of `rsvl run`."""

    model_config = ConfigDict(extra="forbid")

    image: ImageName | None = Field(None, description="An image in a folder of the server, as GET /images names it.")
    sar: ImageName | None = Field(None, description="The SAR image of the same place, or the only image.")
    text: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        [], description="Sentences, questions or labels: one or several."
    )
    threshold: float | None = Field(None, ge=0, le=1, description="Probability above which a pixel or box counts.")
    tile: Literal["auto", "whole"] | Annotated[int, Field(ge=1, le=1 << 20)] = Field(
        "auto", description="Side of the tiles in pixels, auto, or whole (untiled)."
    )
    overlap: float = Field(0.25, ge=0, le=0.5, description="Least overlap of tiles, as a part of one.")
    limit: int | None = Field(None, ge=1, description="At most so many objects or boxes per sentence, or classes.")
    min_score: float | None = Field(None, ge=0, le=1, description="Least mean probability of an object.")
    min_area: str | None = Field(
        None, pattern=_LENGTH, max_length=30, description="Least area of an object, in m² or as in 20px."
    )
    simplify: str | None = Field(
        None, pattern=_LENGTH, max_length=30, description="How far outlines may stray, in m or as in 1.5px."
    )
    bands: str | None = Field(None, max_length=200, description="Bands to show, three or one, by number or name.")
    stretch: str | None = Field(None, max_length=50, description="LO,HI, a percentile, none, or db….")
    nodata: str | None = Field(None, max_length=50, description="The value that means no data, or none.")
    crs: str | None = Field(None, max_length=5000, description="Coordinate system of an image that does not say it.")

    @property
    def given_options(self) -> list[str]:
        """The options of `rsvl run` that are given and that only some tasks have."""
        return [option for field, option in _COMMAND_OPTIONS.items() if field in self.model_fields_set]

    def reading(self, sensors: Sequence[str]) -> dict[str, ReadOptions]:
        """How the images are to be read, by sensor; what is given is meant for the first.

        Raises:
            UsageError: one of the options means nothing.
        """
        options = ReadOptions.parse(self.bands, self.stretch, self.nodata, self.crs)
        return {sensors[0]: options} if options != ReadOptions() else {}

    def query(self, images: Mapping[str, Path], progress: Progress) -> Query:
        """What is asked, of images by sensor.

        Raises:
            UsageError: as for `reading`.
        """
        return Query(
            images=dict(images),
            texts=self.text,
            threshold=self.threshold,
            tile=self.tile,
            overlap=self.overlap,
            limit=self.limit,
            progress=progress,
            reading=self.reading(list(images)),
        )


class ShortInputs(Inputs):
    """What is asked in a short request."""

    format: Form | None = Field(None, description="The form of the answer, where Accept does not say it.")
    masks: bool = Field(False, description="Whether the JSON has each mask, as a PNG in base64, 255 inside.")
    preview: int | None = Field(
        None, ge=16, le=4096, description="Longest side of the image that the JSON has, as a JPEG in base64."
    )


class JobInputs(Inputs):
    """What is asked of a scene."""

    aoi: tuple[float, float, float, float] | None = Field(
        None, description="Only there: west, south, east and north in degrees."
    )
    probability: bool = Field(False, description="Whether a GeoTIFF of probabilities is wanted, too.")


def checked(model: type[_Model], values: Any, limits: Limits) -> _Model:
    """Values as a model.

    Raises:
        RequestError: one is missing, unknown, or of another type or range (422); too many or too long sentences (413).
    """
    try:
        found = model.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"] if not re.search(r"[\[({]", str(part)))
        raise RequestError(422, f"{where[:100] or 'body'}: {first['msg']}: GET /api has what may be given") from error
    texts = getattr(found, "text", [])
    if len(texts) > limits.sentences:
        raise RequestError(413, f"{len(texts)} sentences: ask at most {limits.sentences} at once")
    longest = max(map(len, texts), default=0)
    if longest > limits.letters:
        raise RequestError(413, f"a sentence of {longest} characters: give at most {limits.letters}")
    return found
