"""Checkpoints as their authors publish them, by the command: a part of the model in each, or an average beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rsvl import registry
from rsvl.runtime.errors import OutputError
from tests.support.outcome import Rsvl

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
from rsvl.models.optisar.released import OptiSARNetPlusPlus  # noqa: E402
from tests.support.released_optisar import SMALL, random_weights, write_published  # noqa: E402


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Registers `small-grounder`, and gives the models that the command would export."""
    registry.names()
    entry = registry.Entry("small-grounder", "optisar-net++", OptiSARNetPlusPlus, SMALL)
    monkeypatch.setitem(registry._ENTRIES, entry.name, entry)
    models: list[Any] = []

    def export(model: Any, *_: object, **__: object) -> None:
        models.append(model)
        raise OutputError("the disk is full")

    monkeypatch.setattr("rsvl.export.export", export)
    return models


@pytest.mark.parametrize(("options", "seed"), [((), 3), (("--ema",), 4)], ids=["weights", "average"])
def test_weights_go_with_the_encoder_that_they_lack(
    options: tuple[str, ...], seed: int, exported: list[Any], rsvl: Rsvl, tmp_path: Path
) -> None:
    weights, text = write_published(tmp_path, seed=3)
    given = ("--weights", weights, "--encoder-weights", text, *options)
    outcome = rsvl("export", "--model", "small-grounder", *given)
    assert ("the weights under model are taken" in outcome.err) is not bool(options)
    (model,) = exported
    assert (model.source["weights"], model.source["encoder_weights"]) == ("best.pt", "text.pt")
    assert model.source.get("ema") == ("true" if options else None)
    expected = random_weights(seed)[0] | {f"text_encoder.{key}": value for key, value in random_weights(3)[1].items()}
    found = model.state_dict()
    assert found.keys() == expected.keys() and all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("command", ["export", "eval"])
def test_average_without_a_checkpoint_is_refused(command: str, exported: list[Any], rsvl: Rsvl, tmp_path: Path) -> None:
    model = ("--model", "small-grounder") if command == "export" else ("small-grounder",)
    data = ("--data", "dior-rsvg", "--root", tmp_path) if command == "eval" else ()
    outcome = rsvl(command, *model, *data, "--ema")
    assert outcome.code == 2 and "give it with --weights" in outcome.error and not exported
