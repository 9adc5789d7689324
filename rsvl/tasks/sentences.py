"""Evaluations sentence by sentence: each object's own are asked, or to see whether a model listens, another's."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

import numpy as np

from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.metrics.grouped import GroupedReport
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.tasks.contract import Progress, check_seen

Asked = tuple[Referring, tuple[str, ...]]
"""An object to find and the sentences to find it by."""


def asked_images(
    dataset: ReferringDataset,
    limit: int | None,
    shuffle_sentences: bool,
    seed: int,
    progress: Progress | None,
    sensor: str | None,
) -> Iterator[tuple[ImageRecord, list[Asked]]]:
    """The images that an evaluation looks at, each with what is asked of it (`asked_of`).

    Arguments are those of `rsvl.tasks.contract.Evaluation.evaluate`; `progress` is told of the images of another sensor
    too.

    Raises:
        UsageError: after the last image, if none is of the sensor that is asked for.
    """
    count = len(dataset) if limit is None else min(limit, len(dataset))
    exchange = np.random.default_rng(seed) if shuffle_sentences else None
    seen = 0
    for index in range(count):
        record = dataset[index]
        if sensor in (None, record.sensor):
            seen += 1
            yield record, asked_of(record, exchange)
        if progress:
            progress(index + 1, count)
    check_seen(seen, count, sensor, dataset.name)


def asked_of(record: ImageRecord, exchange: np.random.Generator | None) -> list[Asked]:
    """The objects of an image, each with its own sentences, or exchanged between them.

    Args:
        record: the image.
        exchange: gives each object the sentences of another one, so that no object keeps its own, and leaves out
            sentences that name nothing; None for no exchange.

    Returns:
        Nothing when an exchange is asked for and the image has fewer than two objects.
    """
    if exchange is None:
        return [(referring, referring.sentences) for referring in record.referrings]
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
        (groups[i][0], tuple(sentence for referring in groups[j] for sentence in referring.sentences))
        for i, j in zip(order, np.roll(order, -1), strict=True)
    ]


def picture(record: ImageRecord, spec: ModelSpec) -> np.ndarray:
    """The image of a record as a model sees it: the bands and the stretch that it declares for the record's sensor.

    Returns:
        uint8 [H, W, 3].

    Raises:
        InputError: it cannot be read, or has not the bands.
        UsageError: the model takes no images of that sensor.
        DatasetError: it is of another size than its annotation says.
    """
    image = read_image(record.path, spec.image_for(record.sensor))
    if image.shape[:2] != (record.height, record.width):
        raise DatasetError(
            f"{record.path} has {image.shape[1]}x{image.shape[0]} pixels, its annotation says "
            f"{record.width}x{record.height}: the image is another version than the annotation's"
        )
    return image


def no_target_remarks(report: GroupedReport) -> list[str]:
    """How sentences that name nothing were answered, in a line; none where there were none."""
    if not report.no_target_count:
        return []
    return [f"{report.no_target_count} sentences name nothing: N-acc {report.n_acc:.4f}, T-acc {report.t_acc:.4f}"]
