"""`rsvl gate` and `rsvl eval --record`: a class damaged in a bundle, records, reports, what does not go together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from rsvl.gate import Status
from rsvl.runtime.manifest import MATCHING, VQA, Manifest
from tests.cli.test_light import outcomes
from tests.support import toy_tasks
from tests.support.outcome import Rsvl
from tests.support.toy_bundle import LENGTH, WORDS, write_manifest

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
EACH = 12


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dozen pictures of each of three classes, each of its class's colour."""
    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (root / name).mkdir()
        for k in range(EACH):
            noisy = np.clip(np.array(colour) + rng.integers(-20, 20, (8, 8, 3)), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(root / name / f"{k}.png")
    return root


def matcher(folder: Path, name: str = "toy") -> Path:
    """A bundle that tells colours apart, with a golden test."""
    toy_tasks.write_task_bundle(folder, MATCHING)
    (folder / "golden").mkdir()
    arrays = {
        "image": np.ones((1, 3, toy_tasks.SIDE, toy_tasks.SIDE), np.float32),
        "tokens": np.full((1, LENGTH), WORDS.index("red")),
        "similarity": np.zeros(1, np.float32),
    }
    np.savez(folder / "golden" / "golden.npz", **arrays)
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    write_manifest(folder, replace(manifest, model=replace(manifest.model, name=name)))
    return folder


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return matcher(tmp_path_factory.mktemp("good") / "good.bundle")


@pytest.fixture(scope="session")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same bundle, but for one number of one word: what it takes for blue is not."""
    embedding = toy_tasks.CONSTANTS["embedding"].copy()
    embedding[WORDS.index("blue")] = (-1, -1, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toy_tasks.CONSTANTS, "embedding", embedding)
        return matcher(tmp_path_factory.mktemp("damaged") / "damaged.bundle")


@pytest.fixture
def data(scenes: Path) -> tuple[str, ...]:
    return "--data", "scenes", "--root", str(scenes), "--split", "all", "--threads", "1"


def test_equal_bundles_pass_and_all_is_shown(rsvl: Rsvl, good: Path, data: tuple[str, ...], tmp_path: Path) -> None:
    outcome = rsvl("gate", good, "--baseline", good, *data, "--rounds", 5)
    assert outcome.code == 0, outcome.err
    for shown in ("all", "agreement", "class: blue", "class: green", "class: red", "latency", "size", "1.00 ×"):
        assert shown in outcome.out
    assert "RED" not in outcome.out and "top-1" in outcome.out


def test_regression_in_one_class_alone_is_red(rsvl: Rsvl, good: Path, damaged: Path, data: tuple[str, ...]) -> None:
    arguments = ("gate", damaged, "--baseline", good, *data, "--max-drop", "40%", "--rounds", 0)
    outcome = rsvl(*arguments)
    assert outcome.code == 1 and "error: " in outcome.err and "(class: blue)" in outcome.err
    (red,) = [line for line in outcome.out.splitlines() if "RED" in line]
    assert red.split()[:4] == ["class:", "blue", str(EACH), str(EACH)]
    found = json.loads(rsvl(*arguments, "--json").out)
    assert found["passed"] is False and found["figure"] == "top-1 or mR"
    lines = {(line["kind"], line["name"]): line for line in found["lines"]}
    assert lines["class", "blue"]["status"] == "red" and lines["class", "blue"]["value"] == 0
    assert lines["class", "red"]["status"] == lines["all", ""]["status"] == "ok"
    assert lines["agreement", ""]["value"] == pytest.approx(2 / 3)


def test_recorded_baseline_serves_as_the_bundle_does(
    rsvl: Rsvl, good: Path, damaged: Path, data: tuple[str, ...], tmp_path: Path
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    assert rsvl("eval", good, *data, "--record", first).code == 0
    outcome = rsvl("gate", good, "--baseline", first, *data, "--record", second)
    assert outcome.code == 0 and "latency" not in outcome.out and "size" in outcome.out
    assert json.loads(first.read_text())["samples"] == json.loads(second.read_text())["samples"]
    assert rsvl("gate", damaged, "--baseline", second, *data).code == 1


def test_undecided_gate_has_an_exit_code_of_its_own(
    rsvl: Rsvl, good: Path, data: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rsvl.gate.comparison.judge", lambda *_: Status.UNSURE)
    done = rsvl("gate", good, "--baseline", good, *data, "--rounds", 0, "--json")
    assert (done.code, json.loads(done.out)["passed"], json.loads(done.out)["unsure"]) == (4, True, True)
    assert "evaluate more images" in done.err


def test_gate_works_in_a_light_installation(good: Path, damaged: Path, data: tuple[str, ...]) -> None:
    code, out, err = outcomes(["gate", str(damaged), "--baseline", str(good), *data, "--rounds", "5"])["gate"]
    assert code == 1 and "class: blue" in out and err.splitlines()[-1].startswith("error: ")


def test_reports_for_a_continuous_integration(
    rsvl: Rsvl, good: Path, damaged: Path, data: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    junit, steps = tmp_path / "junit.xml", tmp_path / "steps.md"
    steps.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(steps))
    arguments = ("gate", damaged, "--baseline", good, *data, "--rounds", 0)
    assert rsvl(*arguments, "--junit", junit).code == 1
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("6", "2")
    failed = [case.get("name") for case in suite.findall("testcase") if case.find("failure") is not None]
    assert failed == ["all", "class: blue"]
    text = steps.read_text()
    assert text.startswith("before\n### rsvl gate: 🔴 2 of 6") and "| class: blue | 12 |" in text
    assert rsvl(*arguments, "--summary", tmp_path / "own.md").code == 1
    assert (tmp_path / "own.md").read_text() == text.removeprefix("before\n") and steps.read_text() == text


WRONG = {
    "a latency limit and a record": (
        ("--baseline", "RECORD", "--max-latency-ratio", "2"),
        "give a bundle as --baseline",
    ),
    "a latency limit without timing": (("--baseline", "GOOD", "--max-latency-ratio", "2", "--rounds", "0"), "--rounds"),
    "too few rounds": (("--baseline", "GOOD", "--rounds", "2"), "--rounds is 0 for no timing, or 5"),
    "another limit": (("--baseline", "RECORD", "--limit", "20"), "is of limit all, this of 20"),
    "too few images": (("--baseline", "GOOD", "--limit", "9", "--rounds", "0"), "9 images are too few"),
    "a drop that is none": (("--baseline", "GOOD", "--max-drop", "much"), "--max-drop is 1%"),
    "no baseline": (("--baseline", "nowhere.bundle"), "no such bundle"),
    "no record": (("--baseline", "nowhere.json"), "nowhere.json: cannot be read"),
    "another model": (("--baseline", "OTHER", "--rounds", "0"), "is of model other, this of toy"),
    "another task": (("--baseline", "ANSWERER", "--rounds", "0"), "is of task visual-question-answering, this of"),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_go_together_exits_2(
    rsvl: Rsvl, good: Path, data: tuple[str, ...], tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    places = {"GOOD": good, "RECORD": tmp_path / "record.json"}
    if "RECORD" in arguments:
        assert rsvl("eval", good, *data, "--record", places["RECORD"]).code == 0
    if "OTHER" in arguments:
        places["OTHER"] = matcher(tmp_path / "other", "other")
    if "ANSWERER" in arguments:
        places["ANSWERER"] = toy_tasks.write_task_bundle(tmp_path / "answerer", VQA)
    outcome = rsvl("gate", good, *data, *(places.get(each, each) for each in arguments))
    assert outcome.code == 2 and says in outcome.error


def test_record_of_other_pictures_exits_2(
    rsvl: Rsvl, good: Path, scenes: Path, data: tuple[str, ...], tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    assert rsvl("eval", good, *data, "--record", record).code == 0
    content = json.loads(record.read_text())
    content["samples"][3][0] = "blue/99.png"
    record.write_text(json.dumps(content))
    outcome = rsvl("gate", good, *data, "--baseline", record)
    assert outcome.code == 2 and "shown other images of scenes" in outcome.error


def test_folder_that_is_missing_is_found_before_the_work(
    rsvl: Rsvl, good: Path, data: tuple[str, ...], tmp_path: Path
) -> None:
    outcome = rsvl("gate", good, "--baseline", good, *data, "--junit", tmp_path / "none" / "junit.xml")
    assert outcome.code == 1 and "make it first" in outcome.error


def test_shuffled_evaluation_is_no_baseline(rsvl: Rsvl, good: Path, data: tuple[str, ...], tmp_path: Path) -> None:
    outcome = rsvl("eval", good, *data, "--shuffle-sentences", "--record", tmp_path / "record.json")
    assert outcome.code == 2 and "leave --shuffle-sentences out" in outcome.error
