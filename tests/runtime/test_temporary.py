"""Temporary folders are removed by the process that made them, or by the next where that was killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rsvl.runtime import temporary
from rsvl.runtime.temporary import LockedFolder, abandoned, exclusive

pytest.importorskip("fcntl")

_CHILD = """
import sys, time
from pathlib import Path
from rsvl.runtime import temporary
from rsvl.runtime.temporary import LockedFolder, abandoned, exclusive
folder = LockedFolder("t-", Path(sys.argv[1]))
(folder.path / "a").write_text("b")
print("made", flush=True)
time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "made\n"
        (left,) = names(tmp_path)
        with LockedFolder("t-", tmp_path):
            assert left in names(tmp_path) and len(names(tmp_path)) == 2  # it lives: hands off
        child.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [left]
    with LockedFolder("t-", tmp_path) as folder:
        assert names(tmp_path) == [folder.path.name]
    assert names(tmp_path) == []


def test_links_and_other_names_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "a").touch()
    (tmp_path / "t-link").symlink_to(tmp_path / "precious")
    LockedFolder("t-", tmp_path).close()
    assert names(tmp_path) == ["precious", "t-link"] and names(tmp_path / "precious") == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_forked_child_removes_nothing_of_its_parents(tmp_path: Path) -> None:
    code = """
import os, sys
from pathlib import Path
from rsvl.runtime import temporary
from rsvl.runtime.temporary import LockedFolder, abandoned, exclusive
folder = LockedFolder("t-", Path(sys.argv[1]))
child = os.fork()
if child == 0:
    sys.exit(0)  # runs finalizers
os.waitpid(child, 0)
sys.exit(0 if folder.path.is_dir() else "gone")
"""
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert names(tmp_path) == []


def test_exclusive_waits_for_nobody_and_nothing_is_swept_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "fcntl", None)  # as on Windows
    with LockedFolder("t-", tmp_path), exclusive(tmp_path), exclusive(tmp_path):
        assert list(abandoned("t-", tmp_path)) == [] and len(names(tmp_path)) == 1
    assert names(tmp_path) == []
