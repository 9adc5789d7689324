"""Whether what a sentence names is there at all: a calibrated probability, from what a model says of an object.

A model gives a mask even where the thing is absent. Of the strongest object (mean probability times area) a logistic
function of its mean probability, its largest and its area says how likely the thing is there (Platt, "Probabilistic
Outputs for Support Vector Machines", 1999); `rsvl calibrate` fits it on labelled images and writes it into the bundle.
Nothing but the standard library is imported here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FOUND, ABSENT, AMBIGUOUS, UNCALIBRATED = "found", "absent", "ambiguous", "uncalibrated"
THRESHOLD = 0.5
"""The presence from which on a thing counts as there, unless it is said otherwise."""

_NEAR = 1e-4
"""Probabilities nearer to 0 and 1 tell no more."""

_ONE = frozenset(("the", "a", "an", "this", "that", "one"))
_MANY = frozenset(("all", "every", "each", "both", "any", "some", "several", "many"))
_ENDS_NOUN = re.compile(
    r"[,;.]|\b(?:of|on|in|at|to|near|by|with|without|beside|behind|above|below|under|over|between|next|left|right|from|"
    r"closest|that|which|who|along|across|inside|outside|around|against|nearest)\b"
)
_SINGULAR_ENDS = ("ss", "us", "is", "gas")


@dataclass(frozen=True)
class Presence:
    """A fitted logistic function.

    Attributes:
        weights: of 1, of the logits of the mean and of the largest probability, and of the logarithm of the area in
            values of the model's own mask.
        empty: the share of images with the thing among those where the model found nothing, 0…1.
        about: what it was fitted on and how well it is calibrated, for people.
    """

    weights: tuple[float, float, float, float]
    empty: float
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: there are not four finite weights, or a share that is none.
        """
        if len(self.weights) != 4 or not all(map(math.isfinite, self.weights)) or not 0 <= self.empty <= 1:
            raise ValueError("presence: four weights and a share are needed")

    def probability(self, score: float, peak: float, cells: float) -> float:
        """How likely the thing is there, 0…1.

        Args:
            score: the object's mean probability.
            peak: its largest.
            cells: its area in values of the model's own mask.
        """
        logit = sum(weight * value for weight, value in zip(self.weights, features(score, peak, cells), strict=True))
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, logit))))


def features(score: float, peak: float, cells: float) -> tuple[float, float, float, float]:
    """What the weights of `Presence` are for; see `Presence.probability`."""
    return 1.0, _logit(score), _logit(peak), math.log(max(cells, _NEAR))


def means_one(text: str) -> bool:
    """Whether an English sentence names one thing: it begins with an article, and its noun is singular.

    Examples:
        >>> [means_one(text) for text in ("the red car on the left", "the cars", "ships", "all buildings", "a bus")]
        [True, False, False, False, True]
    """
    words = _ENDS_NOUN.split(text.lower().strip(), maxsplit=1)[0].split()
    if len(words) < 2 or words[0] not in _ONE or _MANY & set(words):
        return False
    return not words[-1].endswith("s") or words[-1].endswith(_SINGULAR_ENDS)


def _logit(probability: float) -> float:
    p = max(_NEAR, min(1 - _NEAR, probability))
    return math.log(p / (1 - p))
