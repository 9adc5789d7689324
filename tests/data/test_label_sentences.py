"""Sentences about labelled objects: true, and of one meaning, by crisp rules that share no code with their maker.

The maker answers "true", "false" or "borderline" and speaks only of what is clear; here one threshold stands in the
middle of each of its margins.
"""

import math
import re
from collections import Counter

import numpy as np
import pytest

from rsvl.data.label_facts import LabelFacts, LabelledObject, box_gaps
from rsvl.data.label_sentences import LabelSentence, plural, sentences_for

WIDTH, HEIGHT = 300, 200
CLASSES = ("bus", "car", "tree", "windmill")
SUPERLATIVES = {
    "largest": ("largest", "biggest", "large", "big"), "smallest": ("smallest", "small", "tiny"),
    "leftmost": ("leftmost",), "rightmost": ("rightmost",), "topmost": ("topmost", "uppermost"),
    "bottommost": ("bottommost", "lowermost"),
}  # fmt: skip


def _image(seed: int) -> list[LabelledObject]:
    rng = np.random.default_rng(seed)
    found = []
    for key in range(int(rng.integers(1, 9))):
        width, height = rng.integers(8, 60, 2)
        box = (
            float(rng.integers(0, WIDTH - width)),
            float(rng.integers(0, HEIGHT - height)),
            float(width),
            float(height),
        )
        found.append(LabelledObject(str(rng.choice(CLASSES[:3])), box, float(width * height), key=key))
    return found


def _centre(thing: LabelledObject) -> tuple[float, float]:
    x, y, w, h = thing.bbox
    return (x + w / 2) / WIDTH, (y + h / 2) / HEIGHT


def _in_zone(thing: LabelledObject, text: str) -> bool:
    x, y = _centre(thing)
    if re.search("middle|center", text):
        return max(abs(x - 0.5), abs(y - 0.5)) < 0.15
    words = {"left": x < 0.36, "right": x > 0.64, "top|upper": y < 0.36, "bottom|lower": y > 0.64}
    return all(holds for word, holds in words.items() if re.search(rf"\b({word})\b", text))


def _gap(a: LabelledObject, b: LabelledObject) -> float:
    """Between two boxes, by the definition: the least distance of a point of one to a point of the other."""
    xs = max(0.0, max(a.bbox[0], b.bbox[0]) - min(a.bbox[0] + a.bbox[2], b.bbox[0] + b.bbox[2]))
    ys = max(0.0, max(a.bbox[1], b.bbox[1]) - min(a.bbox[1] + a.bbox[3], b.bbox[1] + b.bbox[3]))
    return math.hypot(xs, ys)


def _beside(thing: LabelledObject, direction: str, landmark: LabelledObject) -> bool:
    ax, ay = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}[direction]
    (x, y), (u, v) = _centre(thing), _centre(landmark)
    dx, dy = (x - u) * WIDTH, (y - v) * HEIGHT
    return dx * ax + dy * ay > math.cos(math.radians(55)) * math.hypot(dx, dy)


def _measure(word: str, thing: LabelledObject) -> float:
    x, y = _centre(thing)
    return {
        "largest": thing.area, "smallest": -thing.area, "leftmost": -x, "rightmost": x, "topmost": -y, "bottommost": y,
    }[word]  # fmt: skip


def _meant(objects: list[LabelledObject], each: LabelSentence) -> set[int]:
    """Indices of what a sentence is true of, by its words; its program says which neighbour is meant."""
    (text, *_), parts = each.texts, dict(each.program)
    fitting = [i for i, thing in enumerate(objects) if thing.category == each.category]
    head = re.split(
        r" (?:that is |located )?(?:on|at|in|near|nearest|closest|beside|close|next|left|right|above|below|to) ", text
    )[0]
    if "zone" in parts:
        fitting = [i for i in fitting if _in_zone(objects[i], text)]
    for word, landmark in parts.items():
        if word in ("left of", "right of", "above", "below"):
            fitting = [i for i in fitting if i != landmark and _beside(objects[i], word, objects[int(str(landmark))])]
        elif word == "next to":
            near = 0.11 * max(WIDTH, HEIGHT)
            fitting = [i for i in fitting if i != landmark and _gap(objects[i], objects[int(str(landmark))]) < near]
        elif word == "nearest":
            other = objects[int(str(landmark))]
            fitting = [min((i for i in fitting if i != landmark), key=lambda i: _gap(objects[i], other))]
            assert f"{other.category}" in text
    for word, wordings in SUPERLATIVES.items():
        if any(f" {wording} {each.category}" in f" {head}" for wording in wordings):
            assert len(fitting) > 1, "a superlative compares"
            fitting = [max(fitting, key=lambda i: _measure(word, objects[i]))]
    return set(fitting)


@pytest.fixture(scope="module")
def described() -> list[tuple[list[LabelledObject], list[LabelSentence]]]:
    """A hundred and fifty images and what is said of them."""
    found = []
    for seed in range(150):
        objects = _image(seed)
        facts = LabelFacts(objects, WIDTH, HEIGHT)
        found.append((objects, sentences_for(np.random.default_rng(seed), facts, CLASSES)))
    return found


def test_sentences_are_true_of_what_they_name_and_of_nothing_else(described) -> None:
    for objects, sentences in described:
        for each in sentences:
            assert _meant(objects, each) == set(each.objects), each


def test_sentences_of_an_image_differ_and_all_kinds_occur(described) -> None:
    words: Counter[str] = Counter()
    for _, sentences in described:
        texts = [text for each in sentences for text in {*each.texts}]
        assert len(texts) == len(set(texts))
        words.update(word for each in sentences for word, _ in each.program[1:])
        words["nothing"] += sum(not each.objects for each in sentences)
        words["several"] += sum(len(each.objects) > 1 for each in sentences)
    for kind in ("zone", "superlative", "nearest", "next to", "left of", "above", "nothing", "several"):
        assert words[kind] >= 10, (kind, words)


@pytest.mark.parametrize(
    ("noun", "many"),
    [("car", "cars"), ("bus", "buses"), ("roundabout", "roundabouts"), ("beach", "beaches"), ("ferry", "ferries"),
     ("runway", "runways"), ("aircraft", "aircraft")],
)  # fmt: skip
def test_plural(noun: str, many: str) -> None:
    assert plural(noun) == many


def test_gaps_of_boxes() -> None:
    found = box_gaps([(0, 0, 10, 10), (13, 14, 5, 5), (5, 5, 2, 2)])
    np.testing.assert_allclose(found, [[0, 5, 0], [5, 0, math.hypot(6, 7)], [0, math.hypot(6, 7), 0]])
