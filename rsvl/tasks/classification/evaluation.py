"""Measures a scene classifier. PyTorch is not imported here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import ClassificationDataset, LabelledImage
from rsvl.metrics.classification import ClassificationMetrics, ClassificationReport
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.tasks.classification import Classifier
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, SampleRecord, image_name

DATASET_TYPES = (ClassificationDataset,)
NEEDS_MASKS = False
PRIMARY_METRIC = "top-1"

_BATCH = 64
_WIDEST = 16
"""Classes up to which the confusion matrix fits a terminal; of more the commonest confusions are shown."""
_COMMONEST = 10


class Predict(Protocol):
    """A scene classifier.

    Attributes:
        classes: its class names.
    """

    classes: tuple[str, ...]

    def __call__(self, images: Sequence[Path]) -> np.ndarray:
        """From the files of N images to each class's probability, float64 [N, C], in the order of `classes`."""


def runner_predictor(runner: Classifier) -> Predict:
    """Wraps a loaded bundle."""
    return _RunnerPredictor(runner)


class _RunnerPredictor:
    def __init__(self, runner: Classifier) -> None:
        self._runner, self.classes = runner, runner.classes
        self._sensor = runner.spec.image.sensors[0]

    def __call__(self, images: Sequence[Path]) -> np.ndarray:
        found = [self._runner.classify(image, sensor=self._sensor).probabilities for image in images]
        return np.array([[each[name] for name in self.classes] for each in found])


def evaluate(
    predict: Predict, dataset: ClassificationDataset, options: EvalOptions = DEFAULT_OPTIONS
) -> ClassificationReport:
    """See `rsvl.tasks.contract.Evaluation`.

    Raises:
        UsageError: classes that the model does not know, sentences to be shuffled, of which there are none, or a
            sensor, of which these datasets say nothing.
    """
    if options.sensor is not None:
        raise UsageError(f"{dataset.name} does not say which sensor took its images: leave --sensor out")
    if options.shuffle_sentences:
        raise UsageError("a scene classifier reads no sentences: leave --shuffle-sentences out")
    check_known(dataset, predict.classes)
    metrics, count = ClassificationMetrics(predict.classes), options.count(dataset)
    for start, records in _batches(dataset, count):
        for record, found in _predicted(predict, records, options):
            sample = metrics.update(found, record.label)
            if options.on_sample is not None:
                best = predict.classes[int(found.argmax())]
                options.on_sample(SampleRecord(image_name(record.path), "class", sample, best))
        options.progress(start + len(records), count)
    return metrics.compute()


def check_known(dataset: ClassificationDataset, classes: Sequence[str]) -> None:
    """Checks that a model knows all classes of a dataset.

    Raises:
        UsageError: it does not.
    """
    unknown = [name for name in dataset.classes if name not in classes]
    if unknown:
        more = f" and {len(unknown) - 3} more" if len(unknown) > 3 else ""
        raise UsageError(
            f"{dataset.name} has classes that the model does not know ({', '.join(unknown[:3])}{more}; it knows "
            f"{', '.join(classes[:3])} …): train it on them, or name its classes with rsvl export --classes"
        )


@contextmanager
def one_colour_is_usual() -> Iterator[None]:
    """Reads images without a warning that one is nearly of one colour: open water always is."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*: nearly one colour")
        yield


def agreement(one: str, other: str) -> float:
    """Whether the classes are the same."""
    return float(one == other)


def groups(report: ClassificationReport) -> dict[str, dict[str, Any]]:
    """All images, then each class."""
    found = report.to_dict()
    shown = ("count", "top-1", "top-5", "kappa", "mean recall", "mean F1", "ECE")
    names = {"mean recall": "recall", "mean F1": "F1"}
    overall = {names.get(name, name): found[name] for name in shown}
    return {"all": {**overall, "precision": None}, **found["by_class"]}


def remarks(report: ClassificationReport) -> list[str]:
    """The confusion matrix, or of many classes the commonest confusions."""
    return [*_matrix(report)] if len(report.classes) <= _WIDEST else [*_commonest(report)]


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Accuracy, Cohen's κ, mean F1 and calibration error."""
    return {name: row[name] for name in ("top-1", "kappa", "mean F1", "ECE")}


def _predicted(
    predict: Predict, records: list[LabelledImage], options: EvalOptions
) -> list[tuple[LabelledImage, np.ndarray]]:
    """The images that can be used, with the probabilities of each."""
    with one_colour_is_usual():
        try:
            return list(zip(records, predict([record.path for record in records]), strict=True))
        except InputError:  # one of them cannot be used: one by one
            found = []
            for record in records:
                with options.image(record.path):
                    found.append((record, predict([record.path])[0]))
            return found


def _batches(dataset: ClassificationDataset, count: int) -> Iterator[tuple[int, list[LabelledImage]]]:
    for start in range(0, count, _BATCH):
        yield start, dataset[start : min(start + _BATCH, count)]


def _matrix(report: ClassificationReport) -> Iterator[str]:
    wide = max(5, *(len(str(value)) + 1 for value in report.confusion.ravel()))
    name = max(len(each) for each in report.classes) + 5
    yield "confusion: each row a class, each column what its images were taken for"
    yield " " * name + "".join(f"{index:>{wide}}" for index in range(1, len(report.classes) + 1))
    for index, (label, row) in enumerate(zip(report.classes, report.confusion, strict=True), start=1):
        yield f"{index:>3}  {label:<{name - 5}}" + "".join(f"{value or '·':>{wide}}" for value in row.tolist())


def _commonest(report: ClassificationReport) -> Iterator[str]:
    wrong = report.confusion.copy()
    np.fill_diagonal(wrong, 0)
    yield "the commonest confusions (all of them with --json):"
    for place in np.argsort(-wrong, axis=None, kind="stable")[:_COMMONEST]:
        own, taken = divmod(int(place), len(report.classes))
        if wrong[own, taken]:
            yield f"  {wrong[own, taken]:>4}  {report.classes[own]} taken for {report.classes[taken]}"
