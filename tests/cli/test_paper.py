"""`rsvl paper`: what it prints and writes, without counting a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.papers import published
from rsvl.benchmarks.papers.published import Published, PublishedTable
from rsvl.benchmarks.papers.speed_record import TableSpeed
from rsvl.benchmarks.timing import Percentiles
from tests.support.outcome import Rsvl

pytest.importorskip("torch")
from rsvl.benchmarks.papers import table_speed


def test_without_a_name_every_table_is_listed(rsvl: Rsvl) -> None:
    listed = rsvl("paper", "--json").json["tables"]
    assert [table["name"] for table in listed] == published.tables()
    text = rsvl("paper").out
    assert all(table["title"] in text for table in listed)


def test_table_is_markdown_or_json(rsvl: Rsvl) -> None:
    assert rsvl("paper", "daily-papers").out.startswith("# Efficiency figures")
    found = rsvl("paper", "daily-papers", "--json").json
    assert found["name"] == "daily-papers" and found["rows"] == [] and found["figures"][0]["value"] == 97


@pytest.fixture
def toy_table(monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of one model that takes no time to count, and a measurement that takes none either."""
    rows = (Published("Tiny", "clip-tiny", parameters_m=1.0, flops_g=1.0, fps=9.0, oiou=50.0),)
    monkeypatch.setattr(
        published, "read", lambda name: PublishedTable(name, "Toy", "a paper", "Somehow.", {}, rows=rows)
    )

    def measure(table: PublishedTable, rounds: int, threads: int | None, say: object) -> TableSpeed:
        times = {"PyTorch eager": Percentiles(250.0, 260.0, 270.0)}
        return TableSpeed(table.name, hardware(), threads or 2, rounds, {"Tiny": times}, {})

    monkeypatch.setattr(table_speed, "measure", measure)
    return "toy"


def test_speed_is_kept_and_shown_from_then_on(rsvl: Rsvl, toy_table: str, tmp_path: Path) -> None:
    arguments = ("paper", toy_table, "--results", tmp_path / "results")
    assert "FPS here" not in rsvl(*arguments).out
    first = rsvl(*arguments, "--speed", "--rounds", "2")
    assert "| FPS published | FPS here: PyTorch eager |" in first.out and "| 9.00 | 4.00 |" in first.out
    (record,) = (tmp_path / "results").iterdir()
    assert str(record) in first.err
    assert rsvl(*arguments).out == first.out


def test_plot_writes_a_picture(rsvl: Rsvl, toy_table: str, tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    outcome = rsvl("paper", toy_table, "--plot", picture, "--x-axis", "flops", "--json")
    assert outcome.json["name"] == "toy" and f"wrote {picture}: Tiny" in outcome.err
    assert picture.read_text().lstrip().startswith("<?xml")
