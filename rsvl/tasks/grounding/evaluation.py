"""Asks a model every sentence of a dataset and measures the box that it gives first. PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import ImageRecord, ReferringDataset
from rsvl.metrics.grounding import GroundingMetrics, GroundingReport, box_names, overlap
from rsvl.runtime.errors import InputError
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, OnSample, SampleRecord, image_name
from rsvl.tasks.sentences import ReferringQuery, no_target_remarks, queries_by_image, read_record_image

DATASET_TYPES = (ReferringDataset,)
NEEDS_MASKS = False
PRIMARY_METRIC = "Pr@0.5"


class Predict(Protocol):
    """Answers sentences about one image, which it reads with `rsvl.tasks.sentences.read_record_image`."""

    def __call__(self, record: ImageRecord, sentences: Sequence[str]) -> np.ndarray:
        """From an image and N sentences to each one's best box, float [N, 4], (x1, y1, x2, y2) in pixels.

        A row of NaN says that nothing was found.
        """


def runner_predictor(runner: Grounder) -> Predict:
    """Wraps a loaded bundle; every image is untiled, as in training.

    The best box counts however low its score is, as in the papers, which ask for one box per sentence.
    """

    def predict(record: ImageRecord, sentences: Sequence[str]) -> np.ndarray:
        image = read_record_image(record, runner.spec)
        found = runner.ground(image, list(sentences), 0.0, sensor=record.sensor, limit=1, tile="whole")
        return np.array([each.box or (np.nan,) * 4 for each in found])

    return predict


def evaluate(predict: Predict, dataset: ReferringDataset, options: EvalOptions = DEFAULT_OPTIONS) -> GroundingReport:
    """See `rsvl.tasks.contract.Evaluation`.

    With `shuffle_sentences`, each object of an image gets the sentences of another object of the same image
    (`rsvl.tasks.sentences`); no-target sentences are left out then. Sentences that name several objects have no one box
    and are not asked.
    """
    metrics = GroundingMetrics()
    for record, queries in queries_by_image(dataset, options):
        of_one = [query for query in queries if len(query.referring.boxes) < 2]
        if of_one:
            with options.image(record.path):
                _add(metrics, predict, dataset, record, of_one, options.on_sample)
    return metrics.compute()


def agreement(one: Sequence[float] | None, other: Sequence[float] | None) -> float:
    """Intersection over union of the boxes; 1 where neither model found one."""
    if one is None or other is None:
        return float(one is other)
    try:
        intersection, union = overlap(*(np.asarray(box, np.float64).reshape(4) for box in (one, other)))
    except ValueError as error:
        raise InputError(f"a recorded box is damaged ({error}): record it again") from error
    return intersection / union if union else 0.0


def groups(report: GroundingReport) -> dict[str, dict[str, Any]]:
    """All sentences, then by sensor, by the object's size and class."""
    found = {"all": report.overall}
    found |= {f"sensor: {name}": group for name, group in report.by_sensor.items()}
    found |= {f"area: {name}": group for name, group in report.by_area.items()}
    return {name: box_names(group) for name, group in (found | report.by_category).items()}


def remarks(report: GroundingReport) -> list[str]:
    """No-target sentences."""
    return no_target_remarks(report)


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Pr@0.5 and meanIoU, and Pr@0.5 by sensor and by the object's area."""
    found = {name: row[name] for name in ("Pr@0.5", "meanIoU")}
    for groups_of in ("by_sensor", "by_area"):
        found |= {name: group["Pr@0.5"] for name, group in row[groups_of].items()}
    return found


def _add(
    metrics: GroundingMetrics,
    predict: Predict,
    dataset: ReferringDataset,
    record: ImageRecord,
    queries: Sequence[ReferringQuery],
    on_sample: OnSample | None,
) -> None:
    sentences = [sentence for query in queries for sentence in query.sentences]
    boxes = iter(predict(record, sentences))
    for referring, own in queries:
        true = dataset.box(record, referring)
        corners = None if true is None else (true[0], true[1], true[0] + true[2], true[1] + true[3])
        for sentence in own:
            row = next(boxes)
            box = None if np.isnan(row).any() else [float(corner) for corner in row]
            sample = metrics.update(box, corners, referring.category, record.sensor)
            if on_sample is not None:
                on_sample(SampleRecord(image_name(record.path), sentence, sample, box))
