"""Synthetic captions in RSICD's layout: what they count is what the masks show."""

import re
from collections import Counter
from pathlib import Path

import pytest

from rsvl.data import CaptionDataset, open_dataset
from rsvl.data.synth import CATEGORIES, Scene, generate, write
from rsvl.data.synth.captions import PLACES
from rsvl.data.synth.settings import SETTINGS

_SEED, _SCENES = 13, 12
_WORDS = ["no", "one", "two", "three", "four", "five", "six"]
_NOUN = "|".join(sorted((c.nouns[0] for c in CATEGORIES.values()), key=len, reverse=True))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Scene, tuple[str, ...]]]:
    """Each scene, generated again, with its sentences."""
    root = tmp_path_factory.mktemp("captions") / "set"
    write(root, _SCENES, _SEED, 96, val=3, test=2, task="captions")
    splits = [open_dataset("rsicd", root, split, CaptionDataset) for split in ("train", "val", "test")]
    assert [len(split) for split in splits] == [7, 3, 2]
    return [(generate((_SEED, int(Path(image.path).stem)), 96), image.sentences) for split in splits for image in split]


def test_every_scene_has_five_sentences(told: list[tuple[Scene, tuple[str, ...]]]) -> None:
    assert all(len(sentences) == 5 and len(set(sentences)) >= 3 for _, sentences in told)


def test_what_is_counted_is_what_the_masks_show(told: list[tuple[Scene, tuple[str, ...]]]) -> None:
    checked = 0
    for scene, sentences in told:
        count = Counter(thing.category for thing in scene.objects if thing.mask.any())
        for text in (s for s in sentences if not s.startswith("one can see")):
            for amount, noun in re.findall(rf"\b(an?|many|{'|'.join(_WORDS)}) ({_NOUN})s?\b", text):
                number = count[noun]
                assert amount == ("a" if number == 1 else _WORDS[number] if number < 7 else "many") or (
                    amount == "an" and number == 1
                ), (text, count)
                checked += 1
    assert checked > 40


def test_objects_are_named_by_sentences_that_name_one(told: list[tuple[Scene, tuple[str, ...]]]) -> None:
    for scene, sentences in told:
        texts = {e.text for e in scene.expressions if e.target is not None}
        assert {s[len("one can see ") : -1] for s in sentences if s.startswith("one can see")} <= texts


def test_the_place_and_its_ground_are_said(told: list[tuple[Scene, tuple[str, ...]]]) -> None:
    assert set(PLACES) == set(SETTINGS)
    for scene, sentences in told:
        assert any(PLACES[scene.setting] in text for text in sentences)
        ground = re.findall(r"mostly (water|land)", " ".join(sentences))
        assert all(word == ("water" if scene.water.mean() > 0.5 else "land") for word in ground)
