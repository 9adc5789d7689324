"""Measures a dual encoder: zero-shot classification where a dataset has classes, retrieval where it has captions.

PyTorch is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import CaptionDataset, CaptionedImage, ClassificationDataset, LabelledImage
from rsvl.metrics.matching import (
    RetrievalReport,
    ZeroShotMetrics,
    ZeroShotReport,
    retrieval,
    retrieval_ranks,
    retrieval_samples,
)
from rsvl.runtime.errors import DatasetError, InputError, UsageError
from rsvl.runtime.tasks.matching import TEMPLATE, Matcher
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, OnSample, SampleRecord, image_name

DATASET_TYPES = (ClassificationDataset, CaptionDataset)
NEEDS_MASKS = False
PRIMARY_METRIC = "top-1 or mR"
_BATCH_SIZE = 32


class Embedder(Protocol):
    """A dual encoder: images and texts to unit-length vectors of one space."""

    def embed_images(self, images: Sequence[Path]) -> np.ndarray:
        """From the files of N images, read as the model declares, to float32 [N, E]."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """From N texts to float32 [N, E]."""


def runner_predictor(runner: Matcher) -> Embedder:
    """A loaded bundle embeds by itself."""
    return runner


def evaluate(
    predict: Embedder, dataset: ClassificationDataset | CaptionDataset, options: EvalOptions = DEFAULT_OPTIONS
) -> MatchingReport:
    """See `rsvl.tasks.contract.Evaluation`.

    With `shuffle_sentences` every image is compared as if it were another one of the dataset: what is left is chance.

    Raises:
        UsageError: fewer than two images, which cannot be exchanged; a sensor, of which these datasets say nothing.
    """
    if options.sensor is not None:
        raise UsageError(f"{dataset.name} does not say which sensor took its images: leave --sensor out")
    records: list[Any] = dataset[: options.count(dataset)]
    images, records = _embedded(records, predict, options)
    if options.shuffle_sentences:
        if len(records) < 2:
            raise UsageError("one image cannot be exchanged with another: evaluate more of them")
        order = np.random.default_rng(options.seed).permutation(len(records))
        images[order] = images[np.roll(order, -1)]
    if isinstance(dataset, ClassificationDataset):
        return MatchingReport(_classified(images, records, dataset.classes, predict, options.on_sample))
    return MatchingReport(_retrieved(images, records, predict, options.on_sample))


class MatchingReport:
    """What `evaluate` found: zero-shot classification, or retrieval.

    Attributes:
        found: the one of the two that was measured.
    """

    def __init__(self, found: ZeroShotReport | RetrievalReport) -> None:
        self.found = found

    def to_dict(self) -> dict[str, Any]:
        """The report's own metrics, and the one that chooses the best epoch under `PRIMARY_METRIC`."""
        own = self.found.to_dict()
        return {PRIMARY_METRIC: own["top-1" if "top-1" in own else "mR"], **own}


def agreement(one: str, other: str) -> float:
    """Whether the same class, text or image was the best."""
    return float(one == other)


def groups(report: MatchingReport) -> dict[str, dict[str, Any]]:
    """All images, then each class."""
    own = report.found.to_dict()
    return {"all": {k: v for k, v in own.items() if k != "by_class"}, **own.get("by_class", {})}


def remarks(report: MatchingReport) -> list[str]:
    """Which sentence stands for a class."""
    return [f"a class is asked as {TEMPLATE!r}"] if isinstance(report.found, ZeroShotReport) else []


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """Accuracy, or the recalls at 1 and their mean."""
    shown = ("top-1", "top-5", "image to text R@1", "text to image R@1", "mR")
    return {name: row[name] for name in shown if name in row}


def _embedded(records: Sequence[Any], predict: Embedder, options: EvalOptions) -> tuple[np.ndarray, list[Any]]:
    """The embeddings of images, and the records of those that could be embedded."""
    parts, kept = list[np.ndarray](), list[Any]()
    for start in range(0, len(records), _BATCH_SIZE):
        batch = records[start : start + _BATCH_SIZE]
        try:
            parts.append(predict.embed_images([record.path for record in batch]))
            kept += batch
        except InputError:  # one of them cannot be used: one by one
            for record in batch:
                with options.image(record.path):
                    parts.append(predict.embed_images([record.path]))
                    kept.append(record)
        options.progress(start + len(batch), len(records))
    if not kept:
        raise DatasetError("none of the images can be used: the reasons are above")
    return np.concatenate(parts), kept


def _classified(
    images: np.ndarray,
    records: Sequence[LabelledImage],
    classes: tuple[str, ...],
    predict: Embedder,
    on_sample: OnSample | None,
) -> ZeroShotReport:
    metrics = ZeroShotMetrics(classes)
    texts = predict.embed_texts([TEMPLATE.replace("{}", name) for name in classes])
    for scores, record in zip(images @ texts.T, records, strict=True):
        sample = metrics.update(scores, record.label)
        if on_sample is not None:
            on_sample(SampleRecord(image_name(record.path), "class", sample, classes[int(scores.argmax())]))
    return metrics.compute()


def _retrieved(
    images: np.ndarray, records: Sequence[CaptionedImage], predict: Embedder, on_sample: OnSample | None
) -> RetrievalReport:
    texts = [text for record in records for text in record.sentences]
    owner = np.repeat(np.arange(len(records)), [len(record.sentences) for record in records])
    encoded = np.concatenate(
        [predict.embed_texts(texts[i : i + _BATCH_SIZE]) for i in range(0, len(texts), _BATCH_SIZE)]
    )
    similarity = images @ encoded.T
    ranks = retrieval_ranks(similarity, owner)
    if on_sample is not None:
        names = [image_name(record.path) for record in records]
        of_images, of_texts = retrieval_samples(*ranks)
        for name, sample, best in zip(names, of_images, similarity.argmax(1), strict=True):
            on_sample(SampleRecord(name, "text", sample, texts[best]))
        for text, whose, sample, best in zip(texts, owner, of_texts, similarity.argmax(0), strict=True):
            on_sample(SampleRecord(names[whose], text, sample, names[best]))
    return retrieval(*ranks)
