"""Every scene is done once or set aside with its reason; none costs another, whatever happens to the process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rsvl.runtime.errors import DeviceError, OutputError
from rsvl.runtime.watch.inbox import Inbox
from rsvl.runtime.watch.records import DONE
from rsvl.runtime.watch.supervisor import Supervisor
from rsvl.runtime.watch.watcher import Limits, Watcher
from tests.runtime.watch.workers import Obedient, explain


class Place:
    """A folder of scenes that say what happens to them, and one of results."""

    def __init__(self, folder: Path) -> None:
        self.scenes, self.output = folder / "in", folder / "out"
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.now = 1000.0
        for path in (self.scenes, self.output):
            path.mkdir()

    def put(self, **words: str) -> None:
        for seconds, (name, word) in enumerate(words.items()):
            (self.scenes / f"{name}.tif").write_text(word)
            os.utime(self.scenes / f"{name}.tif", (seconds, seconds))

    def watcher(self, broken: bool = False, **limits: Any) -> Watcher:
        inbox = Inbox(self.scenes, (".tif",), settle=0.0)
        stall = limits.pop("stall", 20.0)
        supervisor = Supervisor(Obedient(broken), explain, stall)
        return Watcher(
            inbox,
            self.output,
            supervisor,
            Limits(poll=0.01, **limits),
            lambda event, about: self.events.append((event, about)),
            lambda: self.now,
        )

    def run(self, **limits: Any) -> None:
        self.watcher(**limits).run(once=True)

    def told(self, event: str) -> list[str]:
        """The scenes, or packages, of an event, in order."""
        return [about.get("scene", about.get("package")) for name, about in self.events if name == event]

    def results(self) -> set[str]:
        return {path.name for path in self.output.iterdir() if path.is_file()}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_scenes_are_done_once(place: Place) -> None:
    place.put(a="found", b="found")
    place.run()
    assert place.told("done") == ["a.tif", "b.tif"] and place.results() == {"a-answer.json", "b-answer.json"}
    before = {path: path.read_bytes() for path in place.output.glob("*.json")}
    place.put(a="found", b="found", c="found")
    place.run()
    assert place.told("done") == ["a.tif", "b.tif", "c.tif"] and place.told("begun") == place.told("done")
    assert all(path.read_bytes() == data for path, data in before.items())
    assert not any((place.output / "watch" / "pending").iterdir())


def test_bad_scenes_are_set_aside_with_their_reasons_and_cost_no_other(place: Place) -> None:
    place.put(a="crash", b="fail", c="found", d="once-crash", e="found")
    place.run(tries=2)
    assert sorted(place.told("done")) == ["c.tif", "d.tif", "e.tif"]
    reasons = {about["scene"]: about["reason"] for name, about in place.events if name == "set aside"}
    assert reasons == {"a.tif": "the process died (SIGSEGV)", "b.tif": "ValueError: a damaged file"}
    assert place.told("begun").count("a.tif") == 2
    place.run(tries=2)
    assert place.told("begun").count("a.tif") == 2  # what was set aside stays there
    assert place.watcher().set_aside() == ["a.tif", "b.tif"]


def test_scene_that_hangs_is_killed_and_begun_again(place: Place) -> None:
    place.put(a="once-hang", b="found")
    place.run(stall=1.5)
    assert sorted(place.told("done")) == ["a.tif", "b.tif"]
    assert [about["reason"] for name, about in place.events if name == "failed"] == [
        "no progress for 1.5 s: the process was killed"
    ]


def test_attempts_that_get_further_do_not_count(place: Place) -> None:
    place.put(a="part")
    place.run(tries=2)
    assert place.told("done") == ["a.tif"] and len(place.told("failed")) == 4


def test_larger_priority_comes_first_and_failed_scenes_last(place: Place) -> None:
    place.put(a="fail", b="found", c="found", d="found")
    (place.scenes / "c.tif.priority").write_text("3")
    place.run(tries=2)
    assert place.told("begun") == ["c.tif", "a.tif", "b.tif", "d.tif", "a.tif"]


def test_unsound_process_is_replaced_without_blame(place: Place) -> None:
    place.put(a="once-unsound", b="found")
    place.run(tries=1)
    assert place.told("restarted") == ["a.tif"] and sorted(place.told("done")) == ["a.tif", "b.tif"]


def test_device_that_is_unsound_again_and_again_ends_the_watch(place: Place) -> None:
    place.put(a="unsound")
    with pytest.raises(DeviceError, match="other bits"):
        place.run()


def test_bundle_that_cannot_be_opened_ends_the_watch_before_a_scene(place: Place) -> None:
    with pytest.raises(DeviceError, match="cannot begin: ValueError: no such bundle"):
        place.run(broken=True)


def test_full_disk_begins_nothing_and_deletes_nothing(place: Place) -> None:
    place.put(a="found")
    place.run()
    place.put(b="found")
    with pytest.raises(OutputError, match="free space; nothing is deleted"):
        place.run(keep_free=1 << 60)
    assert place.results() == {"a-answer.json"} and place.told("begun") == ["a.tif"]
    place.run()
    assert place.told("done") == ["a.tif", "b.tif"]


def test_disk_that_fills_up_is_no_fault_of_the_scene(place: Place) -> None:
    place.put(a="full", b="found")
    with pytest.raises(OutputError, match="cannot be written"):
        place.run(tries=1)
    assert place.told("begun") == ["a.tif", "b.tif", "a.tif"] and place.told("done") == ["b.tif"]
    (place.scenes / "a.tif").write_text("found")
    place.run(tries=1)
    assert place.told("done") == ["b.tif", "a.tif"]


def test_ended_in_the_middle_the_next_run_does_the_scene(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.put(a="found", b="found")
    original = Watcher._publish

    def killed(self: Watcher, folder: Path, files: list[str]) -> list[Path]:
        original(self, folder, files)
        raise KeyboardInterrupt  # the results are in place, the record does not say so yet

    monkeypatch.setattr(Watcher, "_publish", killed)
    with pytest.raises(KeyboardInterrupt):
        place.run()
    monkeypatch.setattr(Watcher, "_publish", original)
    place.run(tries=1)
    assert sorted(place.told("done")) == ["a.tif", "b.tif"]
    assert place.results() == {"a-answer.json", "b-answer.json"}


def test_changed_scene_gets_results_of_its_own(place: Place) -> None:
    place.put(a="found")
    place.run()
    (place.scenes / "a.tif").write_text("found again")
    place.run()
    assert place.results() == {"a-answer.json", "a-2-answer.json"}


def test_damaged_record_is_told_and_its_scene_done_again(place: Place) -> None:
    place.put(a="found", b="found")
    place.run()
    path = place.output / "watch" / "records" / "a.json"
    path.write_text(path.read_text().replace(DONE, "dune"))
    place.run()
    assert place.told("done") == ["a.tif", "b.tif", "a.tif"]
    assert [about["file"] for name, about in place.events if name == "damaged record"] == [str(path)]


def test_package_of_a_period_holds_its_scenes_and_is_sent_when_it_is_over(place: Place) -> None:
    place.put(a="found", b="found")
    watcher = place.watcher(downlink=10_000, period=100.0)
    watcher.run(once=True)  # ends the last period early
    assert place.told("sent") == ["19700101T001640Z"]
    place.now = 1099.0
    place.put(a="found", b="found", c="found")
    watcher = place.watcher(downlink=10_000, period=100.0)
    assert watcher._step() and not watcher._step()
    watcher._send_periods()
    assert len(place.told("sent")) == 1
    place.now = 1101.0
    watcher._send_periods()
    watcher._send_periods()
    watcher.supervisor.stop()
    assert len(place.told("sent")) == 2 and place.events[-1][1]["scenes"] == 1
    assert json.loads((place.output / "watch" / "records" / "c.json").read_text())["package"] == place.told("sent")[-1]
