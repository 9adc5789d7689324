"""Measures a model's counts. PyTorch is not imported here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rsvl.data.records import ClassificationDataset
from rsvl.metrics.counting import CountingMetrics, CountingReport
from rsvl.runtime.tasks.counting import Counter
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, SampleRecord, image_name

DATASET_TYPES = (ClassificationDataset,)
NEEDS_MASKS = False
PRIMARY_METRIC = "accuracy"

Predict = Callable[[Path], int]
"""Counts the objects of an image."""


def runner_predictor(runner: Counter) -> Predict:
    """Wraps a loaded bundle."""
    return lambda path: runner.count(path).count


def evaluate(
    predict: Predict, dataset: ClassificationDataset, options: EvalOptions = DEFAULT_OPTIONS
) -> CountingReport:
    """See `rsvl.tasks.contract.Evaluation`; an image's class is the number of its objects."""
    metrics, count = CountingMetrics(), options.count(dataset)
    for index in range(count):
        record = dataset[index]
        found = predict(record.path)
        sample = metrics.update(found, int(record.label))
        if options.on_sample is not None:
            options.on_sample(SampleRecord(image_name(record.path), "count", sample, found))
        options.progress(index + 1, count)
    return metrics.compute()


def agreement(one: int, other: int) -> float:
    """Whether the counts are the same."""
    return float(one == other)


def groups(report: CountingReport) -> dict[str, dict[str, Any]]:
    """All images."""
    return {"all": report.to_dict()}


def remarks(report: CountingReport) -> list[str]:
    """None."""
    return []


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Accuracy and mean absolute error."""
    return {name: row[name] for name in ("accuracy", "MAE")}
