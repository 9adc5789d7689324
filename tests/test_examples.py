"""What `examples/` holds runs as its own comments say."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from PIL import Image
from rasterio import Affine

from rsvl.cli import main
from tests.test_house import ROOT

EXAMPLES = ROOT / "examples"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> None:
    """Runs a script of `examples/` in this process, as from a command line in the current folder."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_every_example_is_listed_and_run() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = set(re.findall(r"\[([\w.]+)\]\(\1\)", (EXAMPLES / "README.md").read_text()))
    tests = [Path(__file__), ROOT / "tests/export/test_own_model.py"]
    run = {name for name in files if any(f'"{name}"' in test.read_text() for test in tests)}
    assert files == listed == run


def test_segment_scene_writes_masks_outlines_and_overlay(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.asarray(Image.open("squares.png")).transpose(2, 0, 1)
    crs = {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 4_600_000)}
    with rasterio.open("scene.tif", "w", driver="GTiff", width=32, height=32, count=3, dtype="uint8", **crs) as file:
        file.write(pixels)
    run(monkeypatch, "segment_scene.py", "tiny.bundle", "scene.tif", "the red square", "the green square")
    first, second = capsys.readouterr().out.splitlines()
    assert "the red square: " in first and second == "not found  the green square"
    with rasterio.open("scene-masks.tif") as file:
        assert file.crs == crs["crs"] and file.count == 2 and file.read(1).sum() == 100 and not file.read(2).any()
    outlines = json.loads(Path("scene-outlines.geojson").read_text())
    assert [feature["properties"]["text"] for feature in outlines["features"]] == ["the red square"]
    assert Image.open("scene-overlay.png").size[0] >= 32


def test_ground_vocabulary_ranks_phrases(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("phrases.txt").write_text("the green square\nthe blue square\nthe red square\n")
    run(monkeypatch, "ground_vocabulary.py", "grounder.bundle", "quarters.png", "phrases.txt")
    assert capsys.readouterr().out.splitlines() == [
        "1.00  the red square: x 0–8, y 0–8, and 3 more",
        "1.00  the blue square: x 8–16, y 8–16, and 3 more",
        "not found  the green square",
    ]


def test_workflow_compares_with_a_recorded_baseline(workspace: Path) -> None:
    text = (EXAMPLES / "gate.yml").read_text()
    workflow = yaml.safe_load(text)
    steps = [shlex.split(step["run"]) for step in workflow["jobs"]["gate"]["steps"] if "run" in step]
    commands = [arguments for program, *arguments in steps if program == "rsvl"]
    assert [command for command, *_ in commands] == ["check", "gate"]
    Path("tiny.bundle").rename("model.bundle")
    Path("scenes").rename("data")
    Path("fp32.bundle").symlink_to("model.bundle")
    (recorded,) = (shlex.split(line.lstrip("# "))[1:] for line in text.splitlines() if line.startswith("#   rsvl"))
    assert [main(command) for command in (recorded, *commands)] == [0, 0, 2]  # 2: too few images for a verdict
