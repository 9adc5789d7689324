"""How many of a class's objects a grounding bundle finds in real images by its name, and how many boxes are right.

    python -m rsvl.benchmarks.laboratory.class_boxes BUNDLE --data coco --root FOLDER --split FIELD=VALUE

asks "the car" of every image, in the tiles that the runtime takes, and matches all boxes over the threshold with the
labelled ones, best first, at an IoU of 0.5. An image without any counts too, by what is found in it. `--threshold` may
be repeated, to choose one on a validation split. Intervals are by bootstrap over images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rsvl.benchmarks.laboratory.class_sentences import interval
from rsvl.data import open_dataset
from rsvl.data.records import Box, ImageRecord, ReferringDataset
from rsvl.runtime.errors import RsvlError, UsageError
from rsvl.runtime.images.tiling import Tile
from rsvl.runtime.loading import load
from rsvl.runtime.tasks.boxes import pairwise_iou
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.tasks.sentences import read_record_image

#: From this IoU on, a box is an object's.
MATCHED = 0.5


@dataclass(frozen=True)
class Detections:
    """What was found in one image: the scores of its boxes, which of them are right, and how many objects it has."""

    scores: np.ndarray
    right: np.ndarray
    objects: int

    def above(self, threshold: float) -> Detections:
        """Those with a score over the threshold."""
        kept = self.scores > threshold
        return Detections(self.scores[kept], self.right[kept], self.objects)


def matched(boxes: np.ndarray, true: np.ndarray, least: float = MATCHED) -> np.ndarray:
    """Which boxes are right: best first, each takes the object that it overlaps most of those not taken yet.

    Args:
        boxes: (x1, y1, x2, y2) float [K, 4], best first.
        true: the objects' boxes, float [N, 4].
        least: the IoU from which on a box is an object's.

    Returns:
        bool [K].
    """
    overlap = pairwise_iou(boxes, true)
    right = np.zeros(len(boxes), bool)
    for row in range(len(boxes)):
        if overlap.shape[1] and overlap[row].max() >= least:
            right[row] = True
            overlap[:, overlap[row].argmax()] = 0
    return right


def recall(found: Sequence[Detections]) -> float:
    """The share of all objects that have a box; NaN without objects."""
    objects = sum(each.objects for each in found)
    return sum(int(each.right.sum()) for each in found) / objects if objects else float("nan")


def precision(found: Sequence[Detections]) -> float:
    """The share of all boxes that are an object's; NaN without boxes."""
    boxes = sum(len(each.right) for each in found)
    return sum(int(each.right.sum()) for each in found) / boxes if boxes else float("nan")


def detections(
    grounder: Grounder, dataset: ReferringDataset, category: str, threshold: float, tile: Tile = "auto"
) -> list[Detections]:
    """Asks for a class by its name, one image after the other.

    Args:
        grounder: a loaded bundle.
        dataset: whose records say what is labelled (`rsvl.data.coco_objects`).
        category: the class.
        threshold: the lowest that is looked at.
        tile: see `rsvl.runtime.images.tiling.plan_tiles`.
    """
    found = []
    for record in dataset:
        image = read_record_image(record, grounder.spec)
        answer = grounder.ground(image, f"the {category}", threshold, sensor=record.sensor, tile=tile)
        true = np.array([(x, y, x + w, y + h) for x, y, w, h in labelled(record, category)]).reshape(-1, 4)
        found.append(Detections(answer.scores, matched(answer.boxes, true), len(true)))
    return found


def labelled(record: ImageRecord, category: str) -> tuple[Box, ...]:
    """All boxes that are labelled as a class: what its name alone refers to."""
    for referring in record.referrings:
        if f"the {category}" in referring.sentences:
            return referring.boxes
    return ()


def main(
    bundle: Path,
    data: Annotated[str, typer.Option("--data")],
    root: Annotated[Path, typer.Option("--root")],
    split: Annotated[str, typer.Option("--split")] = "test",
    threshold: Annotated[list[float] | None, typer.Option("--threshold", help="By default the model's own.")] = None,
    tile: Annotated[str, typer.Option("--tile", help="auto, whole or pixels.")] = "auto",
    category: Annotated[list[str] | None, typer.Option("--class", help="By default every class.")] = None,
) -> None:
    """Measure and print one JSON object per class and threshold."""
    try:
        grounder = load(bundle)
        if not isinstance(grounder, Grounder):
            raise UsageError(f"{bundle} gives no boxes: name the bundle of a visual grounder")
        dataset = open_dataset(data, root, split)
        thresholds = threshold or [grounder.spec.threshold]
        shown = {r.category for record in dataset for r in record.referrings if not r.no_target}
        for name in category or sorted(shown):
            size: Tile = int(tile) if tile.isdigit() else tile  # type: ignore[assignment]
            every = detections(grounder, dataset, name, min(thresholds), size)
            for least in thresholds:
                typer.echo(json.dumps(_row(name, least, [each.above(least) for each in every])))
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


def _row(category: str, threshold: float, found: Sequence[Detections]) -> dict[str, object]:
    counts = {"images": len(found), "objects": sum(each.objects for each in found)}
    figures = {
        figure.__name__: [round(value, 4) for value in (figure(found), *interval(figure, found))]
        for figure in (recall, precision)
    }
    return {"asked": f"the {category}", "threshold": threshold, **counts, **figures}


if __name__ == "__main__":
    typer.run(main)
