"""What the commands give when all is well: files, tables, one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from enum import Enum
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

import rsvl as package
from rsvl import registry
from rsvl.cli.console import one_line_warnings, print_table, progress
from rsvl.cli.train import EpochTable
from tests.support.installed import needs
from tests.support.outcome import Rsvl


def test_version_is_the_package_s(rsvl: Rsvl) -> None:
    outcome = rsvl("--version")
    assert (outcome.code, outcome.out) == (0, f"rsvl {package.__version__}\n")


COMMANDS = (
    *("models", "synth", "train", "export", "quantize", "info", "engine"),
    *("check", "run", "eval", "gate", "bench", "paper", "doctor"),
)


def test_help_has_a_line_a_command(rsvl: Rsvl) -> None:
    outcome = rsvl("--help")
    assert outcome.code == 0
    lines = [line.strip("│ ").split() for line in outcome.out.splitlines()]
    assert [words[0] for words in lines if words and words[0] in COMMANDS] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_a_help_text_and_names_its_value(command: str) -> None:
    import typer

    from rsvl.cli import app

    parameters = typer.main.get_command(app).commands[command].params
    assert parameters and all(parameter.help for parameter in parameters)
    (callback,) = (each.callback for each in app.registered_commands if each.name == command)
    hints = get_type_hints(callback, include_extras=True)
    with_value = [each for each in parameters if not getattr(each, "is_flag", False)]
    assert [each.name for each in with_value if each.metavar is None and not is_choice(hints[each.name])] == []


def is_choice(hint: object) -> bool:
    """Whether a parameter's annotation names the values that there are."""
    if isinstance(hint, type):
        return issubclass(hint, Enum)
    return any(is_choice(part) for part in get_args(hint))


def test_module_runs_as_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "rsvl", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"rsvl {package.__version__}\n")


def test_run_writes_a_picture_and_says_what_it_found(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, image, "-t", "the red square", "-t", "the blue square", "-o", tmp_path / "out")
    assert outcome.code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["square-overlay.png"]
    assert "the red square: 100 px in x 10–20, y 5–15" in outcome.out
    assert "not found  the blue square" in outcome.out
    assert str(tmp_path / "out" / "square-overlay.png") in outcome.out


@needs("rasterio")
def test_run_writes_every_form_that_is_asked_for(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    asked = ("--mask", "--geotiff", "--geojson", "--tile", "whole", "--json")
    found = rsvl("run", bundle, image, "-t", "red", "-t", "blue", *asked, "-o", tmp_path / "out").json
    (answer,) = found["images"]
    assert found["provider"] == "cpu" and answer["image"] == str(image)
    assert sorted(answer["files"]) == sorted(str(path) for path in (tmp_path / "out").iterdir())
    assert [(one["text"], one["found"], one["box"]) for one in answer["found"]] == [
        ("red", True, [10, 5, 20, 15]),
        ("blue", False, None),
    ]
    mask = np.asarray(Image.open(tmp_path / "out" / "square-mask-1.png"))
    assert mask.shape == (32, 32) and set(np.unique(mask)) == {0, 255} and (mask == 255).sum() == 100


def test_run_keeps_a_georeference_unasked(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    planes = np.moveaxis(np.asarray(Image.open(image)), 2, 0)
    scene, transform = tmp_path / "scene.tif", rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    profile = {"driver": "GTiff", "count": 3, "height": 32, "width": 32, "dtype": "uint8"}
    with rasterio.open(scene, "w", crs="EPSG:32618", transform=transform, **profile) as file:
        file.write(planes)
    assert rsvl("run", bundle, scene, "-t", "red", "-o", tmp_path / "out").code == 0
    with rasterio.open(tmp_path / "out" / "scene-masks.tif") as masks:
        assert masks.crs.to_epsg() == 32618 and masks.transform == transform and masks.read(1).sum() == 100
    (feature,) = json.loads((tmp_path / "out" / "scene-outlines.geojson").read_text())["features"]
    longitude, latitude = np.array(feature["geometry"]["coordinates"][0]).mean(axis=0)
    assert -75 < longitude < -74.99 and 36 < latitude < 36.2  # zone 18's middle, 4000 km from the equator
    assert feature["properties"]["area"] == pytest.approx(100 * 10 * 10 / 0.9996**2, rel=1e-5)
    assert rsvl("run", bundle, scene, "-t", "red", "-o", tmp_path / "out", "--projected").code == 0
    (feature,) = json.loads((tmp_path / "out" / "scene-outlines.projected.geojson").read_text())["features"]
    assert [500_100.0, 3_999_950.0] in feature["geometry"]["coordinates"][0]  # the red square's upper left corner


def test_several_images_each_give_their_files(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    other = tmp_path / "gray.png"
    Image.new("RGB", (40, 30), (128, 128, 128)).save(other)
    answers = rsvl("run", bundle, image, other, "-t", "red", "-o", tmp_path / "out", "--json").json["images"]
    assert [answer["found"][0]["found"] for answer in answers] == [True, False]
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"square-overlay.png", "gray-overlay.png"}


def test_long_sentence_is_cut_with_one_warning(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, image, "-t", "red " + "square " * 500, "-o", tmp_path / "out")
    assert outcome.code == 0
    assert len(outcome.err.splitlines()) == 1 and outcome.err.startswith("warning: ")
    assert max(map(len, outcome.out.splitlines())) < 300


def test_check_says_what_was_compared(rsvl: Rsvl, bundle: Path) -> None:
    outcome = rsvl("check", bundle)
    assert outcome.code == 0 and "golden test on cpu" in outcome.out
    assert rsvl("check", bundle, "--json").json["passed"] is True


def test_doctor_gives_one_object(rsvl: Rsvl) -> None:
    found = rsvl("doctor", "--json").json
    assert found["rsvl"] == package.__version__
    assert {"name": "onnxruntime", "present": True}.items() <= next(
        finding for finding in found["findings"] if finding["name"] == "onnxruntime"
    ).items()
    assert "onnxruntime" in rsvl("doctor").out


@needs("torch")
def test_models_lists_the_registry_with_counted_parameters(rsvl: Rsvl) -> None:
    models = {model["name"]: model for model in rsvl("models", "--json").json["models"]}
    assert sorted(models) == registry.names()
    tiny = registry.create("cd2fsan-tiny")
    assert models["cd2fsan-tiny"]["parameters"] == sum(p.numel() for p in tiny.parameters())
    assert models["cd2fsan-tiny"]["image_size"] == tiny.spec.image.size


@needs("cv2")
def test_synth_counts_what_it_wrote(rsvl: Rsvl, tmp_path: Path) -> None:
    found = rsvl(
        "synth", tmp_path / "d", "-n", 4, "--size", 64, "--val", 0.25, "--test", 1, "--sensor", "both", "--json"
    )
    assert found.json["scenes"] == {"train": 2, "val": 1, "test": 1}
    images = tmp_path / "d" / "images" / "rrsisd"
    assert len(list((images / "JPEGImages").iterdir())) == len(list((images / "SARImages").iterdir())) == 4


def test_eval_of_a_bundle_reports_every_group(rsvl: Rsvl, bundle: Path, dataset: Path) -> None:
    arguments = ("eval", bundle, "--data", "rrsis-d", "--root", dataset, "--split", "val")
    found = rsvl(*arguments, "--limit", 1, "--json").json
    assert found["runs_on"] == "cpu" and found["split"] == "val" and found["count"] > 0
    assert rsvl(*arguments, "--json").json["count"] > found["count"]
    shown = rsvl(*arguments).out
    for word in ("mIoU", "Pr@0.9", "area: small", "coverage: large", *found["by_category"]):
        assert word in shown


def test_progress_in_a_log_is_a_line_a_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("loading") as report:
        for step in range(100):
            report(step, 200, "first half")
        for step in range(100, 200):
            report(step, 200, "second half", f"loss {step}")
    assert capsys.readouterr() == ("", "first half (0%)\nsecond half (50%) loss 100\n")


def test_epoch_table_keeps_its_columns_apart(capsys: pytest.CaptureFixture[str]) -> None:
    table = EpochTable(lambda row: {"image to text R@1": row["r"], "mR": None})
    table({"epoch": 1, "loss": 11.5529, "r": 0.25, "seconds": 130.0})
    header, row = capsys.readouterr().out.splitlines()
    assert header.endswith("epoch     loss  image to text R@1       mR  seconds")
    assert row.split() == ["1", "11.6", "0.2500", "–", "130.0"] and len(row) == len(header)


def test_epoch_table_shows_each_of_several_sets(capsys: pytest.CaptureFixture[str]) -> None:
    table = EpochTable(lambda row: {}, "mIoU")
    sets = {"1: rrsis-d": {"mIoU": 0.5}, "2: coco": {"mIoU": None}}
    table({"epoch": 2, "loss": 1.5, "mIoU": 0.25, "sets": sets, "seconds": 8.0})
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["epoch", "loss", "mIoU", "1:", "rrsis-d", "2:", "coco", "seconds"]
    assert row.split() == ["2", "1.5000", "0.2500", "0.5000", "–", "8.0000"] and len(row) == len(header)


def test_table_shows_brackets_as_they_are_and_long_cells_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/somewhere/" + "deep/" * 30
    print_table(["name", "value"], [["[red]", path], [":ship:", "1"]])
    out = capsys.readouterr().out
    assert "[red]" in out and ":ship:" in out and path in out


def test_only_rsvl_s_own_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with one_line_warnings():
        for module in ("rsvl.runtime.tasks.tokenizer", "torch.nn", "rsvlx"):
            warnings.warn_explicit(f"from\n{module}", UserWarning, "file.py", 1, module)
    assert capsys.readouterr() == ("", "warning: from rsvl.runtime.tasks.tokenizer\n")
