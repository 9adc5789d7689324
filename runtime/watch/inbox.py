"""Which files of a folder are whole scenes, and which goes first.

The folder is listed every so often. Notices from the kernel (inotify) are not used: network file systems send none, and
they get lost when too many come at once or no process listens, so that the folder would have to be listed all the same.
A scene takes seconds or minutes; beside that, listing a folder costs nothing.
"""

from __future__ import annotations

import errno
import fnmatch
import math
import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".filepart", ".crdownload", "~")
"""What programs that copy let the names of files end with until they are whole."""
_PRIORITY = ".priority"
_LONGEST_PRIORITY = 100


@dataclass(frozen=True)
class Arrival:
    """A whole scene.

    Attributes:
        path: its file.
        size: in bytes.
        mtime_ns: when it was changed last.
        priority: above 0; 1 where nothing says otherwise.
    """

    path: Path
    size: int
    mtime_ns: int
    priority: float


@dataclass
class Inbox:
    """A folder in which scenes arrive.

    Attributes:
        folder: the folder; those inside of it are not looked into.
        suffixes: of scenes, in lower case.
        settle: seconds for which a scene and what lies beside it must not have changed.
        done_suffix: a scene is whole when a file of its name and this suffix is there; empty where none is needed.
        sidecars: what must lie beside a scene: endings that follow its name or its stem.
        priorities: patterns of names and the priority of what they match; the first that matches counts.
        clock: seconds that never run backwards.
        unsettled: whether scenes are there that may soon be whole, by the last `complete`.
    """

    folder: Path
    suffixes: Collection[str]
    settle: float = 2.0
    done_suffix: str = ""
    sidecars: Sequence[str] = ()
    priorities: Sequence[tuple[str, float]] = ()
    clock: Callable[[], float] = time.monotonic
    unsettled: bool = False
    _since: dict[str, tuple[object, float]] = field(default_factory=dict)

    def complete(self) -> list[Arrival]:
        """The scenes that are whole now, in order of arrival.

        Raises:
            OSError: the folder cannot be listed.
        """
        with os.scandir(self.folder) as entries:
            names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        scenes = [name for name in names if Path(name).suffix.lower() in self.suffixes]
        self._since = {name: self._since[name] for name in scenes if name in self._since}
        self.unsettled = False
        found = []
        for name in scenes:
            with suppress(FileNotFoundError):  # moved away since
                if (arrival := self._arrival(name, names)) is not None:
                    found.append(arrival)
        return sorted(found, key=lambda each: (each.mtime_ns, each.path.name))

    def _arrival(self, name: str, names: Sequence[str]) -> Arrival | None:
        path, stem = self.folder / name, Path(name).stem
        if not path.is_file():
            return None
        beside = [other for other in names if other != name and other.startswith((f"{name}.", f"{stem}.", f"{stem}_"))]
        for ending in filter(None, (self.done_suffix, *self.sidecars)):
            if not {f"{name}{ending}", f"{stem}{ending}"} & set(beside):
                return None
        files = [path, *(self.folder / other for other in beside if Path(other).suffix.lower() not in self.suffixes)]
        state = [(file.name, status.st_size, status.st_mtime_ns) for file in files if (status := file.stat())]
        before, since = self._since.get(name, (None, 0.0))
        if before != state:
            since = self.clock()
            self._since[name] = state, since
        unfinished = any(other.endswith(_UNFINISHED) for other in beside)
        if unfinished or self.clock() - since < self.settle or _is_written(path):
            self.unsettled = True
            return None
        _, size, mtime_ns = state[0]
        return Arrival(path, size, mtime_ns, self._priority(path)) if size else None

    def _priority(self, path: Path) -> float:
        for beside in (path.with_name(f"{path.name}{_PRIORITY}"), path.with_suffix(_PRIORITY)):
            with suppress(OSError, ValueError), beside.open(encoding="utf-8") as file:
                value = float(file.read(_LONGEST_PRIORITY))
                if 0 < value < math.inf:
                    return value
        matching = (value for pattern, value in self.priorities if fnmatch.fnmatch(path.name, pattern))
        return next(matching, 1.0)


def _is_written(path: Path) -> bool:
    """Whether a process has a file open to write; False where the system does not say.

    Linux grants a lease on a file for reading only where nobody has it open to write. The lease is given back at once;
    who opens the file in that instant makes the system send SIGIO, which `rsvl watch` ignores.
    """
    if fcntl is None or not hasattr(fcntl, "F_SETLEASE"):
        return False
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(handle)
    return False
