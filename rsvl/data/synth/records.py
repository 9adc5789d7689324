"""Scenes as RRSIS-D's records: COCO annotations with run-length codes, and references with their sentences."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as run_length

from rsvl.data.synth.catalog import CATEGORIES, VARIANT_NOUNS
from rsvl.data.synth.scene import Expression, Scene, SceneObject


@dataclass(frozen=True)
class SceneRecord:
    """One scene's annotations as plain data, before it has ids.

    Attributes:
        file_name: its image.
        annotations: one per labelled object, in the scene's order.
        refs: (object's index or None without a target, category id, sentences).
    """

    file_name: str
    annotations: list[dict[str, Any]]
    refs: list[tuple[int | None, int, list[str]]]


def record(scene: Scene, file_name: str) -> SceneRecord:
    """Gather a scene's annotations, and its sentences by the object they name; each no-target sentence stands alone."""
    by_target: dict[int, list[str]] = {}
    for expression in scene.expressions:
        if expression.target is not None:
            by_target.setdefault(expression.target, []).append(expression.text)
    refs: list[tuple[int | None, int, list[str]]] = [
        (target, CATEGORIES[scene.objects[target].category].id, texts) for target, texts in sorted(by_target.items())
    ]
    refs += [(None, CATEGORIES[asked_category(e)].id, [e.text]) for e in scene.expressions if e.target is None]
    return SceneRecord(file_name, [_annotation(thing) for thing in scene.objects], refs)


def _annotation(thing: SceneObject) -> dict[str, Any]:
    """COCO annotation of an object. RRSIS-D wraps the run-length code in a list; its public loader expects that."""
    code = run_length.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
    height, width = thing.mask.shape
    return {
        "category_id": CATEGORIES[thing.category].id,
        "segmentation": [{"size": [height, width], "counts": code["counts"].decode("ascii")}],
        "bbox": list(thing.bbox),
        "obb": [round(value, 2) for value in thing.obb],
        "area": thing.area,
        "iscrowd": 0,
    }


def asked_category(expression: Expression) -> str:
    """The category that a sentence asks for, whether or not the scene has one."""
    noun = dict(expression.program)["noun"]
    for category, nouns in VARIANT_NOUNS.values():
        if noun in nouns:
            return category
    return next(category.name for category in CATEGORIES.values() if noun in category.nouns)


class Records:
    """The tables of a dataset; gives images, annotations, references and sentences their ids.

    Attributes:
        images: COCO images.
        annotations: COCO annotations, with `obb`.
        refs: references, RefCOCO style.
        scenes: number of scenes by split.
        sentences: number of sentences by split.
    """

    def __init__(self, seed: int, size: int) -> None:
        """Begin a dataset of square images of a size (pixels) made from a seed."""
        self.seed, self.size = seed, size
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.refs: list[dict[str, Any]] = []
        self.scenes = dict.fromkeys(("train", "val", "test"), 0)
        self.sentences = Counter(self.scenes)

    def add(self, made: SceneRecord, split: str) -> None:
        """Append a scene to a split."""
        image_id, first = len(self.images) + 1, len(self.annotations) + 1
        self.images.append({"id": image_id, "file_name": made.file_name, "width": self.size, "height": self.size})
        for offset, annotation in enumerate(made.annotations):
            self.annotations.append({"id": first + offset, "image_id": image_id, **annotation})
        for target, category_id, texts in made.refs:
            self.refs.append(
                {
                    "ref_id": len(self.refs) + 1,
                    "ann_id": -1 if target is None else first + target,
                    "image_id": image_id,
                    "category_id": category_id,
                    "split": split,
                    "file_name": made.file_name,
                    **self._sentences(texts, split),
                    **({"no_target": True} if target is None else {}),
                }
            )
        self.scenes[split] += 1

    def _sentences(self, texts: list[str], split: str) -> dict[str, Any]:
        """Sentences of a reference with their running ids."""
        first = self.sentences.total()
        self.sentences[split] += len(texts)
        ids = list(range(first, first + len(texts)))
        entries = [
            {"raw": text, "sent": text, "tokens": text.split(), "sent_id": i}
            for i, text in zip(ids, texts, strict=True)
        ]
        return {"sentences": entries, "sent_ids": ids}

    def instances(self) -> dict[str, Any]:
        """The COCO file's contents."""
        return {
            "info": {"description": "rsvl synthetic scenes", "seed": self.seed, "size": self.size},
            "images": self.images,
            "annotations": self.annotations,
            "categories": [{"id": c.id, "name": c.name, "supercategory": "object"} for c in CATEGORIES.values()],
        }
