"""Only whole scenes are taken, in order of arrival, with their priorities."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rsvl.runtime.watch.inbox import Inbox

SUFFIXES = (".tif", ".png")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def inbox(tmp_path: Path, clock: Clock) -> Inbox:
    return Inbox(tmp_path, SUFFIXES, settle=2.0, clock=clock)


def put(folder: Path, *names: str, text: str = "pixels") -> None:
    for name in names:
        (folder / name).write_text(text)


def taken(inbox: Inbox, clock: Clock, after: float = 10.0) -> list[str]:
    """The names of what is whole after so many seconds without a change."""
    inbox.complete()
    clock.now += after
    return [arrival.path.name for arrival in inbox.complete()]


def test_scene_is_whole_when_it_has_not_changed_for_a_while(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    put(tmp_path, "a.tif")
    assert inbox.complete() == [] and inbox.unsettled
    clock.now = 1.9
    assert inbox.complete() == [] and inbox.unsettled
    put(tmp_path, "a.tif", text="more pixels")
    clock.now = 3.8
    assert inbox.complete() == []
    clock.now = 5.9
    assert [arrival.path.name for arrival in inbox.complete()] == ["a.tif"] and not inbox.unsettled


@pytest.mark.parametrize(
    "name",
    [".a.tif", "a.tif.part", "a.tif.tmp", ".a.tif.x8Yz", "a.txt", "a.tfw", "a.tif.aux.xml", "a.tif~", "a_RPC.TXT"],
)
def test_what_is_no_scene_is_not_taken(inbox: Inbox, clock: Clock, tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert taken(inbox, clock) == [] and not inbox.unsettled


def test_folders_links_to_nowhere_and_empty_files_are_not_taken(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "b.tif").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.tif").touch()
    assert taken(inbox, clock) == []


def test_scene_waits_for_what_is_copied_beside_it(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    put(tmp_path, "a.tif", "a.tfw.part", "b.tif")
    assert taken(inbox, clock) == ["b.tif"] and inbox.unsettled
    (tmp_path / "a.tfw.part").rename(tmp_path / "a.tfw")
    assert taken(inbox, clock, 1) == ["b.tif"]  # what lies beside it has changed
    assert taken(inbox, clock, 2) == ["a.tif", "b.tif"]


def test_scene_waits_for_the_files_that_must_be_there(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    inbox.done_suffix, inbox.sidecars = ".done", ["_RPC.TXT"]
    put(tmp_path, "a.tif", "b.tif", "a.tif.done", "b_RPC.TXT")
    assert taken(inbox, clock) == []
    put(tmp_path, "a_RPC.TXT", "b.done")
    assert taken(inbox, clock) == ["a.tif", "b.tif"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="only Linux says who has a file open")
def test_scene_that_is_open_to_write_is_not_taken(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    with (tmp_path / "a.tif").open("w") as file:
        file.write("half of the pixels")
        file.flush()
        assert taken(inbox, clock) == [] and inbox.unsettled
    assert taken(inbox, clock) == ["a.tif"]


def test_scenes_come_in_order_of_arrival_with_their_priorities(inbox: Inbox, clock: Clock, tmp_path: Path) -> None:
    inbox.priorities = [("coast*", 5.0), ("*.png", 2.0)]
    put(tmp_path, "late.tif", "coast-1.png", "early.png", "named.tif", "wrong.tif", "coast-2.tif")
    put(tmp_path, "named.tif.priority", text="7.5\n")
    put(tmp_path, "wrong.priority", text="urgent")
    put(tmp_path, "coast-2.tif.priority", text="0.5")
    for seconds, name in enumerate(("early.png", "coast-1.png", "named.tif", "coast-2.tif", "wrong.tif", "late.tif")):
        os.utime(tmp_path / name, (seconds, seconds))
    inbox.complete()
    clock.now = 5
    found = [(arrival.path.name, arrival.priority) for arrival in inbox.complete()]
    assert found == [
        ("early.png", 2.0),
        ("coast-1.png", 5.0),
        ("named.tif", 7.5),
        ("coast-2.tif", 0.5),
        ("wrong.tif", 1.0),
        ("late.tif", 1.0),
    ]
