"""The record of classifiers that we trained: what the commands print is kept and drawn; other files are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from rsvl.benchmarks.trained_classifiers import RECORD, main, read

ROOT = Path(__file__).parents[2]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    """A copy of the project's own."""
    return Path(shutil.copy(ROOT / RECORD, tmp_path / "record.json"))


def printed(folder: Path, name: str, data: object) -> str:
    """A file as a command printed it."""
    (folder / name).write_text(json.dumps(data))
    return str(folder / name)


def evaluated(folder: Path, seed: int, top1: float) -> str:
    found = {"top-1": top1, "kappa": top1 - 0.01, "mean F1": top1, "count": 10}
    return f"{seed}={printed(folder, f'eval-{seed}.json', found)}"


def benched(folder: Path, kind: str, ms: float, **changes: object) -> str:
    said = {"model": "lwganet-tiny", "precision": kind, "threads": 1, "hardware": "AMD EPYC, 2 cores"}
    said |= {"runners": [{"name": "rsvl", "ms": {"p50": ms}}], "footprint": {"weights_mb": 0.5}}
    return printed(folder, f"{kind}.json", said | changes)


def test_added_model_is_kept_with_its_seeds_speeds_and_sizes_beside_the_others(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [evaluated(tmp_path, seed, top1) for seed, top1 in ((0, 0.90), (1, 0.92), (2, 0.94))]
    benches = [benched(tmp_path, "fp32", 2.0), benched(tmp_path, "int8", 1.6)]
    options = [option for run in runs for option in ("--run", run)]
    options += [option for bench in benches for option in ("--bench", bench)]
    plot = tmp_path / "plot.png"
    given = ["--record", str(record), "--model", "lwganet-tiny", "--epochs", "7", *options, "--plot", str(plot)]
    assert main(given) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| lwganet-tiny"))
    assert "| 3 | 7 | 92.00 ± 2.00 | 0.9100 | 500 | – | 625 | 0.5 |" in row
    found = {trained.model: trained for trained in read(record).models}
    assert {"lwganet-tiny", "bamta"} <= set(found)
    assert found["lwganet-tiny"].parameters > 1e4 and found["lwganet-tiny"].macs > 1e5
    assert (tmp_path / "record.md").read_text().count("| bamta |") == 1
    with Image.open(plot) as drawn:
        assert drawn.width > 1000 and len(drawn.convert("RGB").getcolors(1 << 24) or []) > 20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hardware": "Other, 8 cores"}, "the record's speeds are of AMD EPYC, 2 cores, these of Other, 8 cores"),
        ({"model": "bamta"}, "is of bamta on 1 threads: give lwganet-tiny on one"),
        ({"threads": 2}, "on 2 threads"),
        ({"precision": "fp16"}, "a --bench of its fp32 bundle"),
        ({"runners": []}, "is no output of rsvl bench --json"),
    ],
)
def test_speeds_that_do_not_belong_are_refused_and_nothing_is_written(
    changes: dict, message: str, record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = record.read_bytes()
    bench = benched(tmp_path, "fp32", 2.0, **changes)
    given = ["--record", str(record), "--model", "lwganet-tiny", "--epochs", "7", "--bench", bench]
    assert main([*given, "--run", evaluated(tmp_path, 0, 0.9)]) == 2
    assert message in capsys.readouterr().err
    assert record.read_bytes() == before


def test_file_that_is_no_record_and_run_without_a_seed_are_refused(
    record: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--record", printed(tmp_path, "x.json", [])]) == 2
    assert main(["--record", str(record), "--model", "bamta", "--epochs", "1", "--run", "eval.json"]) == 2
    assert "give SEED=FILE" in capsys.readouterr().err
