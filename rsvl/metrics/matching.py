"""The papers' metrics of image–text matching: zero-shot top-1 and top-5 accuracy, retrieval R@1, R@5, R@10 and mR.

An item has rank r when r - 1 wrong ones score as much or more, so that ties do not help. All values are
fractions 0…1, NaN where nothing was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.metrics.sample import ALL, CATEGORY, Sample
from rsvl.metrics.shares import plain, share

RECALLED_AT = (1, 5, 10)
"""The ranks of R@K."""

DIRECTION, TO_TEXT, TO_IMAGE = "direction", "image to text", "text to image"
"""What the samples of retrieval are grouped by."""


@dataclass(frozen=True)
class ZeroShotReport:
    """What `ZeroShotMetrics.compute` returns.

    Attributes:
        count: number of images.
        top1: share of images whose own class scores best.
        top5: share of images whose own class is among the best five.
        mean_class: mean of the classes' top-1 shares.
        by_class: number of images and top-1 share by class, sorted by name.
    """

    count: int
    top1: float
    top5: float
    mean_class: float
    by_class: dict[str, tuple[int, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the papers' names, ready for JSON; NaN becomes None."""
        return {
            **plain({"count": self.count, "top-1": self.top1, "top-5": self.top5, "mean class": self.mean_class}),
            "by_class": {name: {"count": count, "top-1": top1} for name, (count, top1) in self.by_class.items()},
        }


class ZeroShotMetrics:
    """Accumulates images one at a time.

    Examples:
        >>> metrics = ZeroShotMetrics(("farmland", "harbour"))
        >>> sample = metrics.update(np.array([0.2, 0.8]), "harbour")
        >>> metrics.compute().top1
        1.0
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        """`classes`: the names, in the order of the scores."""
        self.classes = classes
        self._counts = np.zeros((3, len(classes)), np.int64)  # images, right at rank 1, right up to rank 5

    def update(self, scores: np.ndarray, label: str) -> Sample:
        """Adds one image.

        Args:
            scores: of each class, [C]; the larger the likelier.
            label: the image's class.

        Returns:
            The image as a sample, whose score is 1 where its own class scores best, else 0.

        Raises:
            ValueError: not one score per class, a score that is not a number, or an unknown class.
        """
        found = np.asarray(scores, np.float64)
        if found.shape != (len(self.classes),) or np.isnan(found).any() or label not in self.classes:
            raise ValueError(f"{found.shape} scores for {label!r} of {len(self.classes)} classes")
        own = self.classes.index(label)
        rank = int(np.count_nonzero(found >= found[own]))
        self._counts[:, own] += (1, rank == 1, rank <= 5)
        return Sample(float(rank == 1), (ALL, (CATEGORY, label)))

    def merge(self, other: ZeroShotMetrics) -> None:
        """Adds another accumulator's images, of the same classes, to this one."""
        self._counts += other._counts

    def compute(self) -> ZeroShotReport:
        """The metrics of all images added so far."""
        images, first, among = self._counts
        seen = [k for k in range(len(self.classes)) if images[k]]
        by_class = {self.classes[k]: (int(images[k]), float(first[k] / images[k])) for k in seen}
        total = int(images.sum())
        mean_class = share(sum(top1 for _, top1 in by_class.values()), len(by_class))
        return ZeroShotReport(
            total,
            share(int(first.sum()), total),
            share(int(among.sum()), total),
            mean_class,
            dict(sorted(by_class.items())),
        )


@dataclass(frozen=True)
class RetrievalReport:
    """What `retrieval` returns: R@K of texts for an image and of images for a text, by K, and counts of both."""

    images: int
    texts: int
    image_to_text: dict[int, float]
    text_to_image: dict[int, float]

    @property
    def mean_recall(self) -> float:
        """mR: the mean of the six recalls."""
        return float(np.mean([*self.image_to_text.values(), *self.text_to_image.values()]))

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the papers' names, ready for JSON; NaN becomes None."""
        directions = {TO_TEXT: self.image_to_text, TO_IMAGE: self.text_to_image}
        recalls = {f"{direction} R@{k}": value for direction, found in directions.items() for k, value in found.items()}
        return plain({"images": self.images, "texts": self.texts, **recalls, "mR": self.mean_recall})


def retrieval_ranks(similarity: np.ndarray, image_of_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rank at which each image finds a text of its own, int [images], and each text its image, int [texts].

    As in the papers (RSICD, RSITMD with five sentences per image), an image finds the best of its own texts.

    Args:
        similarity: of each image with each text, [images, texts]; larger is more alike.
        image_of_text: each text's image, int [texts].

    Raises:
        ValueError: shapes that do not fit, a value that is not a number, or an image without a text.
    """
    scores, owner = np.asarray(similarity, np.float64), np.asarray(image_of_text)
    if scores.ndim != 2 or owner.shape != scores.shape[1:] or np.isnan(scores).any():
        raise ValueError(f"similarity {scores.shape} does not fit {owner.shape} texts")
    own = owner[None] == np.arange(len(scores))[:, None]
    if not (own.any(1).all() and own.any(0).all()):
        raise ValueError("every image needs a text, and every text an image")
    best_own = np.where(own, scores, -np.inf).max(1)
    image_rank = 1 + np.count_nonzero((scores >= best_own[:, None]) & ~own, axis=1)
    text_rank = np.count_nonzero(scores >= scores[owner, np.arange(len(owner))], axis=0)
    return image_rank, text_rank


def retrieval(image_ranks: np.ndarray, text_ranks: np.ndarray) -> RetrievalReport:
    """Recall in both directions, from what `retrieval_ranks` gives: the share of ranks that are at most K.

    Examples:
        >>> ranks = retrieval_ranks(np.array([[0.9, 0.1], [0.8, 0.7]]), np.array([0, 1]))
        >>> retrieval(*ranks).image_to_text[1]
        0.5
    """
    to_text, to_image = ({k: float(np.mean(ranks <= k)) for k in RECALLED_AT} for ranks in (image_ranks, text_ranks))
    return RetrievalReport(len(image_ranks), len(text_ranks), to_text, to_image)


def retrieval_samples(image_ranks: np.ndarray, text_ranks: np.ndarray) -> tuple[list[Sample], list[Sample]]:
    """Each image and each text as a sample, weighted so that both directions count alike: their mean is mR.

    A sample's score is the share of `RECALLED_AT` that its rank is within.
    """

    def samples(ranks: np.ndarray, direction: str) -> list[Sample]:
        groups = (ALL, (DIRECTION, direction))
        return [Sample(float(np.mean([rank <= k for k in RECALLED_AT])), groups, 0.5 / len(ranks)) for rank in ranks]

    return samples(image_ranks, TO_TEXT), samples(text_ranks, TO_IMAGE)
