"""Released checkpoints of scene classifiers by the names and shapes of their entries, as their authors have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from rsvl import registry
from rsvl.modules.encoders.lwganet import L0, LWGANetEncoder
from tests.support.released_names import read_names

RELEASED = dict(read_names(Path(__file__).with_name("scene_names.txt.gz")))
#: Entries that no output depends on, beside the constants, and entries that are constants.
UNREAD = {"lwganet-l0": 0, "lwganet-l2": 0, "rsmamba-b": 0, "afm-net": 4}
CLASSES = {"lwganet-l0": 45, "lwganet-l2": 30, "rsmamba-b": 45, "afm-net": 30}


@pytest.mark.parametrize("name", RELEASED)
def test_released_entries_fill_the_model_and_only_unread_ones_are_left_over(name: str) -> None:
    with torch.device("meta"):
        model = registry.create(name)
    own = model.published(RELEASED[name])
    with model.resized(own):
        weights = model.state_dict()
        assert {key: list(own[key].shape) for key in weights if key in own} == {
            key: list(value.shape) for key, value in weights.items()
        }
        left = [key for key in own if key not in weights]
        assert [key for key in left if not re.match(model.unread, key)] == []
        assert len(left) == UNREAD[name]
        assert model.spec.graphs[0].outputs[0].shape == ("batch", CLASSES[name])


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_checkpoint_is_recognised_as_that_of_one_family(name: str) -> None:
    assert registry.readers(RELEASED[name]) == [registry.entry(name).family]


def test_an_encoder_reads_its_part_of_a_checkpoint_and_no_other_networks() -> None:
    with torch.device("meta"):
        encoder = LWGANetEncoder(L0)
    part = encoder.published(RELEASED["lwganet-l0"])
    assert part is not None and set(part) == set(encoder.state_dict())
    assert encoder.published(encoder.state_dict()) is not None
    assert encoder.published(RELEASED["rsmamba-b"]) is None


def test_another_mixture_is_as_large_as_in_the_checkpoint() -> None:
    def smaller(key: str, value: torch.Tensor) -> torch.Tensor:
        inner = {".w1.": (0, 768), ".w3.": (0, 768), ".w2.": (1, 768)}
        for part, (axis, size) in inner.items():
            if part in key and "experts" in key:
                return value.narrow(axis, 0, size)
            if part in key and "shared_mlp" in key:
                return value.narrow(axis, 0, size)
        return value[:4] if key.endswith("gate_proj.weight") else value

    given = {
        key: smaller(key, value)
        for key, value in RELEASED["afm-net"].items()
        if not (expert := re.search(r"experts\.(\d+)\.", key)) or int(expert[1]) < 4
    }
    with torch.device("meta"):
        model = registry.create("afm-net")
        own = model.published(given)
        with model.resized(own):
            assert all(own[key].shape == value.shape for key, value in model.state_dict().items())
            assert (model.mixture.sizes.experts, model.mixture.sizes.inner, model.mixture.sizes.chosen) == (4, 768, 4)
