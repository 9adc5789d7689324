"""One part cannot harm another, and each says what it lacks."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch

from rsvl.benchmarks.laboratory.gpu.__main__ import main, run_parts
from rsvl.benchmarks.laboratory.gpu.parts import PARTS, Part
from rsvl.benchmarks.laboratory.gpu.record import FAILED, MEASURED, SKIPPED, Outcome, Record, kept, markdown
from rsvl.runtime.errors import MissingComponentError, RsvlError

STUBS = """
import os, signal, subprocess, sys, time
from rsvl.runtime.errors import MissingComponentError

def crash(scratch):
    yield {"row": 1}
    os.kill(os.getpid(), signal.SIGSEGV)

def hang(scratch):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield {"process": child.pid}
    time.sleep(600)

def fail(scratch):
    yield {"row": 1}
    raise RuntimeError("CUDA error: an illegal memory access")

def lack(scratch):
    raise MissingComponentError("no GPU is here")
    yield

def need(scratch):
    import absent_package
    yield

def work(scratch, *arguments):
    print("noise on stdout")
    (scratch / "shared").write_text("x")
    yield {"what": "GPU", "value": f"Toy GPU {arguments}"}
"""


@pytest.fixture
def stubs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Part]:
    (tmp_path / "stubs.py").write_text(STUBS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    arguments = {"work": ("90",)}
    names = ("crash", "hang", "fail", "lack", "need", "work")
    return {name: Part(name, f"To {name}", f"stubs:{name}", 30, arguments.get(name, ())) for name in names}


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_part_that_crashes_or_raises_or_lacks_something_is_reported_and_the_rest_goes_on(
    stubs: dict[str, Part], capfd: pytest.CaptureFixture[str]
) -> None:
    del stubs["hang"]
    record = run_parts(list(stubs.values()), 60)
    assert [(o.name, o.status, o.reason, len(o.rows)) for o in record.outcomes] == [
        ("crash", FAILED, "ended by SIGSEGV", 1),
        ("fail", FAILED, "RuntimeError: CUDA error: an illegal memory access", 1),
        ("lack", SKIPPED, "no GPU is here", 0),
        ("need", SKIPPED, "absent_package is not installed", 0),
        ("work", MEASURED, "", 1),
    ]
    assert record.gpu == "Toy GPU ('90',)" and [o.name for o in record.failed] == ["crash", "fail"]
    out, err = capfd.readouterr()
    assert not out and "Traceback" in err and "noise" not in err


def test_part_that_hangs_is_stopped_with_all_that_it_started(stubs: dict[str, Part]) -> None:
    hanging = Part("hang", "To hang", "stubs:hang", 1.5)
    first, second = run_parts([hanging, stubs["work"]], 60).outcomes
    assert (first.status, first.reason, second.status) == (FAILED, "stopped after 2 s", MEASURED)
    assert all(not alive(row["process"]) for row in first.rows)


def test_parts_for_which_no_time_is_left_are_skipped(stubs: dict[str, Part]) -> None:
    (outcome,) = run_parts([stubs["work"]], 0).outcomes
    assert (outcome.status, outcome.reason) == (SKIPPED, "no time was left")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: the parts have what they need")
@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_part_without_a_gpu_says_what_it_lacks(part: Part, tmp_path: Path) -> None:
    module, _, function = part.function.partition(":")
    with pytest.raises(MissingComponentError, match=r"NVIDIA|no bundle in fp32|is not installed"):
        list(getattr(import_module(module), function)(tmp_path, *part.arguments))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_run_without_a_gpu_keeps_no_record_and_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--part", "tensorrt", "--results", str(tmp_path / "results")]) == 0
    out = capsys.readouterr().out
    assert "| machine | skipped | nvidia-smi finds no NVIDIA GPU |" in out and "| tensorrt | skipped |" in out
    assert not list(tmp_path.iterdir())


def test_record_is_named_by_the_gpu_and_its_page_has_a_table_for_each_kind_of_row(tmp_path: Path) -> None:
    rows = [{"dtype": "float16", "ms": 1.23456, "error": None}, {"dtype": "float32", "ms": 2.0, "error": 0.5}]
    outcomes = (
        Outcome("machine", "The machine", MEASURED, "", 0.5, [{"what": "GPU", "value": "NVIDIA H100 80GB"}]),
        Outcome("operations", "Operations", FAILED, "a|b", 2.0, [*rows, {"not measured": "plugin kernels"}]),
    )
    path = kept(Record("1.0", outcomes), tmp_path)
    assert path.name == "nvidia-h100-80gb-gpu.json"
    found = json.loads(path.read_text())
    assert found["gpu"] == "NVIDIA H100 80GB" and found["outcomes"][1]["rows"][1]["error"] == 0.5
    page = path.with_suffix(".md").read_text()
    assert page.startswith("# NVIDIA H100 80GB, rsvl 1.0\n") and "| operations | failed | a\\|b | 2.0 |" in page
    assert "| dtype | ms | error |\n| --- | ---: | ---: |\n| float16 | 1.235 | – |\n| float32 | 2 | 0.5 |" in page
    assert "| not measured |\n| --- |\n| plugin kernels |" in page


def test_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "gpu.md").mkdir()
    with pytest.raises(RsvlError, match="cannot be written"):
        kept(Record("1.0", ()), tmp_path)
    assert markdown(Record("1.0", ())).startswith("# No GPU")
