"""OptSAR-RSVG as published: optical and SAR images, COCO's JSON with one description per box.

    train.json, val.json, test.json    `images`, `annotations` with caption and bbox, `categories`
    images/train/, images/val/, …      opt_000001.jpg …, sar_000001.jpg …
    labels/                            the boxes again, without sentences; not needed

The first word of an annotation's `category_name`, ``optical`` or ``sar``, is the image's sensor. As the authors do, the
reader skips annotations without a caption or a box, and crowds. There are no masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.data.files import existing_folder, inside, read_json
from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import DatasetError

SENSORS = ("optical", "sar")


class OptSARRSVGDataset(ReferringDataset):
    """One split of OptSAR-RSVG. Annotations of one image with the same box are one object described twice."""

    has_masks = False

    def __init__(self, name: str, root: Path, split: str) -> None:
        """Reads the split's annotations; no image is opened.

        Raises:
            DatasetError: a file is missing or damaged, an image has annotations of both sensors, or nothing is
                described.
        """
        self.name, self.split = name, split
        path = root / f"{split}.json"
        if not path.is_file():
            found = ", ".join(sorted(p.stem for p in root.glob("*.json"))) or "none"
            raise DatasetError(f"{name}: {path} is missing: the splits under the root are: {found}")
        data = read_json(path, "a COCO annotation file")
        folder = existing_folder([root / "images" / split], name)
        try:
            self._records = _records(data, folder)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path}: {error!r} is missing or damaged: download it again") from error
        if not self._records:
            raise DatasetError(f"{path} describes nothing: download it again")
        self.categories = tuple(sorted({r.category for record in self._records for r in record.referrings}))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        raise DatasetError(f"{self.name} has boxes only, no masks: take a dataset for segmentation, such as rrsis-d")


def _records(data: dict[str, Any], folder: Path) -> list[ImageRecord]:
    categories = {entry["id"]: str(entry["name"]) for entry in data["categories"]}
    of_image: dict[Any, list[dict[str, Any]]] = {entry["id"]: [] for entry in data["images"]}
    for annotation in data["annotations"]:
        if _is_described(annotation):
            of_image[annotation["image_id"]].append(annotation)
    return [
        _image(entry, of_image[entry["id"]], categories, folder) for entry in data["images"] if of_image[entry["id"]]
    ]


def _is_described(annotation: dict[str, Any]) -> bool:
    _, _, width, height = (float(value) for value in annotation["bbox"])
    return bool((annotation.get("caption") or "").strip()) and not annotation.get("iscrowd") and min(width, height) > 0


def _image(
    entry: dict[str, Any], annotations: Iterable[dict[str, Any]], categories: dict[Any, str], folder: Path
) -> ImageRecord:
    referrings = tuple(
        _referring(annotation, str(annotation.get("category_name") or categories[annotation["category_id"]]))
        for annotation in annotations
    )
    file, sensors = inside(folder, entry["file_name"]), {referring.category.split(" ")[0] for referring in referrings}
    if len(sensors) > 1 or not sensors <= set(SENSORS):
        raise ValueError(f"{file.name} shows {' and '.join(sorted(sensors))} objects, not those of one sensor")
    return ImageRecord(file, int(entry["width"]), int(entry["height"]), referrings, sensors.pop())


def _referring(annotation: dict[str, Any], category: str) -> Referring:
    left, top, width, height = (float(value) for value in annotation["bbox"])
    box = (left, top, width, height)
    return Referring(int(annotation["id"]), (annotation["caption"].strip(),), category.lower(), box, object_id=box)
