"""How well a model finds all of a class in real images, asked by its name alone, with intervals by bootstrap.

    python -m rsvl.benchmarks.laboratory.class_sentences MODEL --data coco --root FOLDER --split FIELD=VALUE

asks "the building" of every image and compares with all that is labelled so; an image without any counts too, by what
the model finds in it. `--all` asks every sentence of the dataset in its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from rsvl.checkpoints import load
from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.records import ImageRecord
from rsvl.runtime.errors import RsvlError
from rsvl.tasks import training_of

_DRAWS = 2000


@dataclass(frozen=True)
class Overlap:
    """What was found in one image of one class: pixels of the intersection and of the union, and each sample's IoU."""

    intersection: int
    union: int
    ious: tuple[float, ...]


def overlaps(predict: Any, dataset: ReferringDataset, category: str | None, limit: int | None = None) -> list[Overlap]:
    """Asks for a class by its name, or every sentence that has a target, one image after the other.

    Args:
        predict: a segmentation model (`rsvl.tasks.segmentation.training.torch_predictor`).
        dataset: with masks.
        category: the class; None for every sentence.
        limit: at most this many images.
    """
    found = []
    for index in range(min(limit or len(dataset), len(dataset))):
        record = dataset[index]
        asked = _sentences(record, category)
        targets = [_target(dataset, record, category) if category else dataset.mask(record, r) for _, r in asked]
        masks = predict(record, [text for text, _ in asked]) if asked else []
        pairs = [(int((m & t).sum()), int((m | t).sum())) for m, t in zip(masks, targets, strict=True)]
        ious = tuple(i / u if u else 0.0 for i, u in pairs)
        found.append(Overlap(sum(i for i, _ in pairs), sum(u for _, u in pairs), ious))
    return found


def _sentences(record: ImageRecord, category: str | None) -> list[tuple[str, Any]]:
    if category:
        return [(f"the {category}", None)]
    return [(text, r) for r in record.referrings if not r.no_target for text in r.sentences]


def _target(dataset: ReferringDataset, record: ImageRecord, category: str) -> np.ndarray:
    """All that is labelled as a class: what its name alone refers to."""
    for referring in record.referrings:
        if f"the {category}" in referring.sentences:
            return dataset.mask(record, referring)
    return np.zeros((record.height, record.width), bool)


def overall_iou(found: Sequence[Overlap]) -> float:
    """The sum of the intersections over the sum of the unions."""
    union = sum(each.union for each in found)
    return sum(each.intersection for each in found) / union if union else float("nan")


def mean_iou(found: Sequence[Overlap]) -> float:
    """The mean of the samples' IoU."""
    ious = [iou for each in found for iou in each.ious]
    return float(np.mean(ious)) if ious else float("nan")


def interval(figure: Any, found: Sequence[Any], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of a figure over images, by drawing the images anew with replacement (percentiles)."""
    rng = np.random.default_rng(seed)
    draws = [figure([found[i] for i in rng.integers(len(found), size=len(found))]) for _ in range(_DRAWS)]
    low, high = np.nanpercentile(draws, [2.5, 97.5])
    return float(low), float(high)


def main(
    model: str,
    data: Annotated[str, typer.Option("--data")],
    root: Annotated[Path, typer.Option("--root")],
    split: Annotated[str, typer.Option("--split")] = "test",
    weights: Annotated[str | None, typer.Option("--weights", metavar="FILE")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every sentence, not the classes' names.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1)] = None,
) -> None:
    """Measure and print one JSON object a class."""
    try:
        network = load(model, weights)
        dataset = open_dataset(data, root, split, masks=True)
        predict = training_of(network.spec.task).torch_predictor(network)
        shown = {r.category for record in dataset for r in record.referrings if not r.no_target}
        for category in [None] if every else sorted(shown):
            found = overlaps(predict, dataset, category, limit)
            values: dict[str, Any] = {
                "asked": f"the {category}" if category else "every sentence",
                "images": len(found),
            }
            values["samples"] = sum(len(each.ious) for each in found)
            for name, figure in (("oIoU", overall_iou), ("mIoU", mean_iou)):
                values[name] = [round(value, 4) for value in (figure(found), *interval(figure, found))]
            typer.echo(json.dumps(values))
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
