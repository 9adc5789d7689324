"""What is true of which object: three-valued predicates with margins.

Every predicate answers True, False or None: None is "borderline: a viewer might say either". A conjunction is False
when any part is False, else None when any part is None. A description is used only when it is True of one object and
False of every other, so nothing borderline is ever described.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from rsvl.data.synth.catalog import CATEGORIES, CONFUSABLE_COLOURS, VARIANT_NOUNS
from rsvl.data.synth.scene import SceneObject

Verdict = bool | None
Clause = tuple[str, object]

#: How much larger (area) or longer than the next the largest and longest must be.
AREA_MARGIN, LENGTH_MARGIN = 1.5, 1.3
#: The image's thirds, with a band around each border that belongs to neither side (shares of the side).
_LOW, _HIGH, _BAND = 0.36, 0.64, 0.05

#: Zones of the image as (column, row), each −1, 0 or 1 or None for "anywhere".
ZONES: dict[str, tuple[int | None, int | None]] = {
    "left": (-1, None), "right": (1, None), "top": (None, -1), "bottom": (None, 1), "middle": (0, 0),
    "top left": (-1, -1), "top right": (1, -1), "bottom left": (-1, 1), "bottom right": (1, 1),
}  # fmt: skip

#: Directions as unit vectors, y down.
DIRECTIONS: dict[str, tuple[int, int]] = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


def both(verdicts: Sequence[Verdict]) -> Verdict:
    """Conjunction of three-valued verdicts."""
    if any(v is False for v in verdicts):
        return False
    return None if any(v is None for v in verdicts) else True


def in_third(share: float, third: int) -> Verdict:
    """Whether a coordinate (share of the side) lies in the low (−1), middle (0) or high (1) third."""
    if third > 0:
        share, third = 1 - share, -1
    if third < 0:
        return True if share < _LOW - _BAND else False if share > _LOW + _BAND else None
    inner = abs(share - 0.5)
    reach = 0.5 - _LOW
    return True if inner < reach - _BAND * 0.5 else False if inner > reach + _BAND else None


def border(thing: SceneObject, at_most: int = 64) -> np.ndarray:
    """Points along the border of what is visible of an object: int32 [n, 2]."""
    x, y, w, h = (int(v) for v in thing.bbox)
    crop = np.ascontiguousarray(thing.mask[y : y + h, x : x + w]).view(np.uint8)
    contours, _ = cv2.findContours(crop, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE, offset=(x, y))
    points = np.concatenate(contours).reshape(-1, 2)
    return points[:: max(1, len(points) // at_most)]


class Facts:
    """The predicates over the objects of one scene."""

    def __init__(self, objects: Sequence[SceneObject], size: int) -> None:
        """Hold the objects of an image `size` pixels wide."""
        self.objects = list(objects)
        self.size = size
        n = len(self.objects)
        self._verdicts: dict[Clause, list[Verdict]] = {}
        self.gaps = np.zeros((n, n))
        borders = [border(thing).astype(np.float32) for thing in self.objects]
        for i in range(n):
            for j in range(i):
                apart = ((borders[i][:, None] - borders[j][None]) ** 2).sum(-1).min()
                self.gaps[i, j] = self.gaps[j, i] = np.sqrt(apart)

    def noun_of(self, i: int) -> str:
        """The noun that always names object i."""
        return CATEGORIES[self.objects[i].category].nouns[0]

    def size_words(self, i: int) -> tuple[str, str]:
        """The superlatives of most and least that describe object i."""
        return ("longest", "shortest") if CATEGORIES[self.objects[i].category].elongated else ("largest", "smallest")

    def noun(self, i: int, noun: str) -> Verdict:
        """Whether a noun names object i. A car or lorry too small to tell apart is borderline."""
        thing = self.objects[i]
        for variant, (category, nouns) in VARIANT_NOUNS.items():
            if noun in nouns:
                if thing.category != category:
                    return False
                return None if thing.obb[2] < 14 else thing.variant == variant
        return noun in CATEGORIES[thing.category].nouns

    def colour(self, i: int, colour: str) -> Verdict:
        """Whether object i is of a colour."""
        own = self.objects[i].colour
        if own is None or not self.objects[i].colour_clear:
            return None
        if own == colour:
            return True
        return None if frozenset((own, colour)) in CONFUSABLE_COLOURS else False

    def zone(self, i: int, zone: str) -> Verdict:
        """Whether object i lies in a zone of the image."""
        x, y = (c / self.size for c in self.objects[i].centre)
        column, row = ZONES[zone]
        verdicts = [] if column is None else [in_third(x, column)]
        return both(verdicts if row is None else [*verdicts, in_third(y, row)])

    def beside(self, i: int, direction: str, landmark: int) -> Verdict:
        """Whether object i lies to a side of the landmark: centres within 35° of it, boxes apart."""
        if i == landmark:
            return False
        a, b = self.objects[i], self.objects[landmark]
        d = np.subtract(a.centre, b.centre)
        axis = np.array(DIRECTIONS[direction])
        ahead, aside = float(d @ axis), abs(float(d @ axis[::-1]))
        angle = np.degrees(np.arctan2(aside, ahead))
        ax0, ay0, ax1, ay1 = a.bbox[0], a.bbox[1], a.bbox[0] + a.bbox[2], a.bbox[1] + a.bbox[3]
        bx0, by0, bx1, by1 = b.bbox[0], b.bbox[1], b.bbox[0] + b.bbox[2], b.bbox[1] + b.bbox[3]
        apart = {"left of": bx0 - ax1, "right of": ax0 - bx1, "above": by0 - ay1, "below": ay0 - by1}[direction]
        if angle <= 35 and apart > -0.02 * self.size:
            return True
        if angle >= 75 and apart < 0.02 * self.size:
            return False
        return None

    def next_to(self, i: int, landmark: int) -> Verdict:
        """Whether object i lies close by the landmark."""
        if i == landmark:
            return False
        distance = self.gaps[i, landmark] / self.size
        return True if distance < 0.06 else False if distance > 0.16 else None

    def holds(self, i: int, clause: Clause) -> Verdict:
        """Evaluate a clause that concerns one object alone (everything but superlatives)."""
        word, value = clause
        if word in DIRECTIONS:
            return self.beside(i, word, int(value))  # type: ignore[call-overload]
        if word == "next to":
            return self.next_to(i, int(value))  # type: ignore[call-overload]
        check: Callable[[int, str], Verdict] = {"noun": self.noun, "colour": self.colour, "zone": self.zone}[word]
        return check(i, str(value))

    def matching(self, clauses: Sequence[Clause]) -> list[Verdict]:
        """Verdict of a conjunction for every object."""
        columns = [self._column(clause) for clause in clauses]
        return [both(row) for row in zip(*columns, strict=True)]

    def _column(self, clause: Clause) -> list[Verdict]:
        """Verdicts of one clause for every object, worked out once."""
        if clause not in self._verdicts:
            self._verdicts[clause] = [self.holds(i, clause) for i in range(len(self.objects))]
        return self._verdicts[clause]

    def unique(self, clauses: Sequence[Clause]) -> int | None:
        """Find the one object of which all clauses are true and of no other borderline; None when there is none."""
        verdicts = self.matching(clauses)
        if sum(v is not False for v in verdicts) != 1:
            return None
        i = next(i for i, v in enumerate(verdicts) if v is not False)
        return i if verdicts[i] and self.objects[i].clear else None

    def extreme(self, clauses: Sequence[Clause], superlative: str) -> int | None:
        """Find the object that stands out among at least two matching ones; None when none clearly does.

        `superlative` is "largest", "smallest", "longest", "shortest", "leftmost", "rightmost", "topmost" or
        "bottommost". Objects of which the clauses are borderline, or which are half hidden, make it unclear.
        """
        verdicts = self.matching(clauses)
        among = [i for i, v in enumerate(verdicts) if v is not False]
        if len(among) < 2 or any(verdicts[i] is None or self.objects[i].visible < 0.7 for i in among):
            return None
        things = [self.objects[i] for i in among]
        if superlative in ("leftmost", "rightmost", "topmost", "bottommost"):
            along = np.array([t.centre[0 if superlative in ("leftmost", "rightmost") else 1] for t in things])
            values = along if superlative in ("rightmost", "bottommost") else -along
            order = np.argsort(-values)
            clear = values[order[0]] - values[order[1]] > 0.07 * self.size
        else:
            if superlative in ("longest", "shortest"):
                values, margin = np.array([t.obb[2] for t in things]), LENGTH_MARGIN
            else:
                values, margin = np.array([float(t.area) for t in things]), AREA_MARGIN
            if superlative in ("smallest", "shortest"):
                values = 1 / values
            order = np.argsort(-values)
            clear = values[order[0]] > margin * values[order[1]]
        best = among[int(order[0])]
        return best if clear and self.objects[best].clear else None
