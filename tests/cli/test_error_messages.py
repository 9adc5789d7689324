"""Every failure is one line on stderr that names the cause, nothing on stdout, and the right exit code."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rsvl.cli.error_messages import explain
from rsvl.runtime.errors import BundleError, MissingComponentError, OutputError, VerificationError
from tests.support.outcome import Rsvl

EXCEPTIONS = {
    "failed check": (VerificationError("masks\ndiffer"), 1, "masks differ"),
    "disk full": (OutputError("no room"), 1, "no room"),
    "bad bundle": (BundleError("changed"), 2, "changed"),
    "missing component": (MissingComponentError("pip install"), 3, "pip install"),
    "missing module": (ModuleNotFoundError("No module", name="onnx.helper"), 3, "rsvl[export]"),
    "broken module": (ImportError("libcudart.so", name="torch"), 3, "torch is installed but broken (libcudart.so)"),
    "full disk elsewhere": (OSError(errno.ENOSPC, "No space left on device", "a.tmp"), 1, "a.tmp: No space left"),
    "file in the way": (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), 1, "choose another path"),
    "interrupt": (KeyboardInterrupt(), 130, "interrupted"),
    "memory": (MemoryError(), 1, "out of memory"),
    "bug": (KeyError("x"), 1, "internal error, KeyError"),
    "own import": (ModuleNotFoundError("No module named 'rsvl.x'", name="rsvl.x"), 1, "internal error"),
}


@pytest.mark.parametrize(("error", "code", "says"), EXCEPTIONS.values(), ids=EXCEPTIONS.keys())
def test_exception_becomes_one_line_and_an_exit_code(error: BaseException, code: int, says: str) -> None:
    message = explain(error)
    assert message.exit_code == code
    assert says in message.line and "\n" not in message.line


def test_reader_that_closes_the_pipe_is_no_error_to_speak_of() -> None:
    assert explain(BrokenPipeError(errno.EPIPE, "Broken pipe")).line == ""


SYNTH = ("synth", "OUT", "--scenes", "4")
RUN = ("run", "BUNDLE", "IMAGE", "--text", "red")
EVAL = ("eval", "BUNDLE", "--data", "rrsis-d", "--root", "DATA")
TRAIN = ("train", "--model", "cd2fsan-tiny", "--data", "rrsis-d", "--root", "DATA", "-o", "OUT")
WRONG_USAGE = {
    "unknown command": (("segment",), "segment"),
    "unknown option": (("check", "BUNDLE", "--fast"), "--fast"),
    "missing argument": (("check",), "BUNDLE"),
    "missing option": (("run", "BUNDLE", "IMAGE"), "--text"),
    "synth: unknown task": ((*SYNTH, "--task", "captioning"), "referring-segmentation"),
    "synth: no scenes": (("synth", "OUT", "--scenes", "0"), "--scenes"),
    "synth: splits too large": ((*SYNTH, "--val", "4", "--test", "1"), "do not fit"),
    "synth: image too small": ((*SYNTH, "--size", "8"), "--size"),
    "synth: folder in use": (("synth", "DATA", "--scenes", "4"), "not an empty folder"),
    "train: unknown model": ((*TRAIN, "--model", "cd2fsan-tyni"), "did you mean cd2fsan-tiny"),
    "train: unknown dataset": ((*TRAIN, "--data", "rrsisd"), "did you mean rrsis-d"),
    "train: unknown precision": ((*TRAIN, "--precision", "fp8"), "bf16"),
    "train: no such split": ((*TRAIN, "--train-split", "trian"), "train"),
    "train: no such root": ((*TRAIN, "--root", "nowhere"), "nowhere"),
    "train: no such checkpoint": ((*TRAIN, "--weights", "nowhere.safetensors"), "nowhere.safetensors"),
    "export: unknown model": (("export", "--model", "cd2fsna"), "did you mean cd2fsan"),
    "export: checkpoint that is none": (("export", "--model", "cd2fsan-tiny", "--weights", "IMAGE"), "square.png"),
    "check: no bundle": (("check", "nowhere.bundle"), "nowhere.bundle"),
    "check: not a bundle": (("check", "IMAGE"), "square.png"),
    "run: no such image": (("run", "BUNDLE", "nowhere.png", "--text", "red"), "nowhere.png"),
    "run: not an image": (("run", "BUNDLE", "BUNDLE/manifest.json", "--text", "red"), "manifest.json"),
    "run: blank sentence": (("run", "BUNDLE", "IMAGE", "--text", " "), "sentence is empty"),
    "run: wrong tile": ((*RUN, "--tile", "big"), "--tile"),
    "run: tile too small": ((*RUN, "--tile", "3"), "tile"),
    "run: threshold above 1": ((*RUN, "--threshold", "35"), "--threshold"),
    "run: unknown provider": ((*RUN, "--provider", "gpu"), "cuda"),
    "run: folder without images": (("run", "BUNDLE", "BUNDLE/golden", "--text", "red"), "no images in this folder"),
    "run: pattern without images": (("run", "BUNDLE", "BUNDLE/*.png", "--text", "red"), "check the pattern"),
    "run: no such list": (("run", "BUNDLE", "@nowhere.txt", "--text", "red"), "nowhere.txt: cannot be read as a list"),
    "run: two forms of JSON": ((*RUN, "--json", "--json-lines"), "choose one"),
    "eval: unknown model": (("eval", "cd2fsan-tin", *EVAL[2:]), "did you mean cd2fsan-tiny"),
    "eval: no such bundle": (("eval", "nowhere.bundle", *EVAL[2:]), "nowhere.bundle"),
    "eval: weights for a bundle": ((*EVAL, "--weights", "random"), "--weights"),
    "eval: an average for a bundle": ((*EVAL, "--ema"), "--ema: only with a model's name"),
    "eval: provider for a model": (("eval", "cd2fsan-tiny", *EVAL[2:], "--provider", "cpu"), "--provider"),
    "bench: no bundle": (("bench", "nowhere.bundle"), "nowhere.bundle"),
    "bench: nothing named": (("bench",), "BUNDLE"),
    "bench: weights of no baselines": (("bench", "BUNDLE", "--weights", "random"), "add --baselines"),
    "bench: baselines that are not measured": (("bench", "BUNDLE", "--no-compile"), "--compile/--no-compile says"),
    "bench: unknown provider": (("bench", "BUNDLE", "--provider", "gpu"), "cuda"),
    "bench: batch of none": (("bench", "BUNDLE", "--batch-size", "0"), "--batch-size"),
    "paper: unknown table": (("paper", "imagenet"), "cd2fsan"),
    "paper: rounds of no timing": (("paper", "tgfnet", "--rounds", "2"), "add --speed"),
    "paper: axes of no plot": (("paper", "tgfnet", "--x-axis", "fps"), "add --plot"),
    "paper: a plot of the list": (("paper", "--plot", "x.png"), "--plot needs a TABLE"),
    "paper: a plot of another format": (("paper", "tgfnet", "--plot", "x.pdf"), ".png or .svg"),
    "paper: no model to measure": (("paper", "daily-papers", "--speed"), "rsvl paper"),
    "quantize: no bundle": (("quantize", "nowhere.bundle", "--to", "int8-weights"), "nowhere.bundle"),
    "quantize: to nothing": (("quantize", "BUNDLE"), "--to"),
    "quantize: to what is none": (("quantize", "BUNDLE", "--to", "int4"), "int8-weights"),
    "export: two precisions": (("export", "--model", "x", "--fp16", "--precision", "fp32"), "choose one"),
    "export: a precision that needs data": (("export", "--model", "x", "--precision", "int8"), "fp16"),
    "info: no bundle": (("info", "nowhere.bundle"), "nowhere.bundle"),
    "info: not a bundle": (("info", "IMAGE"), "square.png"),
}


#: What a command needs before it can look at its arguments.
NEEDS = {"synth": "cv2", "train": "torch", "export": "torch", "eval": "torch"}


@pytest.fixture
def filled(bundle: Path, image: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Puts places for the capital words of a command, which is skipped where what it needs is not installed."""

    def fill(arguments: tuple[str, ...]) -> list[str]:
        if (module := NEEDS.get(arguments[0])) is not None:
            pytest.importorskip(module)
        places = {"BUNDLE": bundle, "IMAGE": image, "OUT": tmp_path / "out"}
        if "DATA" in arguments:
            places["DATA"] = request.getfixturevalue("dataset")
        for name, place in places.items():
            arguments = tuple(argument.replace(name, str(place)) for argument in arguments)
        return list(arguments)

    return fill


@pytest.mark.parametrize(("arguments", "says"), WRONG_USAGE.values(), ids=WRONG_USAGE.keys())
def test_wrong_usage_and_unusable_input_exit_2(
    rsvl: Rsvl,
    arguments: tuple[str, ...],
    says: str,
    filled: Callable[[tuple[str, ...]], list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = filled(arguments)
    before = sorted(tmp_path.rglob("*"))
    outcome = rsvl(*arguments)
    assert outcome.code == 2
    assert says in outcome.error
    assert sorted(tmp_path.rglob("*")) == before  # nothing half-written


def test_no_command_shows_the_map_and_exits_2(rsvl: Rsvl) -> None:
    outcome = rsvl()
    assert outcome.code == 2 and "doctor" in outcome.out


def test_changed_byte_in_a_bundle_exits_2(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    data = bytearray((copy / "head.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "head.onnx").write_bytes(data)
    for arguments in (("check", copy), ("run", copy, image, "--text", "red", "-o", tmp_path / "out")):
        outcome = rsvl(*arguments)
        assert outcome.code == 2 and "head.onnx" in outcome.error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        (*RUN, "-o", "IMAGE/below"),
        (*TRAIN[:-1], "IMAGE"),
        ("bench", "BUNDLE", "--results", "IMAGE/below"),
        ("bench", "BUNDLE", "--plot", "nowhere/x.png"),
    ],
)
def test_place_that_cannot_be_written_is_found_before_the_work(
    rsvl: Rsvl, arguments: tuple[str, ...], filled: Callable[[tuple[str, ...]], list[str]]
) -> None:
    outcome = rsvl(*filled(arguments))
    assert outcome.code == 1 and len(outcome.err.splitlines()) == 1
    assert "choose another folder with" in outcome.error or "make it first" in outcome.error


@pytest.mark.parametrize("command", ["check", "bench"])
def test_absent_provider_exits_3(rsvl: Rsvl, bundle: Path, command: str) -> None:
    outcome = rsvl(command, bundle, "--provider", "coreml")
    assert outcome.code == 3 and "pip install" in outcome.error


def test_geotiff_without_rasterio_exits_3_before_the_work(
    rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rasterio", None)
    outcome = rsvl("run", bundle, image, "--text", "red", "--geotiff", "-o", tmp_path / "out")
    assert outcome.code == 3 and "rsvl[geo]" in outcome.error
    assert not (tmp_path / "out").exists()


def test_interrupt_exits_130_with_one_line(rsvl: Rsvl, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rsvl.runtime.check.check", interrupted)
    outcome = rsvl("check", bundle)
    assert outcome.code == 130 and outcome.error == "error: interrupted"


def test_golden_test_that_differs_exits_1_and_reports(
    rsvl: Rsvl, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsvl.runtime.tasks.segmentation.mask_ious", lambda *_: (np.array([0.5]), 0.5))
    outcome = rsvl("check", bundle, "--json")
    assert outcome.code == 1 and "golden test" in outcome.err
    assert outcome.json["passed"] is False and outcome.json["measures"][0]["value"] == 0.5


def test_sigterm_is_one_line_and_removes_the_temporary_folder(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from rsvl import cli
from rsvl.cli import check
from rsvl.runtime.temporary import LockedFolder
def long_work(context=None):
    folder = LockedFolder("t-")
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
cli.app = lambda *_, **__: long_work()
sys.exit(cli.main(["check"]))
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "error: terminated\n")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_during_the_imports_is_one_line() -> None:
    code = """
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from rsvl.__main__ import main
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "error: interrupted\n")
