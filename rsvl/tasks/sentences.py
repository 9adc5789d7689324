"""Evaluation by sentence: with each object's own, or with another's to see whether the answer depends on it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import NamedTuple

import numpy as np

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.metrics.grouped import GroupedReport
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.tasks.contract import EvalOptions


class ReferringQuery(NamedTuple):
    """An object to find and the sentences to find it by."""

    referring: Referring
    sentences: tuple[str, ...]


def queries_by_image(
    dataset: ReferringDataset, options: EvalOptions
) -> Iterator[tuple[ImageRecord, list[ReferringQuery]]]:
    """The images of an evaluation, each with its queries (`queries_of`); progress counts other sensors' images too.

    Raises:
        UsageError: after the last image, if none is of the sensor that is asked for.
    """
    count, shown = options.count(dataset), 0
    exchange = np.random.default_rng(options.seed) if options.shuffle_sentences else None
    for index in range(count):
        record = dataset[index]
        if options.sensor in (None, record.sensor):
            shown += 1
            yield record, queries_of(record, exchange)
        options.progress(index + 1, count)
    options.check_shown(shown, dataset)


def queries_of(record: ImageRecord, exchange: np.random.Generator | None) -> list[ReferringQuery]:
    """The objects of an image, each with its own sentences, or exchanged between them.

    Args:
        record: the image.
        exchange: gives each object the sentences of another one, so that no object keeps its own, and leaves out
            no-target sentences; None for no exchange.

    Returns:
        Nothing when an exchange is asked for and the image has fewer than two objects.
    """
    if exchange is None:
        return [ReferringQuery(referring, referring.sentences) for referring in record.referrings]
    objects: dict[Hashable, list[Referring]] = {}
    for referring in record.referrings:
        if not referring.no_target:
            objects.setdefault(referring.object_id, []).append(referring)
    if len(objects) < 2:
        return []
    groups = list(objects.values())
    order = exchange.permutation(len(groups))
    # Each takes the next one's sentences on a random ring, so none can get its own.
    return [
        ReferringQuery(groups[i][0], tuple(sentence for referring in groups[j] for sentence in referring.sentences))
        for i, j in zip(order, np.roll(order, -1), strict=True)
    ]


def read_record_image(record: ImageRecord, spec: ModelSpec) -> np.ndarray:
    """The image of a record as the model takes it: the bands and the stretch that it declares for the record's sensor.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: it cannot be read, or lacks the bands.
        UsageError: the model takes no images of that sensor.
        DatasetError: it is of another size than its annotation says.
    """
    image = read_image(record.path, spec.image_for(record.sensor))
    if record.view is not None:
        try:
            image = record.view.pixels(image)
        except ValueError as error:
            raise DatasetError(f"{record.path}: {error}: the image is another version than the annotation's") from error
    if image.shape[:2] != (record.height, record.width):
        raise DatasetError(
            f"{record.path} has {image.shape[1]}x{image.shape[0]} pixels, its annotation says "
            f"{record.width}x{record.height}: the image is another version than the annotation's"
        )
    return image


def no_target_remarks(report: GroupedReport) -> list[str]:
    """How no-target sentences were answered, in one line; no line where there were none."""
    if not report.no_target_count:
        return []
    return [f"{report.no_target_count} no-target sentences: N-acc {report.n_acc:.4f}, T-acc {report.t_acc:.4f}"]
