"""Released checkpoints of LAVT's family and of CRIS by the names and shapes that their authors' code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rsvl import registry
from tests.support.released_names import State, read_names

RELEASED = dict(read_names(Path(__file__).with_name("names.txt.gz")))
#: Entries that no output depends on, beside the constants.
UNREAD = {"lavt": 2, "rmsin": 50, "fianet": 29, "cadformer": 622, "lgce": 196, "cris": 1, "cris-r101": 1}


def bert_apart(state: State) -> State:
    """As read from a file with `bert_model` beside `model`, as LAVT's first ones are."""
    return {re.sub("^text_encoder", "bert_model", key): value for key, value in state.items()}


@pytest.mark.parametrize("layout", [dict, bert_apart])
@pytest.mark.parametrize("name", RELEASED)
def test_released_entries_fill_the_model_and_only_unread_ones_are_left_over(name: str, layout: type) -> None:
    with torch.device("meta"):
        model = registry.create(name)
    own, weights = model.published(layout(RELEASED[name])), model.state_dict()
    assert {key: list(own[key].shape) for key in weights if key in own} == {
        key: list(value.shape) for key, value in weights.items()
    }
    left = [key for key in own if key not in weights]
    assert [key for key in left if not re.match(model.unread, key)] == []
    assert len(left) == UNREAD[name]


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_checkpoint_is_recognised_as_that_of_one_family(name: str) -> None:
    assert registry.readers(RELEASED[name]) == [registry.entry(name).family]


def test_blocks_of_fianets_enhancement_are_as_many_as_in_the_checkpoint() -> None:
    one = {key: value for key, value in RELEASED["fianet"].items() if not re.match(r"backbone\.tmem\.block\.[12]", key)}
    with torch.device("meta"):
        model = registry.create("fianet")
        own = model.published(one)
        with model.resized(own):
            assert set(model.state_dict()) <= set(own)
            assert model.preset.enhancements == 1
