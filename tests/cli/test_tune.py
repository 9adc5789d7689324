"""`rsvl tune`, and what info, doctor and check tell of its choice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rsvl.cli import completion
from tests.support.outcome import Rsvl
from tests.support.timed_machine import TimedMachine


@pytest.fixture
def own(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of the test's own."""
    monkeypatch.setenv("RSVL_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(bundle, tmp_path / "own.bundle"))


@pytest.fixture
def tuned(own: Path, rsvl: Rsvl, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same after a choice for the image graph was made."""
    machine = TimedMachine(monkeypatch, {("image", "openvino", 2): 0.5})
    monkeypatch.setattr("rsvl.runtime.tuning.tune.Timer", lambda: machine)
    assert rsvl("tune", own, "--seconds", 10_000).code == 0
    return own


def test_choice_is_told_with_what_was_tried(own: Path, rsvl: Rsvl, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = TimedMachine(monkeypatch, {("image", "openvino", 2): 0.5})
    monkeypatch.setattr("rsvl.runtime.tuning.tune.Timer", lambda: machine)
    shown = rsvl("tune", own, "--seconds", 10_000)
    assert (
        shown.code == 0 and "image openvino on 2 threads, text cpu, head cpu; 0.83 of the default's time" in shown.out
    )
    found = rsvl("tune", own, "--seconds", 10_000, "--providers", "cpu, openvino", "--json").json
    assert found["graphs"]["image"] == {"provider": "openvino", "threads": 2} and not found["keeps_default"]
    won = [(trial["graph"], trial["choice"]) for trial in found["trials"] if trial["won"]]
    assert won == [("image", {"provider": "openvino", "threads": 2}), ("", None)]
    assert Path(found["file"]).is_file() and found["circumstances"]["cores"] >= 1


def test_info_doctor_check_and_run_tell_the_choice(tuned: Path, rsvl: Rsvl, image: Path, tmp_path: Path) -> None:
    for command in ("info", "doctor"):
        out = rsvl(command, tuned).out
        assert "image openvino on 2 threads" in out and "chosen by rsvl tune on 20" in out
    (choice,) = rsvl("info", tuned, "--json").json["tuned"]
    assert choice["graphs"]["image"]["provider"] == "openvino" and choice["date"].startswith("20")
    findings = {finding["name"]: finding for finding in rsvl("doctor", tuned, "--json").json["findings"]}
    assert findings["tuned backend"]["present"]
    assert "golden test on tuned" in rsvl("check", tuned).out
    answer = rsvl("run", tuned, image, "--text", "the red square", "-o", tmp_path / "out", "--json")
    assert answer.json["provider"] == "tuned"


def test_forgetting_is_told(tuned: Path, rsvl: Rsvl) -> None:
    assert rsvl("tune", tuned, "--forget").out == f"{tuned}: 1 choice forgotten\n"
    assert rsvl("tune", tuned, "--forget", "--json").json == {"bundle": str(tuned), "forgotten": 0}
    assert rsvl("info", tuned, "--json").json["tuned"] == []
    findings = {finding["name"]: finding for finding in rsvl("doctor", tuned, "--json").json["findings"]}
    assert findings["tuned backend"]["remedy"] == f"rsvl tune {tuned}"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--providers", "abacus"), "unknown provider 'abacus'"),
        (("--providers", "tuned"), "unknown provider 'tuned'"),
        (("--seconds", "-1"), "--seconds must be above 0"),
        (("--forget", "--seconds", "5"), "--seconds says what to measure"),
    ],
)
def test_wrong_usage_is_one_line(own: Path, rsvl: Rsvl, options: tuple[str, ...], why: str) -> None:
    outcome = rsvl("tune", own, *options)
    assert outcome.code == 2 and why in outcome.error
    assert not (own / "engines").exists()


def test_provider_lists_are_completed_after_a_comma() -> None:
    assert completion.provider_lists("cpu,openvino") == ["cpu,openvino", "cpu,openvino-bf16"]
    assert "tuned" not in completion.provider_lists("")
