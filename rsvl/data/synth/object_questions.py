"""Questions about objects: what is there, how many, where, how large, and how they lie to each other."""

from collections.abc import Iterator, Sequence
from itertools import permutations

import numpy as np

from rsvl.data.synth.catalog import CATEGORIES
from rsvl.data.synth.facts import AREA_MARGIN, DIRECTIONS
from rsvl.data.synth.question_draft import QuestionDraft, View, article, noun, nouns, yes

#: Counts above this are one answer, "more than 5".
COUNT_UP_TO = 5
#: The zones that a question names or an answer gives.
ZONES = ("top left", "top right", "bottom left", "bottom right", "middle")
#: Lies are told apart within this many degrees of 0, 45, 90 and 135.
_LIE_WITHIN = 14
_RELATION_LIMIT = 24
_WHERE = {"left of": "left", "right of": "right", "above": "above", "below": "below"}


def presence(view: View) -> Iterator[QuestionDraft]:
    """Whether there is any of a category."""
    for category, count in view.counts.items():
        what = article(category)
        text = view.pick(f"Is there {what} in the image?", f"Can {what} be seen?", f"Is {what} present?")
        yield QuestionDraft("presence", text, yes(count > 0), category, view.of(category))


def count(view: View) -> Iterator[QuestionDraft]:
    """How many of a category there are."""
    for category, number in view.counts.items():
        many = nouns(category)
        text = view.pick(f"How many {many} are there?", f"What is the number of {many}?")
        answer = str(number) if number <= COUNT_UP_TO else f"more than {COUNT_UP_TO}"
        yield QuestionDraft("count", text, answer, category, view.of(category))


def comparison(view: View) -> Iterator[QuestionDraft]:
    """Whether there are more of one category than of another."""
    present = [(category, number) for category, number in view.counts.items() if number]
    for (one, several), (other, few) in permutations(present, 2):
        if several != few:
            text = f"Are there more {nouns(one)} than {nouns(other)}?"
            yield QuestionDraft("comparison", text, yes(several > few), one, view.of(one, other))


def relation(view: View) -> Iterator[QuestionDraft]:
    """Whether there is any of a category to a side of an object."""
    present = [category for category, number in view.counts.items() if number]
    options = [(c, d, k) for c in present for d in DIRECTIONS for k in view.names]
    for index in view.rng.permutation(len(options))[:_RELATION_LIMIT]:
        category, direction, landmark = options[index]
        verdicts = view.facts.matching([("noun", noun(category)), (direction, landmark)])
        others = [i for i, thing in enumerate(view.objects) if thing.category == category and i != landmark]
        if not others or (None in verdicts and True not in verdicts):
            continue
        side = direction if direction in ("above", "below") else f"to the {direction}"
        text = f"Is there {article(category)} {side} {view.names[landmark].text}?"
        found = (i for i, verdict in enumerate(verdicts) if verdict)
        yield QuestionDraft("relation", text, yes(True in verdicts), category, (landmark, *found))


def relative_position(view: View) -> Iterator[QuestionDraft]:
    """To which side of an object another lies."""
    for i, j in permutations(view.names, 2):
        if view.names[i].says_place or view.names[j].says_place:
            continue
        sides = [direction for direction in DIRECTIONS if view.facts.beside(i, direction, j)]
        if len(sides) == 1:
            text = f"Where is {view.names[i].text} relative to {view.names[j].text}?"
            yield QuestionDraft("relative position", text, _WHERE[sides[0]], objects=(i, j))


def absolute_position(view: View) -> Iterator[QuestionDraft]:
    """In which part of the image an object lies."""
    for i, name in view.names.items():
        zones = [zone for zone in ZONES if view.facts.zone(i, zone)]
        if zones and not name.says_place:
            text = view.pick(f"Where in the image is {name.text}?", f"In which part of the image is {name.text}?")
            yield QuestionDraft("absolute position", text, zones[0], view.objects[i].category, (i,))


def color(view: View) -> Iterator[QuestionDraft]:
    """Which colour an object has, where the optical image shows it."""
    for i, name in view.names.items():
        thing = view.objects[i]
        if view.optical and thing.colour and thing.colour_clear and view.cover(thing) < 0.05:
            yield QuestionDraft("color", f"What color is {name.text}?", thing.colour, thing.category, (i,))


def size(view: View) -> Iterator[QuestionDraft]:
    """Whether one object is larger than another."""
    for i, j in permutations(view.names, 2):
        one, other = view.objects[i], view.objects[j]
        if min(one.visible, other.visible) < 0.9:
            continue
        ratio = one.area / other.area
        if max(ratio, 1 / ratio) > AREA_MARGIN:
            text = f"Is {view.names[i].text} larger than {view.names[j].text}?"
            pair = "/".join(sorted((one.category, other.category)))
            yield QuestionDraft("size", text, yes(ratio > 1), f"{one.category} in {pair}", (i, j))


def category(view: View) -> Iterator[QuestionDraft]:
    """What kind of object lies in a part of the image, where there is one kind alone."""
    for zone in ZONES:
        inside = region(zone, view.size)
        kinds = {thing.category for thing in view.objects if thing.mask[inside].any()}
        here = [i for i in range(len(view.objects)) if view.facts.zone(i, zone)]
        if len(kinds) == 1 and here and all(view.objects[i].clear for i in here):
            where = "middle" if zone == "middle" else f"{zone} part"
            text = view.pick(f"What is in the {where} of the image?", f"What kind of object is in the {where}?")
            yield QuestionDraft("category", text, noun(kinds.pop()), zone, tuple(here))


def orientation(view: View) -> Iterator[QuestionDraft]:
    """How the long axis of an object lies."""
    for i, name in view.names.items():
        thing = view.objects[i]
        _, _, length, width, angle = thing.obb
        lie = lies(angle)
        straight = width <= 0.6 * length and length >= 12 and thing.category != "building"  # which may be L-shaped
        if straight and thing.visible >= 0.9 and lie:
            text = view.pick(f"How does {name.text} lie?", f"What is the orientation of {name.text}?")
            yield QuestionDraft("orientation", text, lie, thing.category, (i,))


def density(view: View) -> Iterator[QuestionDraft]:
    """How many objects there are in all."""
    seen, clear = len(view.objects), sum(thing.clear for thing in view.objects)
    level = "sparse" if seen <= 4 else "dense" if clear >= 10 else "moderate" if clear >= 6 and seen <= 8 else None
    if level:
        yield QuestionDraft("density", view.pick("How crowded is the scene?", "How dense are the objects?"), level)


def lies(angle: float) -> str | None:
    """A word for an axis at `angle` degrees, clockwise from the x axis; None between two words."""
    words: Sequence[str] = ("horizontal", "diagonal", "vertical", "diagonal")
    turn = angle % 180 / 45
    nearest = round(turn)
    return words[nearest % 4] if abs(turn - nearest) * 45 <= _LIE_WITHIN else None


def region(zone: str, side: int) -> tuple[slice, slice]:
    """The ninth of the image that a zone is: rows and columns to index with."""
    thirds = [slice(round(side * k / 3), round(side * (k + 1) / 3)) for k in range(3)]
    row = thirds[0] if "top" in zone else thirds[2] if "bottom" in zone else thirds[1]
    column = thirds[0] if "left" in zone else thirds[2] if "right" in zone else thirds[1]
    return row, column


def covered(view: View) -> np.ndarray:
    """Where any labelled object is, bool [H, W]."""
    masks = [thing.mask for thing in view.objects]
    return np.any(masks, axis=0) if masks else np.zeros((view.size, view.size), bool)


#: Categories that stand out of the ground in a radar image.
BRIGHT = tuple(name for name, kind in CATEGORIES.items() if kind.height > 0)
