"""Asks a model every sentence of a dataset and measures its masks.

A model is anything that answers sentences about an image with masks (`Predict`): an exported bundle through
`runner_predictor`, or a PyTorch model through `torch_predictor` beside. PyTorch is not imported here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from rsvl.data.records import ImageRecord, ReferringDataset
from rsvl.metrics import SegmentationMetrics, SegmentationReport
from rsvl.runtime.manifest import ModelSpec
from rsvl.tasks.contract import DEFAULT_OPTIONS, EvalOptions, OnSample, SampleRecord, image_name
from rsvl.tasks.segmentation.packing import mask_iou, pack
from rsvl.tasks.sentences import ReferringQuery, no_target_remarks, queries_by_image, read_record_image

DATASET_TYPES = (ReferringDataset,)
NEEDS_MASKS = True
PRIMARY_METRIC = "mIoU"


class Predict(Protocol):
    """Answers sentences about one image, which it reads with `rsvl.tasks.sentences.read_record_image`."""

    def __call__(self, record: ImageRecord, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        """From an image of H x W pixels and N sentences to N masks, bool [H, W]."""
        ...


class _Segmenter(Protocol):
    @property
    def spec(self) -> ModelSpec: ...

    def segment(self, image: Any, texts: Any, *, tile: Any) -> Any: ...


def runner_predictor(runner: _Segmenter) -> Predict:
    """Wraps a loaded bundle (`rsvl.runtime.load`) for `evaluate`; the image is encoded once for all its sentences.

    Every image is untiled, as in training, whatever its size.
    """

    def predict(record: ImageRecord, sentences: Sequence[str]) -> Sequence[np.ndarray]:
        image = read_record_image(record, runner.spec)
        return [segmentation.mask for segmentation in runner.segment(image, list(sentences), tile="whole")]

    return predict


def evaluate(predict: Predict, dataset: ReferringDataset, options: EvalOptions = DEFAULT_OPTIONS) -> SegmentationReport:
    """Asks the model every sentence of every image and compares its masks with the true ones.

    With `shuffle_sentences`, each object of an image gets the sentences of another object of the same image, so that
    no object keeps its own, and the masks are still compared with the object's own mask: a model that is conditioned
    on the sentence loses most of its mIoU, one that segments what is salient keeps it. No-target sentences are left
    out then; images with fewer than two objects are skipped and counted in `SegmentationReport.skipped_images`.

    Args:
        predict: the model.
        dataset: the split to evaluate.
        options: see `rsvl.tasks.contract.EvalOptions`; a sample's answer is the mask, packed.

    Raises:
        DatasetError: an image or mask is damaged or its size is not the annotated one.
    """
    metrics, skipped = SegmentationMetrics(), 0
    for record, queries in queries_by_image(dataset, options):
        if queries:
            with options.image(record.path):
                _add(metrics, predict, dataset, record, queries, options.on_sample)
        else:
            skipped += 1
    return dataclasses.replace(metrics.compute(), skipped_images=skipped)


def agreement(one: str, other: str) -> float:
    """Intersection over union of the masks; 1 where both are empty."""
    return mask_iou(one, other)


def groups(report: SegmentationReport) -> dict[str, dict[str, Any]]:
    """All sentences, then by the object's size and class."""
    found = {"all": report.overall}
    found |= {f"area: {name}": group for name, group in report.by_area.items()}
    found |= {f"coverage: {name}": group for name, group in report.by_coverage.items()}
    return {name: group.to_dict() for name, group in (found | report.by_category).items()}


def remarks(report: SegmentationReport) -> list[str]:
    """No-target sentences, images left out."""
    lines = no_target_remarks(report)
    if report.skipped_images:
        lines.append(f"{report.skipped_images} images were skipped: too few objects to exchange sentences")
    return lines


def headline(row: Mapping[str, Any]) -> dict[str, float | None]:
    """mIoU, oIoU and Pr@0.5, and mIoU by the object's area."""
    by_area = {name: group["mIoU"] for name, group in row["by_area"].items()}
    return {name: row[name] for name in ("mIoU", "oIoU", "Pr@0.5")} | by_area


def _add(
    metrics: SegmentationMetrics,
    predict: Predict,
    dataset: ReferringDataset,
    record: ImageRecord,
    queries: Sequence[ReferringQuery],
    on_sample: OnSample | None,
) -> None:
    masks = _answers(predict, record, [sentence for _, sentences in queries for sentence in sentences])
    for referring, sentences in queries:
        target = dataset.mask(record, referring)
        for sentence in sentences:
            mask = next(masks)
            sample = metrics.update(mask, target, referring.category, referring.no_target)
            if on_sample is not None:
                on_sample(SampleRecord(image_name(record.path), sentence, sample, pack(mask)))


def _answers(predict: Predict, record: ImageRecord, sentences: Sequence[str]) -> Iterator[np.ndarray]:
    masks = predict(record, sentences)
    if len(masks) != len(sentences):
        raise ValueError(f"the model gave {len(masks)} masks for {len(sentences)} sentences")
    return iter(masks)
