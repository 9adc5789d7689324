"""What a segmenter makes of sentences that name something, and of those that name nothing, to calibrate presence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rsvl.data.records import ReferringDataset
from rsvl.metrics.presence import PresenceSample
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.tiles import plan_scene
from rsvl.tasks.sentences import read_record_image


def presence_samples(
    segmenter: Segmenter, dataset: ReferringDataset, limit: int | None = None, progress: Progress = silent
) -> Iterator[PresenceSample]:
    """Asks a bundle every sentence of a split.

    Args:
        segmenter: the loaded bundle.
        dataset: the split.
        limit: at most so many images.
        progress: called after every image.

    Raises:
        DatasetError: an image is damaged.
    """
    records = list(dataset)[:limit]
    for number, record in enumerate(records):
        asked = [(text, not each.no_target) for each in record.referrings for text in each.sentences]
        scene = open_scene(np.asarray(read_record_image(record, segmenter.spec)), segmenter.spec.image)
        grids = plan_scene(scene, segmenter.spec.image, "whole", 0)
        cell = segmenter.cell_area(grids)
        results = segmenter.segment(scene, [text for text, _ in asked], tile="whole") if asked else []
        for (_, present), found in zip(asked, results, strict=True):
            large = [each for each in found.objects if each.area >= cell]
            best = max(large, key=lambda each: each.score * each.area, default=None)
            strongest = None if best is None else (best.score, best.peak, best.area / cell)
            yield PresenceSample(present, strongest, number)
        progress(number + 1, len(records))
