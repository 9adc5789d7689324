"""`rsvl export --int8` and `--fp8`: options that do not fit together, and how what was chosen is shown and drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from rsvl.benchmarks.sensitivity import draw
from rsvl.cli.quantizing import show
from rsvl.runtime.quantization import LayerGroup, Measured, Quantization
from tests.support.installed import needs
from tests.support.outcome import Rsvl

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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--int8",), "add --calibration DATA --root R, or take --int8-weights"),
        (("--int8", "--fp16", *DATA), "choose one"),
        (("--int8", "--fp8", *DATA), "choose one"),
        (("--fp8",), "--fp8 is calibrated"),
        (("--fp8", *DATA, "--calibrator", "entropy"), "fp8 takes the largest number seen"),
        (("--int8", "--int8-weights", *DATA), "choose one"),
        (("--int8", "--calibration", "rrsis-d"), "needs --root"),
        (DATA, "--calibration is for 8 bits: add --int8, --fp8 or --int8-weights"),
        (("--fp16", "--max-drop", "0.1%"), "--max-drop is for 8 bits: add --int8, --fp8 or --int8-weights"),
        (("--int8-weights", "--metric-split", "test"), "--metric-split has no data to go with"),
        (("--int8-weights", *DATA, "--calibrator", "entropy"), "--calibrator is for ranges"),
        (("--int8", *DATA, "--max-drop", "much"), "--max-drop is 1%"),
        (("--int8", *DATA, "--sensitivity", "parts.gif"), "a picture is a .png or .svg file"),
        (("--int8", *DATA, "--sensitivity", "parts.png", "--metric-images", 0), "measures on labelled images"),
        (("--int8-weights", "--sensitivity", "parts.png"), "measures on labelled images"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_at_once(
    rsvl: Rsvl, options: tuple[object, ...], said: str
) -> None:
    refused = rsvl("export", "--model", "no-such-model", *options)
    assert refused.code == 2 and said in refused.error


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
