"""What became of a scene survives everything but damage to its own record, which is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rsvl.runtime.watch.inbox import Arrival
from rsvl.runtime.watch.records import DONE, SET_ASIDE, TRYING, Records

A = Arrival(Path("in/a.tif"), 10, 100, 2.0)


def test_record_is_read_again(tmp_path: Path) -> None:
    records = Records(tmp_path)
    new = records.of(A)
    assert (new.stem, new.state, new.attempts, new.priority) == ("a", TRYING, 0, 2.0)
    kept = records.save(replace(new, state=DONE, attempts=2, parts=["x"], about={"found": [1]}))
    again = Records(tmp_path)
    assert again.of(A) == kept and again.about(again.of(A)) == {"found": [1]} and again.count() == {DONE: 1}


@pytest.mark.parametrize(("state", "stem"), [(DONE, "a-2"), (SET_ASIDE, "a-2"), (TRYING, "a")])
def test_changed_file_is_another_scene(tmp_path: Path, state: str, stem: str) -> None:
    records = Records(tmp_path)
    records.save(replace(records.of(A), state=state, attempts=1))
    changed = records.of(replace(A, mtime_ns=200))
    assert (changed.stem, changed.state, changed.attempts) == (stem, TRYING, 0)
    records.save(replace(changed, state=DONE))
    for found in (records, Records(tmp_path)):
        assert found.of(replace(A, mtime_ns=200)).state == DONE


def test_scenes_of_one_stem_have_results_of_their_own(tmp_path: Path) -> None:
    records = Records(tmp_path)
    stems = [records.save(records.of(replace(A, path=Path(name)))).stem for name in ("a.tif", "a.png", "a-2.tif")]
    assert stems == ["a", "a-2", "a-2-2"]


@pytest.mark.parametrize("bit", [8 * 5, 8 * 60 + 1, 8 * 120 + 3])
def test_damaged_record_is_put_aside_and_costs_no_other(tmp_path: Path, bit: int) -> None:
    records = Records(tmp_path)
    records.save(replace(records.of(A), state=DONE))
    other = records.save(replace(records.of(replace(A, path=Path("b.tif"))), state=DONE))
    data = bytearray((tmp_path / "a.json").read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (tmp_path / "a.json").write_bytes(data)
    again = Records(tmp_path)
    assert again.damaged == [tmp_path / "a.json"] and again.of(A).state == TRYING
    assert list(again) == [other] and (tmp_path / "a.json.damaged").exists()


def test_unfinished_record_of_a_kill_is_removed(tmp_path: Path) -> None:
    record = Records(tmp_path)
    kept = record.save(replace(record.of(A), state=DONE))
    (tmp_path / ".a.0123456789abcdef.tmp.json").write_text("")
    again = Records(tmp_path)
    assert list(again) == [kept] and again.damaged == [] and len(list(tmp_path.iterdir())) == 1
