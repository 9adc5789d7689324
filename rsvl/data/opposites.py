"""Sentences that say the opposite of what an image shows, to learn words by which little changes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rsvl.data.records import ImageRecord, Referring, ReferringDataset

_SHARE = 0.5
"""Opposites per sentence of an image, as OptiSAR-Net++'s authors train."""

# Words and their opposites, in both directions; after them those in one direction.
_BOTH = (
    ("left", "right"), ("leftmost", "rightmost"), ("lefthand", "righthand"), ("top", "bottom"), ("upper", "lower"),
    ("topmost", "bottommost"), ("dense", "sparse"), ("densely", "sparsely"), ("crowded", "empty"),
    ("occupied", "vacant"), ("bright", "dark"), ("brightest", "darkest"), ("clear", "blurry"), ("visible", "hidden"),
    ("many", "few"), ("multiple", "single"), ("horizontal", "vertical"), ("wide", "narrow"), ("widest", "narrowest"),
    ("long", "short"), ("longest", "shortest"), ("close", "distant"), ("near", "far"), ("largest", "smallest"),
    ("larger", "smaller"), ("bigger", "smaller"), ("biggest", "smallest"),
)  # fmt: skip
_LARGE, _SMALL = ("huge", "large", "big", "massive", "enormous", "giant"), ("small", "tiny")
_MIDDLE = ("corner", "edge", "top", "bottom", "left", "right")
_ONE_WAY: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_LARGE, _SMALL),
    **dict.fromkeys(_SMALL, _LARGE[:2]),
    **dict.fromkeys(("middle", "centre", "center"), _MIDDLE),
    "edge": ("middle", "centre"),
    "full": ("empty",),
    "sharp": ("blurry",),
    "several": ("one",),
    "numerous": ("few",),
}
_WORD = re.compile(r"[A-Za-z]+")


def _opposites() -> dict[str, tuple[str, ...]]:
    found = dict(_ONE_WAY)
    for one, other in _BOTH:
        for word, opposite in ((one, other), (other, one)):
            found[word] = tuple(dict.fromkeys((*found.get(word, ()), opposite)))
    return found


OPPOSITES = _opposites()
"""Of each English word that has any: position, size, density, looks, number, form."""


def opposite_sentences(sentence: str) -> tuple[str, ...]:
    """The sentence with one of its words replaced by an opposite, once for each word and opposite.

    Whole words only: OptiSAR-Net++'s authors replace letters wherever they stand, so that "farm" becomes "nearm".

    Examples:
        >>> opposite_sentences("The large ship left of the farm")
        ('The small ship left of the farm', 'The tiny ship left of the farm', 'The large ship right of the farm')
    """
    return tuple(dict.fromkeys(_replaced(sentence)))


def _replaced(sentence: str) -> Iterator[str]:
    for found in _WORD.finditer(sentence):
        for other in OPPOSITES.get(found[0].lower(), ()):
            word = other.capitalize() if found[0][0].isupper() else other
            yield sentence[: found.start()] + word + sentence[found.end() :]


class WithOpposites(ReferringDataset):
    """A dataset to train on whose images have sentences beside their own that name nothing in them.

    Drawn anew each time from the opposites of an image's own sentences, half as many as these on average; none that is
    one of them. That an opposite is true of something that nobody described can happen, as in the authors' training.
    """

    def __init__(self, dataset: ReferringDataset) -> None:
        """Takes the dataset as it is in everything but `varied`."""
        self.dataset, self.name, self.split = dataset, dataset.name, dataset.split
        self.categories, self.has_masks = dataset.categories, dataset.has_masks
        self._records = range(len(dataset))

    def varied(self, index: int, rng: np.random.Generator) -> ImageRecord:
        """See `ReferringDataset.varied`."""
        record = self.dataset.varied(index, rng)
        said = [text for each in record.referrings for text in each.sentences if not each.no_target]
        known = {text.lower() for each in record.referrings for text in each.sentences}
        others = dict.fromkeys(other for text in said for other in opposite_sentences(text))
        opposites = [other for other in others if other.lower() not in known]
        count = int(_SHARE * len(said) + rng.random())  # a half sentence every other time
        drawn = rng.permutation(len(opposites))[:count]
        free = 1 + max((each.ref_id for each in record.referrings), default=0)
        added = [Referring(free + i, (opposites[place],), no_target=True) for i, place in enumerate(drawn)]
        return replace(record, referrings=(*record.referrings, *added))

    def categories_of(self, record: ImageRecord) -> tuple[str, ...]:
        """See `ReferringDataset.categories_of`."""
        return self.dataset.categories_of(record)

    def _record(self, index: int) -> ImageRecord:
        return self.dataset[index]

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        return self.dataset.mask(record, referring)
