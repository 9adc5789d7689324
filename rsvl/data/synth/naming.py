"""Short names that single out an object in any image of a scene: by kind, size or place, never by colour."""

from dataclasses import dataclass

from rsvl.data.synth.catalog import CATEGORIES
from rsvl.data.synth.facts import ZONES, Clause, Facts
from rsvl.data.synth.language import ZONE_WORDS


@dataclass(frozen=True)
class Name:
    """A noun phrase with its article, and whether it says where in the image the object is."""

    text: str
    says_place: bool = False


def size_words(category: str) -> tuple[str, str]:
    """The superlatives of most and least for a category."""
    return ("longest", "shortest") if CATEGORIES[category].elongated else ("largest", "smallest")


def names(facts: Facts) -> dict[int, Name]:
    """Name every object that can be told from the others: the shortest way, of kind, size and place."""
    return {i: name for i in range(len(facts.objects)) if (name := _name(facts, i)) is not None}


def _name(facts: Facts, i: int) -> Name | None:
    category = facts.objects[i].category
    noun = CATEGORIES[category].nouns[0]
    kind: Clause = ("noun", noun)
    if facts.unique([kind]) == i:
        return Name(f"the {noun}")
    for word in size_words(category):
        if facts.extreme([kind], word) == i:
            return Name(f"the {word} {noun}")
    for zone in ZONES:
        if facts.unique([kind, ("zone", zone)]) == i:
            return Name(f"the {noun} {ZONE_WORDS[zone][0]}", says_place=True)
    return None
