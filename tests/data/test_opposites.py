"""Sentences that name nothing, made of an image's own: whole words, none that is true of it, as many as are asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.data import open_dataset
from rsvl.data.opposites import OPPOSITES, WithOpposites, opposite_sentences
from rsvl.tasks.grounding.training import training_set
from tests.support.optsar_rsvg import annotation, write
from tests.support.toy_learners import ToyGrounder

SAID = ("the left ship", "the right ship", "a storage tank", "the large vehicle at the top")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the left ship", {"the right ship"}),
        ("Upper left corner", {"Lower left corner", "Upper right corner"}),
        ("many small cars", {"few small cars", "many huge cars", "many large cars"}),
        ("the tank near the farm", {"the tank far the farm"}),
        ("the harbour with several piers", {"the harbour with one piers"}),
        ("the leftover topsoil at the airport", set()),
        ("the gray tank", set()),
    ],
)
def test_one_whole_word_becomes_its_opposite(sentence: str, expected: set[str]) -> None:
    found = opposite_sentences(sentence)
    assert set(found) == expected and len(found) == len(expected)


def test_what_is_said_to_be_the_opposite_is_never_the_word_itself() -> None:
    assert all(word not in others and len(set(others)) == len(others) for word, others in OPPOSITES.items())
    assert {"left", "large", "dense", "bright", "many", "wide"} <= OPPOSITES.keys()


@pytest.fixture
def dataset(tmp_path: Path) -> WithOpposites:
    """An image with four sentences of which two are each other's opposites."""
    images = [{"id": 1, "file_name": "opt_000001.jpg", "width": 64, "height": 64}]
    said = [annotation(i, 1, 0, text, [8 * i, 0, 8, 8]) for i, text in enumerate(SAID)]
    write(tmp_path, images=images, annotations=said)
    Image.new("RGB", (64, 64)).save(tmp_path / "images/train/opt_000001.jpg")
    return WithOpposites(open_dataset("optsar-rsvg", tmp_path, "train"))


def test_half_as_many_opposites_as_sentences_are_drawn_and_none_that_is_true(dataset: WithOpposites) -> None:
    drawn = set()
    for seed in range(40):
        record = dataset.varied(0, np.random.default_rng(seed))
        assert record == dataset.varied(0, np.random.default_rng(seed))
        own, added = record.referrings[: len(SAID)], record.referrings[len(SAID) :]
        assert own == dataset[0].referrings and len(added) == 2
        assert all(each.no_target and dataset.box(record, each) is None for each in added)
        assert len({each.ref_id for each in record.referrings}) == len(record.referrings)
        drawn |= {text for each in added for text in each.sentences}
    assert drawn == {f"the {size} vehicle at the top" for size in ("small", "tiny")} | {
        "the large vehicle at the bottom"
    }


def test_training_batch_has_no_target_for_opposites(dataset: WithOpposites) -> None:
    batch = training_set(ToyGrounder(), dataset, len(SAID) + 2, seed=0)[0]
    assert batch.has_target.sum() == len(SAID) and not batch.boxes[~batch.has_target].any()
