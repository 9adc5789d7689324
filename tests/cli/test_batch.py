"""Several images in one command: each has its results, and one that fails does not cost the others."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.cli.places import expand, unique_stems
from rsvl.runtime.errors import InputError
from rsvl.runtime.manifest import SEGMENTATION
from rsvl.tasks import open_split
from tests.support.outcome import Rsvl
from tests.support.rasters import write_raster


@pytest.fixture
def three(image: Path, tmp_path: Path) -> list[Path]:
    """Images of which the second is cut short."""
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path in paths:
        shutil.copy(image, path)
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    return paths


def test_bad_image_does_not_cost_the_others(rsvl: Rsvl, bundle: Path, three: list[Path], tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, *three, "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a-overlay.png", "c-overlay.png"}
    errors = outcome.err.splitlines()
    assert "b.png" in errors[0] and errors[1].startswith("error: 1 of 3 images failed") and len(errors) == 2
    assert outcome.out.count("100 px") == 2


def test_json_has_each_image_and_its_error(rsvl: Rsvl, bundle: Path, three: list[Path], tmp_path: Path) -> None:
    arguments = ("run", bundle, *three, tmp_path / "missing.png", "-t", "red", "-o", tmp_path / "out")
    outcome = rsvl(*arguments, "--json")
    answers = outcome.json["images"]
    assert outcome.code == 1 and [answer["image"] for answer in answers] == list(map(str, arguments[2:6]))
    assert ["error" in answer for answer in answers] == [False, True, False, True]
    assert answers[0]["found"][0]["area"] == answers[2]["found"][0]["area"] == 100 and answers[1]["exit_code"] == 2
    lines = [json.loads(line) for line in rsvl(*arguments, "--json-lines").out.splitlines()]
    assert lines == answers


def test_lone_bad_image_is_an_object_too(rsvl: Rsvl, bundle: Path, three: list[Path], tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, three[1], "-t", "red", "-o", tmp_path / "out", "--json-lines")
    assert outcome.code == 2 and "b.png" in outcome.json["error"] and len(outcome.err.splitlines()) == 1


def test_wrong_usage_is_told_once(rsvl: Rsvl, bundle: Path, three: list[Path], tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, *three, "-o", tmp_path / "out")
    assert outcome.code == 2 and "--text" in outcome.error


def test_data_are_written_before_pictures(
    rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = write_raster(tmp_path / "scene.tif", np.asarray(Image.open(image)), "EPSG:32618")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rsvl.runtime.results.overlay.draw", fail)
    outcome = rsvl("run", bundle, scene, "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scene-masks.tif", "scene-outlines.geojson"}


def test_full_disk_is_found_before_the_work(
    rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(1000, 999, 1))
    outcome = rsvl("run", bundle, image, "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 1 and "are free and the results may take" in outcome.error


def test_folders_patterns_and_lists_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("s/b.tif", "s/a.PNG", "s/a-overlay.png", "s/.hidden.tif", "s/notes.txt", "t/b.tif", "t/deep/c.tif"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("list.txt").write_text("# scenes\n\nt/b.tif\ns\n")
    found = {
        text: [str(p) for p in expand([Path(text)])] for text in ("s", "*/b.tif", "t/**/*.tif", "@list.txt", "x.tif")
    }
    assert found == {
        "s": ["s/a.PNG", "s/b.tif"],
        "*/b.tif": ["s/b.tif", "t/b.tif"],
        "t/**/*.tif": ["t/b.tif", "t/deep/c.tif"],
        "@list.txt": ["t/b.tif", "s/a.PNG", "s/b.tif"],
        "x.tif": ["x.tif"],
    }
    Path("loop.txt").write_text("@loop.txt\n")
    with pytest.raises(InputError, match="a list in a list"):
        expand([Path("@loop.txt")])


@pytest.mark.parametrize(
    ("paths", "stems"),
    [
        (("a/x.tif", "b/y.tif"), ["x", "y"]),
        (("x.tif", "x.png"), ["x-tif", "x-png"]),
        (("a/x.tif", "b/x.tif", "y.tif"), ["a-x.tif", "b-x.tif", "y"]),
        (("x.tif", "x.tif"), ["here-x.tif", "here-x.tif-2"]),
    ],
)
def test_results_of_one_name_are_kept_apart(
    paths: tuple[str, ...], stems: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert unique_stems([Path(path) for path in paths]) == stems


def test_eval_leaves_out_a_bad_image_and_says_so(rsvl: Rsvl, bundle: Path, dataset: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(dataset, tmp_path / "root"))
    arguments = ("eval", bundle, "--data", "rrsis-d", "--root", root, "--split", "val")
    whole = rsvl(*arguments, "--json").json
    assert whole["failed"] == []
    first = rsvl(*arguments, "--limit", 1, "--json").json
    path = open_split(SEGMENTATION, "rrsis-d", root, "val")[0].path
    path.write_bytes(path.read_bytes()[:200])
    outcome = rsvl(*arguments, "--json", "--record", tmp_path / "record.json")
    assert outcome.code == 1 and path.name in outcome.err and not (tmp_path / "record.json").exists()
    assert [failed["image"] for failed in outcome.json["failed"]] == [f"JPEGImages/{path.name}"]
    assert outcome.json["count"] == whole["count"] - first["count"] > 0
    outcome = rsvl(*arguments, "--limit", 1)
    assert outcome.code == 2 and "none of the 1 images can be used" in outcome.err
