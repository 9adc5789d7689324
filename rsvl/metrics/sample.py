"""One sample as its task's figure counts it, for those who compare two models sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

Group = tuple[str, str]
"""A group of samples: what it groups by, such as ``class``, and which one, such as ``ship``."""

ALL: Group = ("all", "")
"""The group of all samples that the figure counts."""

AREA, CATEGORY, NO_TARGET = "area", "class", "names nothing"
"""What samples of segmentation and grounding are grouped by."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample's part in its task's figure: a group's figure is the weighted mean of its samples' scores.

    Attributes:
        score: 0…1; larger is better.
        groups: the groups that it counts in, at most one of each kind.
        weight: above 0; equal in most tasks.
    """

    score: float
    groups: tuple[Group, ...]
    weight: float = 1.0
