"""The record of released models' speed: what is measured of a model, and rows that single runs leave as they are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rsvl import registry
from rsvl.benchmarks.bundle.runners import PLAIN
from rsvl.benchmarks.bundle.whole_model import EAGER
from rsvl.benchmarks.laboratory.released_speed import BUNDLE, measure, record
from rsvl.models.lavt import LAVT
from tests.support.small_fusion import small_preset


def test_a_model_is_measured_and_joins_the_others_in_the_record(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry.names()
    monkeypatch.setitem(registry._ENTRIES, "lavt", registry.Entry("lavt", "lavt", LAVT, small_preset("lavt", "")))
    found = measure("lavt", tmp_path, threads=1, rounds=2)
    assert found.ms.keys() == {BUNDLE, EAGER, PLAIN} and found.of_bundle.keys() == {EAGER, PLAIN}
    assert min(found.of_bundle.values()) > 0 and found.further_of_first > 0 and found.weights_mb > 0
    assert {path.name for path in tmp_path.iterdir()} >= {"lavt.bundle", "lavt.onnx"}

    record("rmsin", replace(found, of_bundle={EAGER: 1.5}, memory_of_weights=None), tmp_path)
    page = record("lavt", found, tmp_path)
    (kept,) = tmp_path.glob("*-released.json")
    assert list(json.loads(kept.read_text())["models"]) == ["lavt", "rmsin"]
    assert kept.with_suffix(".md").read_text() == page
    (row,) = (line for line in page.splitlines() if line.startswith("| rmsin"))
    assert [cell.strip() for cell in row.split("|")][3:5] == ["1.50", "–"]
