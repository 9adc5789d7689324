"""Datasets of expressions made into others: in other views, and several as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from rsvl.data.mirrored import mirrored_record
from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.data.views import View, random_colours, random_view
from rsvl.runtime.errors import UsageError


class Augmented(ReferringDataset):
    """A dataset to train on whose images vary in light; some vary in more.

    Where it makes its sentences, in views; where it has boxes without masks, every other image is mirrored, with what
    its sentences say of sides.
    """

    def __init__(self, dataset: ReferringDataset) -> None:
        """Takes the dataset as it is in everything but `varied`."""
        self.dataset, self.name, self.split = dataset, dataset.name, dataset.split
        self.categories, self.has_masks = dataset.categories, dataset.has_masks
        self._records = range(len(dataset))

    def _record(self, index: int) -> ImageRecord:
        return self.dataset[index]

    def varied(self, index: int, rng: np.random.Generator) -> ImageRecord:
        """See `ReferringDataset.varied`."""
        plain = self.dataset[index]
        size = plain.width, plain.height
        if self.dataset.makes_sentences:
            return self.dataset.viewed(index, _in_grey(plain, random_view(rng, size)), rng)
        view = _in_grey(plain, random_colours(rng, size))
        if self.has_masks or rng.random() < 0.5:
            return self.dataset.viewed(index, view, rng)
        return mirrored_record(self.dataset.viewed(index, replace(view, mirrored=True), rng))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        return self.dataset.mask(record, referring)


def _in_grey(record: ImageRecord, view: View) -> View:
    """A view without a tint, where a SAR took the image."""
    return replace(view, gains=(view.gains[1],) * 3) if record.sensor == "sar" else view


class Mixture(ReferringDataset):
    """Several datasets as one, each drawn from by its weight.

    Attributes:
        parts: the datasets.
        weights: of each part, how often an image of it is drawn, relative to the others, whatever the parts' sizes.
    """

    def __init__(self, parts: Sequence[ReferringDataset], weights: Sequence[float]) -> None:
        """Joins parts, in their order.

        Raises:
            UsageError: no parts, or not one weight above 0 for each.
        """
        if not parts or len(weights) != len(parts) or not all(weight > 0 for weight in weights):
            raise UsageError(f"{len(parts)} datasets need as many weights above 0: give each its own")
        self.name, self.split = " + ".join(part.name for part in parts), parts[0].split
        self.parts, self.weights = tuple(parts), tuple(weights)
        self.categories = tuple(sorted({category for part in parts for category in part.categories}))
        self.has_masks = all(part.has_masks for part in parts)
        self._ends = list(accumulate(len(part) for part in parts))
        self._records = range(self._ends[-1])

    @property
    def draws(self) -> np.ndarray:
        """The chance of each image to be drawn, float64 [len(self)], which sum to 1."""
        shares = np.array(self.weights) / sum(self.weights)
        return np.concatenate([np.full(len(p), share / len(p)) for p, share in zip(self.parts, shares, strict=True)])

    def varied(self, index: int, rng: np.random.Generator) -> ImageRecord:
        """See `ReferringDataset.varied`."""
        part, place = self._place(index)
        return replace(self.parts[part].varied(place, rng), part=part)

    def categories_of(self, record: ImageRecord) -> tuple[str, ...]:
        """See `ReferringDataset.categories_of`."""
        return self.parts[record.part].categories

    def _record(self, index: int) -> ImageRecord:
        part, place = self._place(index)
        return replace(self.parts[part][place], part=part)

    def _place(self, index: int) -> tuple[int, int]:
        """The part that holds an image, and the image's place in it."""
        part = bisect_right(self._ends, index)
        return part, index - (self._ends[part - 1] if part else 0)

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        return self.parts[record.part].mask(record, referring)
