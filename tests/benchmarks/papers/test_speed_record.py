"""Records of speed: found again by the hardware that made them, and refused when they are something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.papers import speed_record
from rsvl.benchmarks.papers.published import Published, PublishedTable
from rsvl.benchmarks.papers.speed_record import TableSpeed, keep, recorded
from rsvl.benchmarks.timing import Percentiles
from rsvl.runtime.errors import InputError


def record(ran_on: str) -> TableSpeed:
    times = Percentiles.of([10.0, 20.0, 30.0])
    return TableSpeed("toy++", ran_on, 2, 3, {"Row": {"PyTorch eager": times}}, {"cores": "2"})


def test_record_is_found_again_on_the_same_hardware_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = record(hardware())
    keep(here, tmp_path)
    assert recorded("toy++", tmp_path) == here
    assert recorded("other", tmp_path) is None
    assert here.fps("Row") == {"PyTorch eager": 50.0} and here.fps("Other") == {}
    monkeypatch.setattr(speed_record, "hardware", lambda: "Another CPU, 64 cores")
    assert recorded("toy++", tmp_path) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"rows": {"Row": 3}}', '{"rows": {}, "table": "toy"}'])
def test_a_file_that_is_no_record_is_one_line(content: str, tmp_path: Path) -> None:
    path = keep(record(hardware()), tmp_path)
    path.write_text(content)
    with pytest.raises(InputError, match=r"not a record of speeds .*--speed"):
        recorded("toy++", tmp_path)


def test_every_row_with_a_model_is_measured_in_pytorch_and_as_a_bundle() -> None:
    from rsvl.benchmarks.bundle.whole_model import EAGER
    from rsvl.benchmarks.papers.table_speed import BUNDLE, measure

    rows = (Published("Ours", "tests.support.chain:build"), Published("Stranger"))
    said: list[str] = []
    speed = measure(
        PublishedTable("t", "T", "s", "c", {}, rows=rows), 1, 1, lambda done, total, what: said.append(what)
    )
    assert said == ["measuring Ours"]
    assert list(speed.rows) == ["Ours"] and list(speed.rows["Ours"]) == [EAGER, BUNDLE]
    assert speed.hardware == hardware() and speed.machine["cores"]
