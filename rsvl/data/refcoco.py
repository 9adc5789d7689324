"""RefCOCO-style datasets: a pickle of references beside a COCO instances file (RRSIS-D, RRSIS-HR and `rsvl synth`).

Under the root lie ``<set>/refs(unc).p``, ``<set>/instances.json`` and the images in ``images/<set>/JPEGImages``. A
reference is a dict of ref_id, ann_id, image_id, category_id, split and sentences (each a dict with ``raw`` and
``sent``; the papers' code feeds ``raw``). A segmentation is a run-length code (compressed or not), a list of them, or
a list of polygons; several parts are united. References with ``no_target`` true and ``ann_id`` -1 have no target
(gRefCOCO's convention); a list of annotation ids refers to all of them together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.data.coco_masks import decode_segmentation
from rsvl.data.files import existing, existing_folder, inside, read_json
from rsvl.data.plain_pickle import load_plain_pickle
from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import DatasetError


@dataclass(frozen=True)
class RefCOCOLayout:
    """Where a RefCOCO-style dataset keeps its files, relative to its root.

    `images` lists folders in the order of preference: the first that exists is taken.
    """

    refs: str
    instances: str
    images: tuple[str, ...]


class RefCOCODataset(ReferringDataset):
    """One split of a RefCOCO-style dataset."""

    def __init__(self, name: str, root: Path, split: str, layout: RefCOCOLayout) -> None:
        """Reads the annotations; images and masks are read on request.

        Raises:
            DatasetError: a file is missing or not laid out as published, or the split has no references.
        """
        refs_path, instances_path = root / layout.refs, root / layout.instances
        refs = _references(load_plain_pickle(existing(refs_path, name)), refs_path)
        chosen = [ref for ref in refs if in_split(ref.get("split"), split)]
        if not chosen:
            splits = ", ".join(sorted({str(ref.get("split")) for ref in refs})) or "none"
            raise DatasetError(f"{refs_path} has no split {split!r}: it has {splits}")
        self.name, self.split = name, split
        self._records = _Index(
            read_json(existing(instances_path, name), "a COCO instances file"), instances_path
        ).records(chosen, existing_folder([root / folder for folder in layout.images], name))
        self.categories = tuple(sorted({r.category for record in self._records for r in record.referrings} - {""}))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        try:
            return decode_segmentation(referring.segmentation, record.height, record.width)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise DatasetError(
                f"reference {referring.ref_id} of {record.path.name}: its segmentation is damaged ({error})"
            ) from error


def in_split(found: object, wanted: str) -> bool:
    """Whether a reference's split is the wanted one; ``test`` takes in testA, testB …, as RefCOCO's own loader does."""
    return found == wanted or (wanted == "test" and isinstance(found, str) and found.startswith("test"))


class _Index:
    """The instances file by ids: plain dictionaries, so that tens of thousands of references load in seconds."""

    def __init__(self, instances: dict[str, Any], path: Path) -> None:
        self.path = path
        self.images = self._by_id(instances, "images")
        self.annotations = self._by_id(instances, "annotations")
        self.categories = {
            key: str(value.get("name", "")) for key, value in self._by_id(instances, "categories").items()
        }

    def _by_id(self, instances: dict[str, Any], table: str) -> dict[Any, dict[str, Any]]:
        try:
            return {entry["id"]: entry for entry in instances[table]}
        except (KeyError, TypeError) as error:
            raise DatasetError(f"{self.path} is not a COCO instances file: {table!r} is missing or damaged") from error

    def records(self, refs: Iterable[dict[str, Any]], images: Path) -> list[ImageRecord]:
        grouped: dict[Any, list[Referring]] = {}
        try:
            for ref in refs:
                grouped.setdefault(ref["image_id"], []).append(self._referring(ref))
            return [self._image(image_id, tuple(found), images) for image_id, found in grouped.items()]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DatasetError(f"references do not fit {self.path}: {error!r} is missing or damaged") from error

    def _image(self, image_id: Any, referrings: tuple[Referring, ...], folder: Path) -> ImageRecord:
        entry = self.images[image_id]
        return ImageRecord(inside(folder, entry["file_name"]), int(entry["width"]), int(entry["height"]), referrings)

    def _referring(self, ref: dict[str, Any]) -> Referring:
        ids = _annotation_ids(ref["ann_id"])
        annotations = [self.annotations[key] for key in ids]
        return Referring(
            ref_id=int(ref["ref_id"]),
            sentences=tuple(_text(sentence) for sentence in ref["sentences"]),
            category=self.categories.get(ref.get("category_id"), ""),
            bbox=_union_box([a["bbox"] for a in annotations if a.get("bbox")]),
            no_target=bool(ref.get("no_target")) or not ids,
            object_id=ids,
            segmentation=[part for a in annotations for part in _parts(a["segmentation"])],
        )


def _annotation_ids(value: Any) -> tuple[Any, ...]:
    values = value if isinstance(value, list | tuple) else (value,)
    return tuple(key for key in values if key is not None and key != -1)


def _parts(segmentation: Any) -> list[Any]:
    if isinstance(segmentation, dict):
        return [segmentation]
    flat = segmentation and isinstance(segmentation[0], int | float)
    return [segmentation] if flat else list(segmentation)


def _text(sentence: dict[str, Any] | str) -> str:
    text = sentence if isinstance(sentence, str) else sentence.get("raw") or sentence["sent"]
    if not isinstance(text, str):
        raise TypeError(f"a sentence that is a {type(text).__name__}")
    return text


def _union_box(boxes: Sequence[Sequence[float]]) -> tuple[float, float, float, float] | None:
    if not boxes:
        return None
    left, top = min(b[0] for b in boxes), min(b[1] for b in boxes)
    right, bottom = max(b[0] + b[2] for b in boxes), max(b[1] + b[3] for b in boxes)
    return float(left), float(top), float(right - left), float(bottom - top)


def _has_plain_keys(ref: dict[str, Any]) -> bool:
    """Whether what is looked up or shown is a number or a string: a stranger's nesting may take for ever."""
    plain = str | int | float | None
    return all(isinstance(ref.get(key), plain) for key in ("split", "image_id", "category_id", "ref_id")) and all(
        isinstance(key, plain) for key in _annotation_ids(ref.get("ann_id"))
    )


def _references(refs: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(refs, list) or not all(isinstance(ref, dict) and _has_plain_keys(ref) for ref in refs):
        raise DatasetError(f"{path} is not a list of references: download it again")
    return refs
