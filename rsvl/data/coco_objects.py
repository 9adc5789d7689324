"""Your own labelled images: a COCO annotation file of boxes and polygons, with sentences made from the labels.

Under the root lie the annotation file and the images that it names (``file_name``), relative to the root or in
``images/``. A split is

- ``all``: every image of ``annotations.json``, ``instances.json``, ``_annotations.coco.json`` or the only ``.json``;
- ``FIELD=VALUE,VALUE`` or ``FIELD!=VALUE``: of these, the images whose entry has, or has not, one of these values in a
  field, so that images of one place or flight stay in one split. A field that holds a web-mercator tile as [zoom, x, y]
  takes ``19/309606/261636`` for all that lies in it;
- another name, such as ``train``: the images whose field ``split`` says so, or the file ``train.json``,
  ``annotations/instances_train.json`` or ``train/_annotations.coco.json`` with images in ``train/``, too.

The sentences are those of `rsvl.data.label_sentences`. A class's name is its category's in lower case, in words.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.data.coco_masks import decode_segmentation
from rsvl.data.files import inside, read_json
from rsvl.data.label_facts import LabelFacts, LabelledObject
from rsvl.data.label_sentences import LabelSentence, sentences_for
from rsvl.data.records import Box, ImageRecord, Referring, ReferringDataset
from rsvl.data.views import View
from rsvl.runtime.errors import DatasetError

_FILES = ("annotations.json", "instances.json", "_annotations.coco.json")
_OF_SPLIT = ("{split}.json", "annotations/instances_{split}.json", "{split}/_annotations.coco.json")
_FOLDERS = (".", "images", "{split}", "images/{split}")
#: Corners of the ellipse in a box.
_CORNERS = 24


class COCOObjects(ReferringDataset):
    """One split of a COCO annotation file. Sentences are made when a record is taken, the same each time."""

    makes_sentences = True

    def __init__(self, name: str, root: Path, split: str, weak_masks: bool = False) -> None:
        """Reads the annotations; no image is opened.

        Args:
            name: the dataset's name.
            root: the folder of the annotation file.
            split: see the module.
            weak_masks: whether the ellipse that a box holds stands in for a mask that is not there.

        Raises:
            DatasetError: no annotation file, a damaged one, or no image in the split.
        """
        self.name, self.split = name, split
        path, chosen = _annotation_file(name, root, split)
        data = read_json(path, "a COCO annotation file")
        try:
            self.categories = tuple(sorted({_in_words(entry["name"]) for entry in _used(data)}))
            images = [entry for entry in data["images"] if chosen(entry)]
            objects = _objects(data, {entry["id"] for entry in images}, weak_masks)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path} is not a COCO annotation file: {error!r} is missing or damaged") from error
        if not images:
            raise DatasetError(f"{path} has no split {split!r}: {_choices(data['images'])}")
        if not self.categories:
            raise DatasetError(f"{path} labels nothing: it has no annotations")
        folder = _image_folder(name, root, split, images[0])
        self._records = [_image(entry, folder) for entry in images]
        self._objects = [tuple(objects.get(entry["id"], ())) for entry in images]
        self.has_masks = all(thing.segmentation for found in self._objects for thing in found)

    def _record(self, index: int) -> ImageRecord:
        record: ImageRecord = self._records[index]
        return self._described(
            record, self._objects[index], np.random.default_rng(zlib.crc32(record.path.name.encode()))
        )

    def viewed(self, index: int, view: View, rng: np.random.Generator) -> ImageRecord:
        """See `ReferringDataset.viewed`: sentences are made anew for what the view shows."""
        record: ImageRecord = self._records[index]
        width, height = view.size
        seen = [found for thing in self._objects[index] if (found := _seen(thing, view)) is not None]
        return self._described(replace(record, width=width, height=height, view=view), seen, rng)

    def _described(
        self, record: ImageRecord, objects: Sequence[LabelledObject], rng: np.random.Generator
    ) -> ImageRecord:
        facts = LabelFacts(objects, record.width, record.height)
        found = sentences_for(rng, facts, self.categories)
        return replace(record, referrings=tuple(_referring(k, each, objects) for k, each in enumerate(found)))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        if not all(referring.segmentation):
            raise DatasetError(
                f"{self.name}: {record.path.name} has boxes without a mask: take coco-weak-masks, which draws the "
                "ellipse in each box, or a dataset with masks"
            )
        parts = [part for parts in referring.segmentation for part in parts]
        try:
            return decode_segmentation(parts, record.height, record.width)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DatasetError(f"{record.path.name}: a segmentation of it is damaged ({error})") from error


def _referring(number: int, sentence: LabelSentence, objects: Sequence[LabelledObject]) -> Referring:
    named = [objects[i] for i in sentence.objects]
    return Referring(
        ref_id=number,
        sentences=sentence.texts,
        category=sentence.category,
        bbox=_union([thing.bbox for thing in named]) if named else None,
        no_target=not named,
        object_id=tuple(thing.key for thing in named),
        segmentation=[thing.segmentation for thing in named],
        boxes=tuple(thing.bbox for thing in named),
    )


def _union(boxes: Sequence[Box]) -> Box:
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    return left, top, right - left, bottom - top


def _annotation_file(name: str, root: Path, split: str) -> tuple[Path, Callable[[dict[str, Any]], bool]]:
    """The file, and which of its images are in the split."""
    for pattern in _OF_SPLIT:
        path = root / pattern.format(split=split)
        if "/" not in split and "=" not in split and path.is_file():
            return path, lambda image: True
    found = [root / file for file in _FILES if (root / file).is_file()] or sorted(root.glob("*.json"))
    if not found:
        raise DatasetError(f"{name}: {root / _FILES[0]} is missing: a COCO annotation file is expected there")
    if len(found) > 1 and found[0].name not in _FILES:
        files = ", ".join(path.name for path in found)
        raise DatasetError(f"{name}: {root} has several .json files ({files}): name the one to read {_FILES[0]}")
    return found[0], _filter(split)


def _filter(split: str) -> Callable[[dict[str, Any]], bool]:
    if split == "all":
        return lambda image: True
    field, equals, values = split.partition("=")
    if not equals:
        return lambda image: image.get("split") == split
    negative, field = field.endswith("!"), field.removesuffix("!")
    wanted = [value.strip() for value in values.split(",")]

    def chosen(image: dict[str, Any]) -> bool:
        if field not in image:
            return False
        return any(_is_value(image[field], value) for value in wanted) != negative

    return chosen


def _is_value(found: Any, wanted: str) -> bool:
    """Whether a field's value is the wanted one, or a tile within it."""
    if isinstance(found, list) and len(found) == 3:
        try:
            (zoom, x, y), (above, left, top) = (int(part) for part in found), (int(part) for part in wanted.split("/"))
        except ValueError:
            return False
        down = zoom - above
        return down >= 0 and (x >> down, y >> down) == (left, top)
    return str(found) == wanted


def _choices(images: Sequence[dict[str, Any]]) -> str:
    """What splits there are, in words."""
    own = sorted({str(image["split"]) for image in images if "split" in image})
    fields = sorted({key for image in images for key in image} - {"id", "file_name", "width", "height"})
    named = f"it has {', '.join(own)}; " if own else ""
    return f"{named}take all, or FIELD=VALUE by a field of its images ({', '.join(fields) or 'they have none'})"


def _image_folder(name: str, root: Path, split: str, image: dict[str, Any]) -> Path:
    folders = [root / folder.format(split=split) for folder in _FOLDERS if "=" not in split or "{" not in folder]
    for folder in folders:
        if inside(folder, image.get("file_name")).is_file():
            return folder
    raise DatasetError(f"{name}: {folders[0] / str(image['file_name'])} is missing: unpack the images under {root}")


def _image(entry: dict[str, Any], folder: Path) -> ImageRecord:
    sensor = str(entry.get("sensor", "optical"))
    return ImageRecord(inside(folder, entry["file_name"]), int(entry["width"]), int(entry["height"]), (), sensor)


def _used(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The categories that something is labelled as: a file may list some that nobody looked for."""
    used = {annotation["category_id"] for annotation in data["annotations"]}
    return [entry for entry in data["categories"] if entry["id"] in used]


def _in_words(name: str) -> str:
    return " ".join(str(name).replace("_", " ").replace("-", " ").split()).lower()


def _objects(data: dict[str, Any], images: set[Any], weak_masks: bool) -> dict[Any, list[LabelledObject]]:
    """The labelled objects of each image."""
    names = {entry["id"]: _in_words(entry["name"]) for entry in data["categories"]}
    found: dict[Any, list[LabelledObject]] = {}
    for annotation in data["annotations"]:
        if annotation["image_id"] in images:
            thing = _object(annotation, names[annotation["category_id"]], weak_masks)
            if thing is not None:
                found.setdefault(annotation["image_id"], []).append(thing)
    return found


def _object(annotation: dict[str, Any], category: str, weak_masks: bool) -> LabelledObject | None:
    """An annotation's object; None for a box without an inside, which public files have."""
    x, y, width, height = (float(value) for value in annotation["bbox"])
    if not all(math.isfinite(value) for value in (x, y, width, height)):
        raise ValueError(f"the box of annotation {annotation.get('id')}")
    if min(width, height) <= 0:
        return None
    box = (x, y, width, height)
    parts = _parts(annotation.get("segmentation"))
    area = float(annotation.get("area") or width * height)
    if not parts and weak_masks:
        parts, area = (ellipse(box),), area * math.pi / 4
    cut, crowd = bool(annotation.get("truncated")), bool(annotation.get("iscrowd"))
    return LabelledObject(category, box, area, cut, crowd, int(annotation["id"]), parts)


def _parts(segmentation: Any) -> tuple[Any, ...]:
    if not segmentation:
        return ()
    if isinstance(segmentation, dict):
        return (segmentation,)
    return (segmentation,) if isinstance(segmentation[0], int | float) else tuple(segmentation)


def ellipse(box: Box) -> list[float]:
    """The ellipse that a box (x, y, width, height) holds, as the polygon of x0, y0, x1, y1 and so on."""
    x, y, width, height = box
    angles = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    points = np.stack([x + width / 2 * (1 + np.cos(angles)), y + height / 2 * (1 + np.sin(angles))], axis=1)
    return [float(value) for value in points.ravel()]


def _seen(thing: LabelledObject, view: View) -> LabelledObject | None:
    """An object in a view's pixels, or None where none of it is seen."""
    x, y, width, height = thing.bbox
    corners = view.points(np.array([[x, y], [x + width, y + height]]))
    (left, top), (right, bottom) = corners.min(0), corners.max(0)
    whole = (right - left) * (bottom - top)
    low = np.maximum([left, top], 0)
    high = np.minimum([right, bottom], view.size)
    if (high - low).min() <= 0:
        return None
    share = float(np.prod(high - low) / whole)
    box = (float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1]))
    area = thing.area * whole / (width * height) * share
    parts = tuple(_part(part, view) for part in thing.segmentation)
    return replace(thing, bbox=box, area=area, cut=thing.cut or share < 0.99, visible=share, segmentation=parts)


def _part(part: Any, view: View) -> Any:
    """A polygon or run-length code in a view's pixels."""
    if not isinstance(part, dict):
        return [float(value) for value in view.points(np.array(part, np.float64).reshape(-1, 2)).ravel()]
    from pycocotools import mask as coco

    height, width = (int(side) for side in part["size"])
    shape = replace(view, gains=(1.0, 1.0, 1.0), offset=0.0)
    seen = shape.pixels(decode_segmentation([part], height, width).astype(np.uint8) * 255) > 127
    return coco.encode(np.asfortranarray(seen.astype(np.uint8)))
