"""Temporary folders that outlive nobody: removed by the process that made them, or by the next one if that was killed.

A folder is locked for as long as a process uses it. What is not locked was left by a process that was killed, and the
next one that makes such a folder removes it. A forked child removes nothing of its parent's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsvl.runtime.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, so nothing is swept and nobody waits
    fcntl = None  # type: ignore[assignment]


_NEW = ".new-"


class LockedFolder:
    """A temporary folder, empty at first. It is removed by `close`, with the object, or when the process ends.

    Attributes:
        path: the folder.

    Examples:
        >>> with LockedFolder("example-") as folder:
        ...     size = (folder.path / "a").write_text("b")
        >>> folder.path.exists()
        False
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        """Makes the folder and removes those of the same prefix whose processes are gone.

        Args:
            prefix: what its name begins with; no other program's names may.
            parent: where it lies; the system's place for temporary files by default.

        Raises:
            OSError: the folder cannot be made.
        """
        parent = Path(tempfile.gettempdir()) if parent is None else parent
        for path, lock in abandoned(prefix, parent):
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
        # Locked before it has the name by which others look for abandoned ones.
        made = Path(tempfile.mkdtemp(prefix=f"{_NEW}{prefix}", dir=parent))
        lock = _lock(made)
        self.path = made.with_name(made.name.removeprefix(_NEW))
        made.rename(self.path)
        self._finalizer = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def close(self) -> None:
        """Removes the folder."""
        self._finalizer()

    def __enter__(self) -> LockedFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def abandoned(prefix: str, parent: Path) -> Iterator[tuple[Path, int]]:
    """The user's folders of a prefix that no process uses, each locked for the caller, who closes the lock."""
    if fcntl is None:
        return
    for path in sorted(path for path in parent.iterdir() if path.name.startswith(prefix)):
        with suppress(OSError):  # locked, gone by now, a link or somebody else's
            if path.lstat().st_uid == os.getuid():
                yield path, _lock(path)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lets processes use a folder one after the other, where there are locks.

    Raises:
        OSError: the folder cannot be opened.
    """
    if fcntl is None:
        yield
        return
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def only_user(folder: Path) -> int:
    """Makes a folder where there is none, and keeps other processes from using it: a handle, to close at the end.

    Raises:
        OutputError: another process uses it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _lock(folder) if fcntl is not None else os.open(os.devnull, os.O_RDONLY)
    except BlockingIOError as error:
        raise OutputError(f"{folder}: another process uses it: end that, or choose another folder") from error
    except OSError as error:
        raise OutputError(f"{folder}: cannot be used ({error.strerror}): choose another folder") from error


def _lock(path: Path) -> int:
    """A handle on the folder that holds its lock; -1 where there are no locks.

    Raises:
        OSError: another process holds it, or it is no folder.
    """
    if fcntl is None:
        return -1
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked child: the folder is its parent's
    shutil.rmtree(path, ignore_errors=True)
    if lock >= 0:
        os.close(lock)
