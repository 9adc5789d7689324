"""`rsvl bench BUNDLE`: what it prints and writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsvl.benchmarks.bundle import speed
from rsvl.benchmarks.bundle.ceilings import Ceilings, Product
from tests.support.installed import needs
from tests.support.outcome import Rsvl


@needs("matplotlib")
def test_bundle_is_measured_and_reported_in_every_form(
    rsvl: Rsvl, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        speed, "cpu_ceilings", lambda threads: Ceilings({"fp32": Product(100.0, "numpy")}, 10.0, "NumPy")
    )
    arguments = ("bench", bundle, "--rounds", 1, "--batch-size", 1, "--batch-size", 2, "--threads", 1)
    written = ("--results", tmp_path / "results", "--plot", tmp_path / "plot.svg")
    outcome = rsvl(*arguments, *written, "--json")
    assert outcome.json["model"] == "toy" and list(outcome.json["throughput"]) == ["1", "2"]
    report, text = sorted((tmp_path / "results").iterdir())
    assert json.loads(report.read_text()) == outcome.json
    assert report.name.endswith("-toy-fp32.json") and text.read_text().startswith("# toy, fp32")
    assert (tmp_path / "plot.svg").is_file()
    assert all(str(path) in outcome.err for path in (report, text, tmp_path / "plot.svg"))
