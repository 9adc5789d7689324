"""Measurements as JSON: read as they were written, and refused in one line where they are not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rsvl.gate import read_record, write_record
from rsvl.runtime.errors import InputError
from tests.support.made_up import measurement

RECORDED = measurement([("a.png", "ship", 0.25), ("b.png", 'the "big" one', 1.0)])


@pytest.mark.parametrize("size", [None, 12345])
def test_record_is_read_as_it_was_written(size: int | None, tmp_path: Path) -> None:
    recorded = dataclasses.replace(RECORDED, size=size)
    write_record(recorded, tmp_path / "base.json")
    assert read_record(tmp_path / "base.json") == recorded


def test_record_without_samples_is_json(tmp_path: Path) -> None:
    empty = dataclasses.replace(RECORDED, samples=())
    write_record(empty, tmp_path / "base.json")
    assert read_record(tmp_path / "base.json") == empty


def test_record_of_an_earlier_version_has_todays_names_of_groups(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(
        changed(lambda data: data["samples"][0].__setitem__(4, [["names nothing", ""], ["class", "names nothing"]]))
    )
    first, _ = read_record(tmp_path / "base.json").samples
    assert first.sample.groups == (("no-target", ""), ("class", "names nothing"))


def changed(change: Callable[[dict[str, Any]], object]) -> str:
    data = json.loads(RECORDED.to_json())
    change(data)
    return json.dumps(data)


DAMAGED: dict[str, tuple[str, str]] = {
    "empty": ("", "a damaged measurement"),
    "cut short": (RECORDED.to_json()[:-20], "a damaged measurement"),
    "a list": ("[]", "not a recorded measurement"),
    "another JSON": ('{"mIoU": 0.5}', "not a recorded measurement"),
    "a newer schema": (changed(lambda data: data.update(schema=99)), "schema 99 is newer than this rsvl reads"),
    "no samples": (changed(lambda data: data.pop("samples")), "a damaged measurement"),
    "no conditions": (changed(lambda data: data.update(conditions=None)), "a damaged measurement"),
    "a size of 0": (changed(lambda data: data.update(size=0)), "a damaged measurement"),
    "a short sample": (changed(lambda data: data["samples"][0].pop()), "a damaged measurement"),
    "a score above 1": (changed(lambda data: data["samples"][0].__setitem__(2, 7)), "a damaged measurement"),
    "a score that is no number": (
        changed(lambda data: data["samples"][0].__setitem__(2, "x")),
        "a damaged measurement",
    ),
    "a weight of 0": (changed(lambda data: data["samples"][0].__setitem__(3, 0)), "a damaged measurement"),
    "groups that are none": (changed(lambda data: data["samples"][0].__setitem__(4, ["all"])), "a damaged measurement"),
    "deep nesting": ("[" * 100_000, "a damaged measurement"),
}


@pytest.mark.parametrize(("text", "says"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_record_is_one_line_that_names_it(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "base.json").write_text(text)
    with pytest.raises(InputError, match=rf"base\.json: .*{says}") as caught:
        read_record(tmp_path / "base.json")
    assert "\n" not in str(caught.value)


def test_record_that_is_not_text_or_not_there_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "base.json").write_bytes(b"\x80\x81")
    with pytest.raises(InputError, match="not a recorded measurement"):
        read_record(tmp_path / "base.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "none.json")
