"""Runs a model over a data set and reports the papers' metrics.

A model is anything that answers sentences about an image with masks (`Predict`): an exported bundle through
`segmenter_predictor`, or a PyTorch model through `rsvl.train.predictor.torch_predictor`. PyTorch is not imported here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.metrics import MetricsReport, ReferringMetrics
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.image import read_image

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all images, after each image."""


class Predict(Protocol):
    """Answers sentences about one image."""

    def __call__(self, image: np.ndarray, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        """From uint8 [H, W, 3] and N sentences to N masks, bool [H, W]."""
        ...


class _Segmenter(Protocol):
    def segment(self, image: Any, texts: Any, *, tile: Any) -> Any: ...


def segmenter_predictor(segmenter: _Segmenter) -> Predict:
    """Wraps a loaded bundle (`rsvl.runtime.load`) for `evaluate`; the image is encoded once for all its sentences.

    Every image is taken in one look, as in training, whatever its size.
    """

    def predict(image: np.ndarray, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        return [segmentation.mask for segmentation in segmenter.segment(image, list(sentences), tile="whole")]

    return predict


def evaluate(
    predict: Predict,
    dataset: ReferringDataset,
    limit: int | None = None,
    shuffle_sentences: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> MetricsReport:
    """Asks the model every sentence of every image and compares its masks with the true ones.

    With `shuffle_sentences`, each object of an image gets the sentences of another object of the same image, so that
    no object keeps its own, and the masks are still compared with the object's own mask: a model that listens to the
    sentence loses most of its mIoU, one that segments what is salient keeps it. Sentences that name nothing are left
    out then; images with fewer than two objects are skipped and counted in `MetricsReport.skipped_images`.

    Args:
        predict: the model.
        dataset: the split to evaluate.
        limit: only the first so many images; None for all.
        shuffle_sentences: exchange the sentences between the objects of each image.
        seed: of the exchange.
        progress: called after each image.

    Raises:
        DatasetError: an image or mask is damaged or its size is not the annotated one.
    """
    metrics, skipped = ReferringMetrics(), 0
    count = len(dataset) if limit is None else min(limit, len(dataset))
    rng = np.random.default_rng(seed)
    for index in range(count):
        record = dataset[index]
        questions = _exchanged(record, rng) if shuffle_sentences else _own(record)
        if questions:
            _add(metrics, predict, dataset, record, questions)
        else:
            skipped += 1
        if progress:
            progress(index + 1, count)
    return dataclasses.replace(metrics.compute(), skipped_images=skipped)


Question = tuple[Referring, tuple[str, ...]]
"""An object to find and the sentences to find it by."""


def _own(record: ImageRecord) -> list[Question]:
    return [(referring, referring.sentences) for referring in record.referrings]


def _exchanged(record: ImageRecord, rng: np.random.Generator) -> list[Question]:
    """One question an object, with another object's sentences; nothing if the image has fewer than two objects."""
    objects: dict[Hashable, list[Referring]] = {}
    for referring in record.referrings:
        if not referring.no_target:
            objects.setdefault(referring.object_id, []).append(referring)
    if len(objects) < 2:
        return []
    groups = list(objects.values())
    order = rng.permutation(len(groups))
    # Each takes the next one's sentences on a random ring, so none can get its own.
    return [
        (groups[i][0], tuple(sentence for referring in groups[j] for sentence in referring.sentences))
        for i, j in zip(order, np.roll(order, -1), strict=True)
    ]


def _add(
    metrics: ReferringMetrics,
    predict: Predict,
    dataset: ReferringDataset,
    record: ImageRecord,
    questions: Sequence[Question],
) -> None:
    masks = _answers(predict, record, [sentence for _, sentences in questions for sentence in sentences])
    for referring, sentences in questions:
        target = dataset.mask(record, referring)
        for _ in sentences:
            metrics.update(next(masks), target, referring.category, referring.no_target)


def _answers(predict: Predict, record: ImageRecord, sentences: Sequence[str]) -> Iterator[np.ndarray]:
    image = read_image(record.path)
    if image.shape[:2] != (record.height, record.width):
        raise DatasetError(
            f"{record.path} has {image.shape[1]}x{image.shape[0]} pixels, its annotation says "
            f"{record.width}x{record.height}: the image is another version than the annotation's"
        )
    masks = predict(image, sentences)
    if len(masks) != len(sentences):
        raise ValueError(f"the model gave {len(masks)} masks for {len(sentences)} sentences")
    return iter(masks)
