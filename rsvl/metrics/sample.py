"""One sample as its task's primary metric counts it, to compare two models sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

Group = tuple[str, str]
"""A group of samples: what it groups by, such as ``class``, and which one, such as ``ship``."""

ALL: Group = ("all", "")
"""The group of all samples that the primary metric counts."""

AREA, CATEGORY, NO_TARGET = "area", "class", "no-target"
"""What samples of segmentation and grounding are grouped by."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample's part in its task's primary metric: a group's metric is the weighted mean of its samples' scores.

    Attributes:
        score: 0…1; larger is better.
        groups: the groups that it counts in, at most one of each kind.
        weight: above 0; equal in most tasks.
    """

    score: float
    groups: tuple[Group, ...]
    weight: float = 1.0
