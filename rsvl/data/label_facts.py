"""What is true of the labelled objects of a real image: the synthetic scenes' predicates, on outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rsvl.data.synth.facts import ZONES, Clause, Facts, Verdict, both, in_third
from rsvl.data.synth.scene import MIN_PIXELS, MIN_VISIBLE

#: How much nearer than the next the nearest must be, and by how much of the image's longer side at least.
_NEARER, _APART = 1.5, 0.04
#: Below this visible share, what is left of an object's area is known too roughly to compare.
_WHOLE = 0.9


@dataclass(frozen=True)
class LabelledObject:
    """An object as an annotation file has it; the attributes from `colour` on are what `Facts` asks of it.

    Attributes:
        category: its class, in words.
        bbox: x, y, width, height of what is seen of it, pixels.
        area: pixels of what is seen of it.
        cut: whether the border of the image or of a view cuts it.
        crowd: whether it stands for an unknown number of objects (COCO's ``iscrowd``).
        key: the annotation's id.
        segmentation: its parts, polygons or run-length codes, in pixels.
        visible: the share of it that a view shows.
    """

    category: str
    bbox: tuple[float, float, float, float]
    area: float
    cut: bool = False
    crowd: bool = False
    key: int = 0
    segmentation: tuple[object, ...] = ()
    visible: float = 1.0
    colour: None = None
    variant: str = ""
    colour_clear: bool = False

    @property
    def obb(self) -> tuple[float, float, float, float, float]:
        """Centre, size and angle of the box, which is upright here."""
        return (*self.centre, *self.bbox[2:], 0.0)

    @property
    def clear(self) -> bool:
        """Whether enough of it is seen to speak of it."""
        return self.area >= MIN_PIXELS and self.visible >= MIN_VISIBLE and not self.crowd

    @property
    def centre(self) -> tuple[float, float]:
        """Centre of the box, pixels."""
        x, y, w, h = self.bbox
        return x + w / 2, y + h / 2


class LabelFacts(Facts):
    """The predicates over the labelled objects of an image. A class's name is its only noun; colours are unknown."""

    objects: list[LabelledObject]  # type: ignore[assignment]

    def __init__(self, objects: Sequence[LabelledObject], width: int, height: int) -> None:
        """Hold the objects of an image of a width and height in pixels."""
        self.objects, self.width, self.height = list(objects), width, height
        self.size = max(width, height)
        self._verdicts = {}
        self.gaps = box_gaps([thing.bbox for thing in self.objects])

    def noun(self, i: int, noun: str) -> Verdict:
        """Whether a class's name names object i. A crowd of the class hides how many there are."""
        thing = self.objects[i]
        return None if thing.crowd and thing.category == noun else thing.category == noun

    def noun_of(self, i: int) -> str:
        """See `Facts.noun_of`."""
        return self.objects[i].category

    def size_words(self, i: int) -> tuple[str, str]:
        """See `Facts.size_words`."""
        return "largest", "smallest"

    def zone(self, i: int, zone: str) -> Verdict:
        """See `Facts.zone`. A crowd is in every zone that it reaches, perhaps."""
        if self.objects[i].crowd:
            return None if self.reaches(i, zone) else False
        x, y = self.objects[i].centre
        column, row = ZONES[zone]
        verdicts = [] if column is None else [in_third(x / self.width, column)]
        return both(verdicts if row is None else [*verdicts, in_third(y / self.height, row)])

    def reaches(self, i: int, zone: str) -> bool:
        """Whether any of object i's box may lie in a zone of the image."""
        x, y, width, height = self.objects[i].bbox
        ends = (np.array([x, x + width]) / self.width, np.array([y, y + height]) / self.height)
        for (low, high), third in zip(ends, ZONES[zone], strict=True):
            nearest = None if third is None else low if third < 0 else high if third > 0 else np.clip(0.5, low, high)
            if nearest is not None and in_third(float(nearest), int(third or 0)) is False:
                return False
        return True

    def extreme(self, clauses: Sequence[Clause], superlative: str) -> int | None:
        """See `Facts.extreme`. Nothing is the smallest where the border cuts one, nor the largest where a view does."""
        among = [thing for thing, is_one in zip(self.objects, self.matching(clauses), strict=True) if is_one]
        if superlative == "smallest" and any(thing.cut for thing in among):
            return None
        if superlative == "largest" and any(thing.visible < _WHOLE for thing in among):
            return None
        return super().extreme(clauses, superlative)

    def nearest(self, clauses: Sequence[Clause], landmark: int) -> int | None:
        """Find the object, among at least two of which all clauses are true, that is clearly nearest to another."""
        verdicts = self.matching(clauses)
        among = [i for i, verdict in enumerate(verdicts) if verdict is not False and i != landmark]
        if len(among) < 2 or any(verdicts[i] is None for i in among):
            return None
        first, second = sorted(among, key=lambda i: float(self.gaps[i, landmark]))[:2]
        nearer, next_one = (float(self.gaps[i, landmark]) for i in (first, second))
        clear = next_one - nearer > _APART * self.size and next_one > _NEARER * nearer
        return first if clear and self.objects[first].clear else None


def box_gaps(boxes: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    """How far boxes (x, y, width, height) are apart, 0 where they touch: float64 [N, N]."""
    found = np.array(boxes, np.float64).reshape(-1, 4)
    low, high = found[:, :2], found[:, :2] + found[:, 2:]
    apart = np.maximum(low[:, None] - high[None], low[None] - high[:, None]).clip(min=0)
    gaps: np.ndarray = np.sqrt((apart**2).sum(-1))
    return gaps
