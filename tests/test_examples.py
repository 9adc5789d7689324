"""What `examples/` holds runs as its own comments say."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import torch
import yaml
from PIL import Image
from rasterio import Affine

import rsvl
from rsvl import registry
from rsvl.cli import main
from rsvl.models.optisar.released import OptiSARNetPlusPlus
from rsvl.models.rmsin import RMSIN
from rsvl.runtime import Grounder, Segmenter
from rsvl.runtime.tasks.tokenizer import Tokenizer
from tests.models.released.test_names import RELEASED
from tests.support.released_lavt import write_released
from tests.support.released_optisar import SMALL, write_published
from tests.support.released_rmsin import released_state
from tests.support.small_fusion import small_model, small_preset
from tests.test_house import ROOT

EXAMPLES = ROOT / "examples"


def run(monkeypatch: pytest.MonkeyPatch, script: str, *arguments: str) -> None:
    """Runs a script of `examples/` in this process, as from a command line in the current folder."""
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(EXAMPLES / script), run_name="__main__")


def test_every_example_is_listed_and_run() -> None:
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    listed = set(re.findall(r"\[([\w.]+)\]\(\1\)", (EXAMPLES / "README.md").read_text()))
    tests = [Path(__file__), *(ROOT / "tests/export").glob("test_own_*.py")]
    texts = [test.read_text() for test in tests]
    run = {name for name in files if any(f'"{name}"' in text or f'"{Path(name).stem}:' in text for text in texts)}
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


def test_published_rmsin_makes_a_bundle_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = small_model("rmsin")
    assert isinstance(trained, RMSIN)
    small = registry.Entry("rmsin", "rmsin", RMSIN, small_preset("rmsin", ""))
    monkeypatch.setitem(registry._ENTRIES, small.name, small)
    write_released(released_state(trained, RELEASED["rmsin"]), tmp_path / "model_best_RMSIN.pth")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    paths = (tmp_path / name for name in ("model_best_RMSIN.pth", "rmsin.bundle", "noise.png"))
    with pytest.warns(UserWarning, match="entries left out, 50 that no output depends on"):
        run(monkeypatch, "published_rmsin.py", *map(str, paths), "a ship", "a pier")
    *measures, ship, pier = capsys.readouterr().out.splitlines()
    assert measures[0].startswith("worst mask IoU") and "a ship" in ship and "a pier" in pier
    assert all(Image.open(tmp_path / f"rmsin-{number}.png").size[0] >= 64 for number in (1, 2))

    # The same by PyTorch, with the weights that the file was made of.
    segmenter = Segmenter.open(tmp_path / "rmsin.bundle")
    tokens = torch.from_numpy(Tokenizer.from_file(trained.tokenizer_json(), trained.spec.words)(["a ship"]))
    pixels = (noise / 255 - segmenter.spec.image.mean) / segmenter.spec.image.std
    with torch.no_grad():
        logits = trained(torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None], tokens)
    expected = torch.nn.functional.interpolate(logits, (64, 64), mode="bilinear").sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(segmenter.segment(noise, "a ship").probability, expected, atol=1e-3)


def test_published_optisar_makes_a_bundle_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.names()
    small = registry.Entry("optisar-net++", "optisar-net++", OptiSARNetPlusPlus, SMALL)
    monkeypatch.setitem(registry._ENTRIES, small.name, small)
    weights, text = write_published(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    bundle = tmp_path / "optisar.bundle"
    run(
        monkeypatch,
        "published_optisar.py",
        *map(str, (weights, text, bundle, tmp_path / "noise.png")),
        "a ship",
        "a pier",
    )
    *measures, ship, pier = capsys.readouterr().out.splitlines()
    assert measures[0].startswith("worst box IoU") and "a ship: x" in ship and "a pier: x" in pier

    # The same by PyTorch: 96 × 48 pixels of the image between two borders of 24 rows.
    network = rsvl.load("optisar-net++", weights, encoder_weights=text)
    (found,) = Grounder.open(bundle).ground(noise, ["a ship"], limit=1, tile="whole")
    pixels = np.full((96, 96, 3), 114, np.uint8)
    pixels[24:72] = cv2.resize(noise, (96, 48), interpolation=cv2.INTER_LINEAR)
    tokens = torch.from_numpy(Tokenizer.from_file(network.tokenizer_json(), network.spec.words)(["a ship"]))
    with torch.no_grad():
        scores, boxes = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, tokens)
    expected = np.clip((boxes[0, scores[0].argmax()].numpy() * 96 - [0, 24] * 2) / 0.8, 0, [120, 60] * 2)
    np.testing.assert_allclose(found.boxes[0], expected, atol=0.5)
