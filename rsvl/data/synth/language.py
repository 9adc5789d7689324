"""Sentences: finds descriptions that hold of exactly one object (or of none) and words them in varied English."""

from collections.abc import Iterator, Sequence

import numpy as np

from rsvl.data.synth.catalog import CATEGORIES, VARIANT_NOUNS
from rsvl.data.synth.facts import DIRECTIONS, ZONES, Clause, Facts
from rsvl.data.synth.scene import Expression, SceneObject

#: Share of a scene's expressions without a target.
NO_TARGET_SHARE = 0.125

ZONE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side of the image", "at the left"),
    "right": ("on the right", "on the right side of the image", "at the right"),
    "top": ("at the top", "at the top of the image", "in the upper part"),
    "bottom": ("at the bottom", "at the bottom of the image", "in the lower part"),
    "middle": ("in the middle", "in the center", "in the middle of the image"),
    "top left": ("in the top left", "in the upper left corner", "on the upper left"),
    "top right": ("in the top right", "in the upper right corner", "on the upper right"),
    "bottom left": ("in the bottom left", "in the lower left corner", "on the lower left"),
    "bottom right": ("in the bottom right", "in the lower right corner", "on the lower right"),
}
_RELATION_WORDS: dict[str, tuple[str, ...]] = {
    "left of": ("left of", "to the left of", "on the left side of"),
    "right of": ("right of", "to the right of", "on the right side of"),
    "above": ("above", "on the upper side of"),
    "below": ("below", "on the lower side of"),
    "next to": ("next to", "beside", "close to", "near"),
}
_SUPERLATIVE_WORDS: dict[str, tuple[str, ...]] = {
    "largest": ("largest", "biggest", "large", "big"),
    "smallest": ("smallest", "small", "tiny"),
    "longest": ("longest", "long"),
    "shortest": ("shortest", "short"),
    "leftmost": ("leftmost",),
    "rightmost": ("rightmost",),
    "topmost": ("topmost", "uppermost"),
    "bottommost": ("bottommost", "lowermost"),
}
#: How often each kind is wanted, relative to the others that are possible for an object.
_WEIGHTS: dict[str, float] = {
    "category": 1.6, "colour": 1.5, "position": 1.3, "colour+position": 0.9, "size": 1.2, "size+colour": 0.8,
    "relation": 1.7, "colour+relation": 1.0, "extreme": 0.6,
}  # fmt: skip


def _kind(program: Sequence[Clause]) -> str:
    """Name what a program mentions besides the category."""
    parts = dict(program)
    size = parts.get("superlative") in ("largest", "smallest", "longest", "shortest")
    mentioned = {
        "size": size,
        "colour": "colour" in parts,
        "position": "zone" in parts or ("superlative" in parts and not size),
        "relation": any(word in parts for word in _RELATION_WORDS),
    }
    return "+".join(kind for kind, is_in in mentioned.items() if is_in) or "category"


def _nouns(thing: SceneObject) -> list[str]:
    """Nouns that may name an object."""
    nouns = list(CATEGORIES[thing.category].nouns)
    for variant, (category, words) in VARIANT_NOUNS.items():
        if category == thing.category and variant == thing.variant and thing.obb[2] >= 14:
            nouns += words
    return nouns


def landmarks_of(facts: Facts) -> dict[int, list[Clause]]:
    """Objects that can serve as a reference, each with the shortest program that names it."""
    found: dict[int, list[Clause]] = {}
    for i, thing in enumerate(facts.objects):
        if not thing.clear:
            continue
        noun: Clause = ("noun", facts.noun_of(i))
        if facts.unique([noun]) == i:
            found[i] = [noun]
        elif thing.colour and facts.unique([noun, ("colour", thing.colour)]) == i:
            found[i] = [noun, ("colour", thing.colour)]
        else:
            for word in facts.size_words(i):
                if facts.extreme([noun], word) == i:
                    found[i] = [noun, ("superlative", word)]
    return found


def programs(facts: Facts, i: int, noun: str, landmarks: dict[int, list[Clause]]) -> Iterator[tuple[str, list[Clause]]]:
    """Every program that names object i and nothing else, with the kind it is weighted by."""
    thing = facts.objects[i]
    name: Clause = ("noun", noun)
    tint: list[Clause] = [("colour", thing.colour)] if thing.colour else []
    if facts.unique([name]) == i:
        yield "category", [name]
    if tint and facts.unique([name, *tint]) == i:
        yield "colour", [name, *tint]
    zones: list[Clause] = [("zone", zone) for zone in ZONES if facts.zone(i, zone)]
    for zone in zones:
        if facts.unique([name, zone]) == i:
            yield "position", [name, zone]
        if tint and facts.unique([name, *tint, zone]) == i:
            yield "colour+position", [name, *tint, zone]
    for word in (*facts.size_words(i), "leftmost", "rightmost", "topmost", "bottommost"):
        size = word in facts.size_words(i)
        superlative: Clause = ("superlative", word)
        if facts.extreme([name], word) == i:
            yield "size" if size else "extreme", [name, superlative]
        if tint and facts.extreme([name, *tint], word) == i:
            yield "size+colour" if size else "extreme", [name, *tint, superlative]
    for landmark in landmarks:
        if landmark == i:
            continue
        for relation in (*DIRECTIONS, "next to"):
            clause: Clause = (relation, landmark)
            if not facts.holds(i, clause):
                continue
            if facts.unique([name, clause]) == i:
                yield "relation", [name, clause]
            if tint and facts.unique([name, *tint, clause]) == i:
                yield "colour+relation", [name, *tint, clause]


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def phrase(rng: np.random.Generator, program: Sequence[Clause], article: str = "the") -> str:
    """Word the noun, colour and superlative of a program as a noun phrase."""
    parts = dict(program)
    noun = str(parts["noun"])
    if "colour" in parts:
        colour = str(parts["colour"])
        noun = f"{'grey' if colour == 'gray' and rng.random() < 0.3 else colour} {noun}"
    if "superlative" in parts:
        noun = f"{pick(rng, _SUPERLATIVE_WORDS[str(parts['superlative'])])} {noun}"
        article = "the"
    if article == "a":
        article = "an" if noun[0] in "aeio" else "a"
    return f"{article} {noun}"


def sentence(rng: np.random.Generator, program: Sequence[Clause], landmarks: dict[int, list[Clause]]) -> str:
    """Word a whole program."""
    parts = dict(program)
    article = "a" if rng.random() < 0.15 else "the"
    head = phrase(rng, program, article)
    tail = ""
    if "zone" in parts:
        tail = pick(rng, ZONE_WORDS[str(parts["zone"])])
    for relation, words in _RELATION_WORDS.items():
        if relation in parts:
            landmark = int(parts[relation])  # type: ignore[call-overload]
            tail = f"{pick(rng, words)} {phrase(rng, landmarks[landmark])}"
    joint = pick(rng, ("", "", "", "that is ", "located ")) if tail else ""
    return f"{head} {joint}{tail}".strip()


def describe(rng: np.random.Generator, objects: Sequence[SceneObject], size: int) -> list[Expression]:
    """Word a scene's expressions: one or two for each object that can be told apart, and some without a target."""
    facts = Facts(objects, size)
    landmarks = landmarks_of(facts)
    found: list[Expression] = []
    for i in rng.permutation(len(objects)):
        thing = objects[int(i)]
        if not thing.clear:
            continue
        options: dict[str, list[list[Clause]]] = {}
        for noun in _nouns(thing):
            for kind, program in programs(facts, int(i), noun, landmarks):
                options.setdefault(kind, []).append(program)
        wanted = 1 + int(rng.random() < 0.6)
        for _ in range(min(wanted, len(options))):
            kinds = list(options)
            weights = np.array([_WEIGHTS[kind] for kind in kinds])
            kind = str(rng.choice(kinds, p=weights / weights.sum()))
            choices = options.pop(kind)
            program = choices[int(rng.integers(len(choices)))]
            found.append(Expression(sentence(rng, program, landmarks), int(i), _kind(program), tuple(program)))
    found = found[:8]
    absent = sum(rng.random() < NO_TARGET_SHARE / (1 - NO_TARGET_SHARE) for _ in range(max(1, len(found))))
    for _ in range(absent):
        expression = _nothing(rng, facts, landmarks)
        if expression is not None:
            found.append(expression)
    texts: set[str] = set()
    return [e for e in found if not (e.text in texts or texts.add(e.text))]  # type: ignore[func-returns-value]


def _nothing(rng: np.random.Generator, facts: Facts, landmarks: dict[int, list[Clause]]) -> Expression | None:
    """Word a description that is false of every object: a category, a colour or a place with nothing of the sort."""
    present = sorted({thing.category for thing in facts.objects})
    for _ in range(12):
        category = pick(rng, present if present and rng.random() < 0.6 else list(CATEGORIES))
        kind = CATEGORIES[category]
        program: list[Clause] = [("noun", pick(rng, kind.nouns))]
        if len(set(kind.colours)) > 1 and rng.random() < 0.6:
            program.append(("colour", pick(rng, kind.colours)))
        draw = rng.random()
        if draw < 0.35:
            program.append(("zone", pick(rng, list(ZONES))))
        elif draw < 0.6 and landmarks:
            program.append((pick(rng, [*DIRECTIONS, "next to"]), _pick_landmark(rng, landmarks)))
        if all(verdict is False for verdict in facts.matching(program)):
            return Expression(sentence(rng, program, landmarks), None, _kind(program), tuple(program))
    return None


def _pick_landmark(rng: np.random.Generator, landmarks: dict[int, list[Clause]]) -> int:
    keys = sorted(landmarks)
    return keys[int(rng.integers(len(keys)))]
