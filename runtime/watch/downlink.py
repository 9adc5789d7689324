"""What is sent down within a budget of bytes: the best objects first, as compact GeoJSON, then masks."""

from __future__ import annotations

import gzip
import heapq
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import OutputError

_DEGREES, _PIXELS = 6, 1
"""Digits after the point: 0.1 m, and a tenth of a pixel."""
_SMALLEST = 20
"""Bytes below which no object comes, compressed: so many need be looked at, and no more."""
_LARGE = 4
"""An outline of more than this part of the budget is sent as its box."""
_OUTLINES = ("-outlines.geojson", "-boxes.geojson", "-outlines.json", "-boxes.json")
_MASKS = "-masks.tif"


@dataclass(frozen=True)
class Answered:
    """A scene that is done.

    Attributes:
        stem: what the names of its results begin with.
        priority: of the scene.
        files: its results.
        summary: what else is sent of it, as JSON takes it.
    """

    stem: str
    priority: float
    files: Sequence[Path]
    summary: dict[str, Any]


@dataclass(frozen=True)
class Package:
    """What was chosen.

    Attributes:
        files: to send, the objects first.
        size: of them all, in bytes.
        objects: how many are in it.
        left_out: how many are not.
        masks: how many masks are in it.
        masks_left_out: how many are not.
    """

    files: Sequence[Path]
    size: int
    objects: int
    left_out: int
    masks: int
    masks_left_out: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "bytes": self.size,
            "objects": self.objects,
            "left_out": self.left_out,
            "masks": self.masks,
            "masks_left_out": self.masks_left_out,
            "files": [str(path) for path in self.files],
        }


def write_package(folder: Path, name: str, scenes: Sequence[Answered], budget: int) -> Package:
    """Writes what is sent down of some scenes; the same scenes give the same bytes.

    `NAME.geojson.gz` holds the objects of the largest score times priority, as many as fit: with their outlines in six
    digits of a degree, or their boxes where an outline alone would take a quarter of the budget; `t` is the sentence or
    its name, `s` the score, `a` the area, `scene` where it was found. What is left of the budget takes whole masks,
    those of the scene with the best object first. Where the budget is too small even for the scenes' summaries,
    nothing is written.

    Args:
        folder: where to.
        name: of the package.
        scenes: what was answered.
        budget: bytes.

    Raises:
        OutputError: a file cannot be written.
    """
    ranked, total = _best(scenes, budget // _SMALLEST, budget // _LARGE)
    summaries = [{"scene": scene.stem, **scene.summary} for scene in scenes]

    def packed(count: int) -> bytes:
        about = {"scenes": summaries, "left_out": total - count}
        text = {"type": "FeatureCollection", "rsvl": about, "features": [feature for _, feature in ranked[:count]]}
        return gzip.compress(json.dumps(text, separators=(",", ":"), ensure_ascii=False).encode(), 9, mtime=0)

    count = _largest(len(ranked), lambda number: len(packed(number)) <= budget)
    files, size = list[Path](), 0
    if count is not None:
        data, path = packed(count), folder / f"{name}.geojson.gz"
        with replacing(path) as temporary:
            temporary.write_bytes(data)
        files, size = [path], len(data)
    masks = _masks_by_rank(scenes, ranked)
    for mask in masks if count is not None else ():
        if (bytes_of_mask := mask.stat().st_size) <= budget - size:
            files.append(folder / f"{name}-{mask.name}" if len(scenes) > 1 else folder / mask.name)
            with replacing(files[-1]) as temporary:
                shutil.copyfile(mask, temporary)
            size += bytes_of_mask
    sent = max(0, len(files) - 1)
    return Package(files, size, count or 0, total - (count or 0), sent, len(masks) - sent)


def _best(scenes: Iterable[Answered], most: int, largest: int) -> tuple[list[tuple[float, dict[str, Any]]], int]:
    """The best objects of scenes, ranked, and how many there are in all."""
    total = 0
    heap: list[tuple[float, int, dict[str, Any]]] = []
    for scene in scenes:
        for feature in _features(scene):
            total += 1
            rank = (float(feature["properties"]["score"]) * scene.priority, -total)
            entry = (*rank, _compact(feature, scene.stem, largest))
            if len(heap) < most:
                heapq.heappush(heap, entry)
            elif heap and rank > heap[0][:2]:
                heapq.heapreplace(heap, entry)
    return [(score, feature) for score, _, feature in sorted(heap, key=lambda each: each[:2], reverse=True)], total


def _features(scene: Answered) -> Iterator[dict[str, Any]]:
    """The objects of a scene as features, those of an image without a place in pixels.

    Raises:
        OutputError: the file is not what was written.
    """
    for path in scene.files:
        if not path.name.endswith(_OUTLINES):
            continue
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            yield from data["features"] if "features" in data else map(_from_pixels, data["objects"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{path}: cannot be read any more: the scene's objects are not sent down") from error


def _from_pixels(item: dict[str, Any]) -> dict[str, Any]:
    about = {key: value for key, value in item.items() if key not in ("id", "polygons")}
    geometry = {"type": "MultiPolygon", "coordinates": item["polygons"]}
    return {"type": "Feature", "id": item["id"], "properties": {**about, "pixels": True}, "geometry": geometry}


def _compact(feature: dict[str, Any], scene: str, largest: int) -> dict[str, Any]:
    about = feature["properties"]
    in_pixels = about.get("pixels", False)
    properties = {"scene": scene, "t": about.get("name") or about["text"], "s": round(about["score"], 3)}
    properties["a"] = round(about["area"])
    digits = _PIXELS if in_pixels else _DEGREES
    geometry = {**feature["geometry"], "coordinates": _rounded(feature["geometry"]["coordinates"], digits)}
    if len(json.dumps(geometry)) > largest and about.get("oriented_box"):
        corners = _rounded(about["oriented_box"], digits)
        geometry = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
        properties["box"] = True
    if in_pixels:
        properties["pixels"] = True
    return {"type": "Feature", "id": feature["id"], "properties": properties, "geometry": geometry}


def _rounded(value: Any, digits: int) -> Any:
    return [_rounded(each, digits) for each in value] if isinstance(value, list) else round(value, digits)


def _masks_by_rank(scenes: Sequence[Answered], ranked: Sequence[tuple[float, dict[str, Any]]]) -> list[Path]:
    best: dict[str, float] = {}
    for score, feature in ranked:
        best.setdefault(feature["properties"]["scene"], score)
    order = sorted(scenes, key=lambda scene: -best.get(scene.stem, 0.0))
    return [path for scene in order for path in scene.files if path.name.endswith(_MASKS)]


def _largest(most: int, fits: Any) -> int | None:
    """The largest number up to `most` that fits, where smaller ones fit too; None where 0 does not."""
    if not fits(0):
        return None
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
