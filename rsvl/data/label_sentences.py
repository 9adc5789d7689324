"""Sentences about the labelled objects of a real image, each true and of one meaning, from boxes and class names alone.

Three kinds, besides those that are true of nothing:

- of a class: "the building", "the cars", "all trees" mean everything of the class that the image shows;
- of a class in a part of the image: "the cars on the left", where none lies on a border of that part;
- of one object, by place, size or a neighbour: "the bus in the upper left", "the largest building", "the car nearest to
  the tree"; worded like the synthetic scenes' (`rsvl.data.synth.language`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rsvl.data.label_facts import LabelFacts
from rsvl.data.synth.facts import ZONES, Clause
from rsvl.data.synth.language import ZONE_WORDS, landmarks_of, phrase, pick, programs, sentence

#: Objects that an image has sentences of their own for, at most, and how many each.
_OBJECTS, _EACH = 6, 2
#: Above this many objects, relations between them are not looked for: hardly one is clear.
_RELATED = 24
_NEAREST = ("nearest to", "closest to")
#: How often an image gets a sentence about a class that is absent, and one about an empty part of it.
_ABSENT = 0.25


@dataclass(frozen=True)
class LabelSentence:
    """Sentences with one meaning: indices of the objects that they name, none where they are true of nothing."""

    texts: tuple[str, ...]
    objects: tuple[int, ...]
    category: str
    program: tuple[Clause, ...] = ()


def sentences_for(rng: np.random.Generator, facts: LabelFacts, classes: Sequence[str]) -> list[LabelSentence]:
    """Words what can be said of an image.

    Args:
        rng: randomness: which objects, which wording.
        facts: the image's objects.
        classes: all that the annotation file labels, in words; what it does not label may be in the image all the same.
    """
    found = [
        *_of_classes(rng, facts),
        *_of_zones(rng, facts),
        *_of_objects(rng, facts),
        *_of_nothing(rng, facts, classes),
    ]
    kept: dict[str, LabelSentence] = {}
    for each in found:
        if not any(text in kept for text in each.texts):
            kept |= dict.fromkeys(each.texts, each)
    return list({id(each): each for each in kept.values()}.values())


def plural(noun: str) -> str:
    """A class name's plural, regular but for a few endings."""
    if noun.endswith(("s", "x", "z", "ch", "sh")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return noun if noun.endswith("craft") else f"{noun}s"


def _of(facts: LabelFacts, category: str) -> tuple[int, ...]:
    return tuple(i for i, thing in enumerate(facts.objects) if thing.category == category)


def _of_classes(rng: np.random.Generator, facts: LabelFacts) -> Iterator[LabelSentence]:
    for category in sorted({thing.category for thing in facts.objects}):
        members = _of(facts, category)
        many = plural(category)
        others = (many, f"the {many}", f"all {many}", f"all the {many}", f"every {category}", category)
        other = pick(rng, others if len(members) > 1 else (category,))
        yield LabelSentence((f"the {category}", other), members, category, (("noun", category),))


def _of_zones(rng: np.random.Generator, facts: LabelFacts) -> Iterator[LabelSentence]:
    """At most one part of the image for each class: where some of it lies, none of it in doubt, and not all of it."""
    for category in sorted({thing.category for thing in facts.objects}):
        for zone in rng.permutation(list(ZONES)):
            clauses: list[Clause] = [("noun", category), ("zone", str(zone))]
            verdicts = facts.matching(clauses)
            inside = tuple(i for i, verdict in enumerate(verdicts) if verdict)
            if None not in verdicts and 1 < len(inside) < len(_of(facts, category)):
                text = f"the {plural(category)} {pick(rng, ZONE_WORDS[str(zone)])}"
                yield LabelSentence((text,), inside, category, tuple(clauses))
                break


def _of_objects(rng: np.random.Generator, facts: LabelFacts) -> Iterator[LabelSentence]:
    landmarks = landmarks_of(facts) if len(facts.objects) <= _RELATED else {}
    described = 0
    for i in (int(index) for index in rng.permutation(len(facts.objects))):
        thing = facts.objects[i]
        if described == _OBJECTS or not thing.clear:
            continue
        options: dict[str, list[tuple[str, tuple[Clause, ...]]]] = {}
        for kind, program in programs(facts, i, thing.category, landmarks):
            if kind != "category":  # said of the class already
                options.setdefault(kind, []).append((sentence(rng, program, landmarks), tuple(program)))
        for landmark in landmarks:
            if facts.nearest([("noun", thing.category)], landmark) == i:
                text = f"the {thing.category} {pick(rng, _NEAREST)} {phrase(rng, landmarks[landmark])}"
                options.setdefault("nearest", []).append((text, (("noun", thing.category), ("nearest", landmark))))
        for kind in rng.permutation(list(options))[:_EACH]:
            text, meaning = options[str(kind)][int(rng.integers(len(options[str(kind)])))]
            yield LabelSentence((text,), (i,), thing.category, meaning)
        described += bool(options)


def _of_nothing(rng: np.random.Generator, facts: LabelFacts, classes: Sequence[str]) -> Iterator[LabelSentence]:
    """Now and then a class that is absent, and one that is absent from a part; always where there is no object."""
    present = {thing.category for thing in facts.objects}
    absent = [category for category in classes if category not in present]
    if absent and rng.random() < _ABSENT:
        category = pick(rng, absent)
        yield LabelSentence((pick(rng, (f"the {category}", f"the {plural(category)}")),), (), category)
    if (present and rng.random() < _ABSENT) or not facts.objects:
        category = pick(rng, sorted(present or classes))
        empty = [zone for zone in ZONES if not any(facts.reaches(i, zone) for i in _of(facts, category))]
        if empty:
            zone = pick(rng, empty)
            noun = pick(rng, (category, plural(category)))
            text = f"the {noun} {pick(rng, ZONE_WORDS[zone])}"
            yield LabelSentence((text,), (), category, (("noun", category), ("zone", zone)))
