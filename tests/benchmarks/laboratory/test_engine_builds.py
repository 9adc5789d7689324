"""The record of engines: what the commands said and used is kept, a failure too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rsvl.benchmarks.laboratory import engine_builds
from rsvl.benchmarks.laboratory.engine_builds import Build, GraphEngine, Record, Used, kept, markdown, measure, recorded
from rsvl.runtime.errors import InputError

EMPTY = Record("Toy CPU, 2 cores", "tensorrt_rtx 1.7")
HEAD = GraphEngine("head", 12, 2_500_000, 1.5)
BUILT = Build("toy", "fp16", "random", 3.5, Used(20.0, 900.0), (HEAD,), Used(2.25, 300.0))
SAID = {
    "export": {"source": {"weights": "random"}, "bytes": 3_500_000},
    "engine": {"engines": [{"graph": "head", "layers": 12, "bytes": 2_500_000, "seconds": 1.5, "why": ""}]},
}


def command(fails: str = "") -> tuple[str, ...]:
    """A program in place of `rsvl` that answers as it does, or fails at a command."""
    answers = {name: json.dumps(said) for name, said in SAID.items()}
    end = f"sys.exit('warning: x\\nerror: it is full' if sys.argv[1] == {fails!r} else 0)"
    return sys.executable, "-c", f"import sys; print({answers}[sys.argv[1]]); {end}"


def test_what_the_commands_say_and_use_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_builds, "_RSVL", command())
    found = measure("toy", "fp16", tmp_path)
    assert (found.weights, found.bundle_mb, found.engines, found.failure) == ("random", 3.5, (HEAD,), "")
    assert found.export.peak_mb > 1 and found.build.peak_mb > 1


@pytest.mark.parametrize(("fails", "weights"), [("export", ""), ("engine", "random")])
def test_command_that_fails_is_kept_with_its_line(
    fails: str, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_builds, "_RSVL", command(fails))
    found = measure("toy", "fp32", tmp_path)
    assert found.failure == f"{fails} ended with 1, error: it is full"
    assert (found.weights, found.engines) == (weights, ())
    assert "Not built: toy in fp32: " + found.failure in markdown(EMPTY.with_build(found))


def test_record_grows_by_build_and_a_new_one_replaces_its_like(tmp_path: Path) -> None:
    failed = Build("toy", "fp16", failure="engine ended with 1")
    for build in (failed, Build("another", "fp32", engines=(HEAD, HEAD)), BUILT):
        path = kept(recorded(EMPTY, tmp_path).with_build(build), tmp_path)
    assert [(b.model, b.failure) for b in recorded(EMPTY, tmp_path).builds] == [("another", ""), ("toy", "")]
    assert recorded(EMPTY, tmp_path).builds[1] == BUILT
    assert "| toy | fp16 | random | head | 12 | 2.5 | 2.2 | 300 | 20.0 | 3.5 |" in path.with_suffix(".md").read_text()


def test_file_that_is_no_record_is_one_line(tmp_path: Path) -> None:
    kept(EMPTY, tmp_path).write_text('{"builds": [3]}')
    with pytest.raises(InputError, match="not a record of engines"):
        recorded(EMPTY, tmp_path)
