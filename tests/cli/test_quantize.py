"""`rsvl quantize` and its short forms in `rsvl export`: what is written, shown and drawn, and what does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rsvl.benchmarks.sensitivity import draw
from rsvl.cli.quantize_options import show
from rsvl.runtime.quantization import LayerGroup, Measured, Quantization
from tests.support.installed import needs
from tests.support.outcome import Rsvl
from tests.support.toy_bundle import write_bundle

FOUND = Quantization(
    activations=True,
    groups=(
        LayerGroup("encoder.stem", 6, 700, 3000, True, 0.001),
        LayerGroup("encoder.layers.0-2", 18, 900, 6000, False, 0.0431),
        LayerGroup("the rest", 3, 100, 1000, True, -0.002),
    ),
    smoothed=4,
    calibrator="minmax",
    calibration=Measured("rrsis-d", "train", 64),
    figure="mIoU",
    measured_on=Measured("rrsis-d", "val", 60),
    baseline=0.67,
    value=0.668,
    allowed_drop=0.0067,
)
DATA = ("--calibration", "rrsis-d", "--root", "somewhere")


#: What follows ``--`` in `rsvl export` and ``--to `` in `rsvl quantize`, and what both say to it.
WRONG = {
    "no data": (("int8",), "is calibrated: add --calibration DATASET --root DIR, or take"),
    "no data for fp8": (("fp8",), "fp8 is calibrated"),
    "a calibrator for fp8": (("fp8", *DATA, "--calibrator", "entropy"), "fp8 takes the largest number seen"),
    "no root": (("int8", "--calibration", "rrsis-d"), "needs --root"),
    "a metric without data": (("int8-weights", "--metric-split", "test"), "--metric-split has no data"),
    "ranges of weights alone": (("int8-weights", *DATA, "--calibrator", "entropy"), "--calibrator is for ranges"),
    "a drop that is none": (("int8", *DATA, "--max-drop", "much"), "--max-drop is 1%"),
    "a plot of another format": (("int8", *DATA, "--sensitivity", "parts.gif"), "a .png or .svg file"),
    "a plot of nothing": (("int8", *DATA, "--sensitivity", "parts.png", "--metric-limit", 0), "on labelled images"),
    "a plot without data": (("int8-weights", "--sensitivity", "parts.png"), "measures on labelled images"),
}


@pytest.mark.parametrize("command", ["export", "quantize"])
@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG.keys())
def test_options_that_do_not_fit_together_are_refused_at_once(
    rsvl: Rsvl, command: str, options: tuple[object, ...], said: str
) -> None:
    target, *rest = options
    spelled = {"export": ("--model", "no-such", f"--{target}"), "quantize": ("no-such.bundle", "--to", target)}
    refused = rsvl(command, *spelled[command], *rest)
    assert refused.code == 2 and said in refused.error


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--int8", "--fp16", *DATA), "--fp16 and --int8: choose one"),
        (("--int8", "--fp8", *DATA), "choose one"),
        (("--int8", "--precision", "fp32", *DATA), "choose one"),
        (DATA, "--calibration is for 8 bits: add --int8, --fp8 or --int8-weights"),
        (("--fp16", "--max-drop", "0.1%"), "--max-drop is for 8 bits: add --int8, --fp8 or --int8-weights"),
    ],
)
def test_precisions_that_do_not_go_together_are_refused_at_once(
    rsvl: Rsvl, options: tuple[object, ...], said: str
) -> None:
    refused = rsvl("export", "--model", "no-such-model", *options)
    assert refused.code == 2 and said in refused.error


@pytest.fixture
def float32(tmp_path: Path) -> Path:
    """A toy's float32 bundle in the current folder."""
    pytest.importorskip("torch")
    from rsvl.export import export
    from tests.support.toy_segmenter import ToySegmenter

    return export(ToySegmenter(), tmp_path / "toy.bundle").path


def test_bundle_is_quantized_verified_and_shown(
    rsvl: Rsvl, float32: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RSVL_CACHE", str(tmp_path / "cache"))
    data = ("--calibration", "rrsis-d", "--root", dataset, "--calibration-limit", 2, "--metric-limit", 2)
    options = ("--to", "int8", *data, "--max-drop", "100%", "--sensitivity", "parts.svg", "--pack")
    shown = rsvl("quantize", float32, *options)
    assert shown.code == 0, shown.err
    assert Path("toy-int8.bundle").is_dir() and Path("toy-int8.bundle.rsvl").is_file() and Path("parts.svg").is_file()
    assert "inputs against toy.bundle" in shown.out and "layers' MACs in int8" in shown.out
    assert rsvl("check", "toy-int8.bundle").code == 0
    found = rsvl("quantize", float32, "--to", "int8-weights", "-o", "small", "--json").json
    assert (found["bundle"], found["precision"], found["verification"]["reference"]) == ("small", "int8", "toy.bundle")
    assert found["quantization"]["activations"] is False and found["bytes"] < 0.9 * folder_size(float32)


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_bundle_of_another_precision_exits_2(rsvl: Rsvl, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    half = write_bundle(tmp_path / "half.bundle", precision="fp16")
    outcome = rsvl("quantize", half, "--to", "int8-weights")
    assert outcome.code == 2 and "rsvl export --precision fp32" in outcome.error


def test_parts_are_shown_with_their_share_what_they_lose_and_the_choice(capsys: pytest.CaptureFixture[str]) -> None:
    show(FOUND, "int8")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "40.0% of the layers' MACs in int8"
    (layers,) = [line.split() for line in lines if "encoder.layers.0-2" in line]
    assert layers == ["encoder.layers.0-2", "18", "60.0%", "+0.0431", "no"]
    assert lines[-1] == ("mIoU 0.6680, in float32 0.6700, at least 0.6633 allowed (60 images of rrsis-d val)")


@needs("matplotlib")
def test_parts_are_drawn(tmp_path: Path) -> None:
    draw("toy", FOUND, tmp_path / "parts.png")
    with Image.open(tmp_path / "parts.png") as picture:
        assert picture.width > 1000 and picture.convert("L").getextrema() != (255, 255)
