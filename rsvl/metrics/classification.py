"""Metrics of scene classification: accuracy, Cohen's κ, F1, calibration and the confusion matrix.

With n images, n_ij of them of class i and taken for class j (rows and columns of the confusion matrix):

- top-1 is Σ n_ii / n, top-5 the share of images whose own class is among the likeliest five;
- κ is (p_o - p_e) / (1 - p_e) with p_o = Σ n_ii / n and p_e = Σ_i n_i· n_·i / n² (Cohen, 1960);
- a class's precision is n_ii / n_·i, its recall n_ii / n_i·, and F1 = 2 n_ii / (n_i· + n_·i); the means are over the
  classes that have images;
- ECE, the expected calibration error, is Σ_b n_b / n · |accuracy_b - mean probability_b| over 15 bins of equal width by
  the likeliest class's probability (Guo et al., 2017, equation 3).

All values are fractions 0…1 (κ is -1…1), NaN where they are not defined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.metrics.sample import ALL, CATEGORY, Sample
from rsvl.metrics.shares import plain, share

BINS = 15
"""Of the expected calibration error."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class: how many images it has, and how well it is told from the others; NaN where it was never predicted."""

    count: int
    precision: float
    recall: float
    f1: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""
        return plain({"count": self.count, "precision": self.precision, "recall": self.recall, "F1": self.f1})


@dataclass(frozen=True)
class ClassificationReport:
    """What `ClassificationMetrics.compute` returns.

    Attributes:
        count: number of images.
        top1: share of images whose own class is the likeliest.
        top5: share of images whose own class is among the likeliest five.
        kappa: Cohen's κ.
        mean_recall: mean of the classes' recalls.
        mean_f1: mean of the classes' F1.
        ece: expected calibration error.
        confidence: mean probability of the likeliest class.
        by_class: each class that has images.
        classes: all the model's classes, in the order of `confusion`.
        confusion: int64 [C, C]: of each class (row) how many images were taken for each (column).
    """

    count: int
    top1: float
    top5: float
    kappa: float
    mean_recall: float
    mean_f1: float
    ece: float
    confidence: float
    by_class: dict[str, ClassMetrics]
    classes: tuple[str, ...]
    confusion: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""
        overall = {
            "count": self.count,
            "top-1": self.top1,
            "top-5": self.top5,
            "kappa": self.kappa,
            "mean recall": self.mean_recall,
            "mean F1": self.mean_f1,
            "ECE": self.ece,
            "mean probability": self.confidence,
        }
        return {
            **plain(overall),
            "by_class": {name: found.to_dict() for name, found in self.by_class.items()},
            "confusion": {"classes": list(self.classes), "matrix": self.confusion.tolist()},
        }


class ClassificationMetrics:
    """Accumulates images one at a time.

    Examples:
        >>> metrics = ClassificationMetrics(("farmland", "harbour"))
        >>> sample = metrics.update(np.array([0.2, 0.8]), "harbour")
        >>> metrics.compute().top1
        1.0
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        """`classes`: the names, in the order of the probabilities."""
        self.classes = classes
        self._confusion = np.zeros((len(classes), len(classes)), np.int64)
        self._among_five = 0
        self._bins = np.zeros((3, BINS))  # images, right ones, sum of the likeliest class's probability

    def update(self, probabilities: np.ndarray, label: str) -> Sample:
        """Adds one image.

        Args:
            probabilities: of each class, [C].
            label: the image's class.

        Returns:
            The image as a sample, whose score is 1 where its own class is the likeliest, else 0.

        Raises:
            ValueError: not one probability per class, one outside 0…1, or an unknown class.
        """
        found = np.asarray(probabilities, np.float64)
        fits = found.shape == (len(self.classes),) and bool(((found >= 0) & (found <= 1 + 1e-6)).all())
        if not fits or label not in self.classes:
            raise ValueError(f"{found.shape} probabilities for {label!r} of {len(self.classes)} classes")
        own, best = self.classes.index(label), int(found.argmax())
        self._confusion[own, best] += 1
        self._among_five += int(np.count_nonzero(found >= found[own]) <= 5)
        sure = float(min(found[best], 1.0))
        self._bins[:, min(int(np.ceil(sure * BINS)) - 1, BINS - 1)] += (1, own == best, sure)
        return Sample(float(own == best), (ALL, (CATEGORY, label)))

    def merge(self, other: ClassificationMetrics) -> None:
        """Adds another accumulator's images, of the same classes, to this one."""
        self._confusion += other._confusion
        self._among_five += other._among_five
        self._bins += other._bins

    def compute(self) -> ClassificationReport:
        """The metrics of all images added so far."""
        right, total = np.diagonal(self._confusion), int(self._confusion.sum())
        images, taken = self._confusion.sum(1), self._confusion.sum(0)
        by_class = {
            self.classes[k]: ClassMetrics(
                int(images[k]),
                share(right[k], taken[k]),
                float(right[k] / images[k]),
                float(2 * right[k] / (images[k] + taken[k])),
            )
            for k in np.flatnonzero(images)
        }
        seen = list(by_class.values())
        return ClassificationReport(
            count=total,
            top1=share(int(right.sum()), total),
            top5=share(int(self._among_five), total),
            kappa=_kappa(self._confusion),
            mean_recall=share(sum(each.recall for each in seen), len(seen)),
            mean_f1=share(sum(each.f1 for each in seen), len(seen)),
            ece=share(float(np.abs(self._bins[1] - self._bins[2]).sum()), total),
            confidence=share(float(self._bins[2].sum()), total),
            by_class=dict(sorted(by_class.items())),
            classes=self.classes,
            confusion=self._confusion.copy(),
        )


def _kappa(confusion: np.ndarray) -> float:
    """Cohen's κ of a confusion matrix; NaN where chance alone would be always right."""
    total = int(confusion.sum())
    by_chance = share(float(confusion.sum(1) @ confusion.sum(0)), total**2)
    return share(share(float(np.trace(confusion)), total) - by_chance, 1 - by_chance)
