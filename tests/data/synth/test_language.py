"""Synthetic expressions: each is true of exactly one object, or of none, by crisp rules.

The maker answers "true", "false" or "borderline" and speaks only of what is clear. The rules here share no code with it
and have one threshold in the middle of each of its margins, so a margin that fails to hold shows as a second match or
none.
"""

import re
from collections import Counter

import cv2
import numpy as np

from rsvl.data.synth import CATEGORIES, Expression, Scene, SceneObject
from rsvl.data.synth.catalog import VARIANT_NOUNS
from tests.support.crisp_rules import AXES, beside, centre, colour_word, in_zone


def _named(thing: SceneObject, noun: str) -> bool:
    for variant, (category, nouns) in VARIANT_NOUNS.items():
        if noun in nouns:
            return thing.category == category and thing.variant == variant
    return noun in CATEGORIES[thing.category].nouns


def _painted(scene: Scene, thing: SceneObject, colour: str) -> bool:
    if thing.colour is None:
        return False
    return colour_word(np.median(scene.image[thing.mask], axis=0)) == colour


def _near(thing: SceneObject, landmark: SceneObject) -> bool:
    away = cv2.distanceTransform((~landmark.mask).astype(np.uint8), cv2.DIST_L2, 5)
    return bool(away[thing.mask].min() < 0.11 * thing.mask.shape[0])


def _fits(scene: Scene, thing: SceneObject, word: str, value: object) -> bool:
    if word == "noun":
        return _named(thing, str(value))
    if word == "colour":
        return _painted(scene, thing, str(value))
    if word == "zone":
        return in_zone(thing, str(value))
    landmark = scene.objects[int(str(value))]
    if thing is landmark:
        return False
    return _near(thing, landmark) if word == "next to" else beside(thing, word, landmark)


_MEASURE = {
    "largest": lambda o: o.mask.sum(), "smallest": lambda o: -o.mask.sum(),
    "longest": lambda o: o.obb[2], "shortest": lambda o: -o.obb[2],
    "leftmost": lambda o: -centre(o)[0], "rightmost": lambda o: centre(o)[0],
    "topmost": lambda o: -centre(o)[1], "bottommost": lambda o: centre(o)[1],
}  # fmt: skip


def _meant(scene: Scene, expression: Expression) -> list[int]:
    """Indices of the objects that an expression's program is true of."""
    clauses = [c for c in expression.program if c[0] != "superlative"]
    fitting = [i for i, o in enumerate(scene.objects) if all(_fits(scene, o, *c) for c in clauses)]
    for _, value in (c for c in expression.program if c[0] == "superlative"):
        assert len(fitting) >= 2, "a superlative compares"
        fitting = [max(fitting, key=lambda i: _MEASURE[str(value)](scene.objects[i]))]
    return fitting


def test_expressions_are_true_of_exactly_their_target(scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        for expression in scene.expressions:
            if expression.target is not None:
                assert _meant(scene, expression) == [expression.target], (k, expression)


def test_expressions_without_target_are_true_of_nothing(scenes: list[Scene]) -> None:
    for k, scene in enumerate(scenes):
        for expression in scene.expressions:
            if expression.target is None:
                assert _meant(scene, expression) == [], (k, expression)


def test_texts_say_what_their_programs_mean(scenes: list[Scene]) -> None:
    for scene in scenes:
        for expression in scene.expressions:
            parts = dict(expression.program)
            text = expression.text.replace("grey", "gray")
            head = re.escape(" ".join(str(parts[w]) for w in ("colour", "noun") if w in parts))
            assert re.match(rf"(the|an?) (\w+ )?{head}\b", text), expression
            zone = str(parts.get("zone", ""))
            words = {"top": "top|upper", "bottom": "bottom|lower", "middle": "middle|center"}
            for word in zone.split():
                assert re.search(words.get(word, word), text), expression
            for word in AXES:
                if word in parts:
                    assert re.search(
                        {"above": "above|upper side", "below": "below|lower side"}.get(word, word.split()[0]), text
                    )


def test_expressions_of_a_scene_differ(scenes: list[Scene]) -> None:
    for scene in scenes:
        texts = [expression.text for expression in scene.expressions]
        assert len(texts) == len(set(texts))


def test_kinds_of_expression_are_mixed(scenes: list[Scene]) -> None:
    expressions = [e for scene in scenes for e in scene.expressions]
    share = Counter(part for e in expressions for part in e.kind.split("+"))
    assert 0.09 <= np.mean([e.target is None for e in expressions]) <= 0.17
    assert 0.2 <= share["relation"] / len(expressions) <= 0.4
    for kind in ("category", "colour", "size", "position"):
        assert share[kind] / len(expressions) >= 0.05, kind


def test_wording_is_varied(scenes: list[Scene]) -> None:
    texts = [e.text for scene in scenes for e in scene.expressions]
    assert len(set(texts)) > 0.75 * len(texts)
    words = {word for text in texts for word in text.split()}
    for synonyms in ({"ship", "vessel", "boat"}, {"airplane", "plane", "aircraft"}, {"beside", "near", "close"}):
        assert synonyms <= words
