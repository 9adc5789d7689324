"""The operations beside plain layers: what is measured of what, and that every form computes what PyTorch does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from rsvl.benchmarks.laboratory import operations
from rsvl.benchmarks.laboratory.operation_cases import (
    Case,
    experts_of_patches,
    low_rank_experts,
    recurrence,
    rotated_convolution,
)
from rsvl.benchmarks.laboratory.operations import Record, markdown, measure
from rsvl.benchmarks.records import keep
from rsvl.runtime.errors import OutputError

CHANNELS, SIDE, PATCHES, EXPERTS, RANK, STATES = 6, 5, 7, 3, 2, 4


@pytest.mark.parametrize(
    ("case", "macs"),
    [
        (
            rotated_convolution(CHANNELS, SIDE),
            {
                "plain layer": 9 * CHANNELS**2 * SIDE**2,
                "rsvl": 9 * CHANNELS**2 * (SIDE**2 + 27),
                "plain export": 9 * CHANNELS**2 * (SIDE**2 + 27),
            },
        ),
        (
            low_rank_experts(PATCHES, CHANNELS, EXPERTS, RANK),
            {
                "plain layer": PATCHES * CHANNELS**2,
                "rsvl": PATCHES * CHANNELS * (CHANNELS + 2 * EXPERTS * RANK),
            },
        ),
        (
            experts_of_patches(4, 2, CHANNELS, EXPERTS, 1),
            {
                "plain layer": 16 * CHANNELS * (9 * CHANNELS + 3),
                "rsvl": 16 * CHANNELS * (9 * CHANNELS + 3 * EXPERTS),
            },
        ),
        (
            recurrence(PATCHES, CHANNELS, STATES),
            {"plain layer": PATCHES * CHANNELS * STATES, "rsvl": PATCHES * CHANNELS * STATES},
        ),
    ],
    ids=["rotated convolution", "experts", "experts of patches", "recurrence"],
)
def test_every_form_is_counted_and_agrees_with_pytorch(case: Case, macs: dict[str, int]) -> None:
    found = measure(case, threads=1, rounds=2)
    assert {form.name: form.macs for form in found.forms} == macs
    assert found.forms[0].of_plain == 1.0
    assert all(0 <= form.error < 1e-5 and form.ms.p50 > 0 for form in found.forms)


def test_record_is_json_and_a_page_beside_it(tmp_path: Path) -> None:
    form = operations.FormSpeed("rsvl", operations.Percentiles(12.0, 14.0, 15.0), 0.875, 2_000_000, 3e-7)
    record = Record("Toy CPU", 2, 30, (operations.Measured("RotatedConv2d", 1.15, (form,)),), {"system": "toy"})
    path = keep(asdict(record), markdown(record), tmp_path / "new", "toy-cpu-operations")
    assert json.loads(path.read_text()) == json.loads(json.dumps(asdict(record)))
    page = path.with_suffix(".md").read_text()
    assert "\n## RotatedConv2d: goal 1.15 times the plain layer\n" in page
    assert "| rsvl | 12.00 | 14.00 | 0.88 | 2 | 3.0e-07 |" in page and "| system | toy |" in page


def test_a_record_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "full.md").mkdir()
    with pytest.raises(OutputError, match=r"full\.md: cannot be written"):
        keep({}, "", tmp_path, "full")


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_rounds_that_are_no_number_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        operations.main(["--rounds", wrong])
    assert f"--rounds: {wrong} is not a number from 1 up" in capsys.readouterr().err
