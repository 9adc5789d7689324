"""Files that appear whole or not at all."""

from __future__ import annotations

import glob
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsvl.runtime.errors import OutputError
from rsvl.runtime.temporary import LockedFolder

_STEM_KEPT = 100
"""Characters of a file's name that its temporary sibling's has: it must not become longer than a name may be."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary sibling to write to, which replaces `path` when the block ends without an error.

    The sibling is a new, empty file of a name that nobody can know before: a link planted there is not followed, and
    two threads that write one path do not meet. Its contents reach the disk before it takes its place.

    Raises:
        OutputError: the file cannot be written (no such folder, no permission, disk full). Nothing is left behind.

    Examples:
        >>> with replacing("notes.txt") as temporary:
        ...     size = temporary.write_text("whole or absent")
        >>> Path("notes.txt").read_text()
        'whole or absent'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem[:_STEM_KEPT]}.{secrets.token_hex(8)}.tmp{target.suffix}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        sync(temporary)
        temporary.replace(target)
        sync(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{target}: cannot be written ({reason}): check folder, permission and free space") from error
    finally:
        with suppress(OSError):  # where there is no such folder, there is nothing to remove
            temporary.unlink()


@contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder to write to, which replaces the one at `path` when the block ends without an error.

    What it holds reaches the disk before it takes its place. A process that is killed leaves a hidden folder beside
    `path`, which the next one that writes there removes; one that is killed between the two renames, nothing at `path`.

    Raises:
        OutputError: it cannot be written (no permission, disk full). What was at `path` is still there.

    Examples:
        >>> with replacing_folder("notes") as folder:
        ...     size = (folder / "first.txt").write_text("whole or absent")
        >>> Path("notes/first.txt").read_text()
        'whole or absent'
    """
    target = Path(path).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with LockedFolder(f".{target.name[:_STEM_KEPT]}.partial-", target.parent) as sibling:
            folder = sibling.path / "new"
            folder.mkdir()
            yield folder
            sync_tree(folder)
            _exchange(folder, target, sibling.path / "old")
            sync(target.parent)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}): check folder, permission and free space") from error


def _exchange(new: Path, target: Path, aside: Path) -> None:
    if target.exists():
        target.rename(aside)
    try:
        new.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise


def sweep(path: Path) -> None:
    """Removes what killed processes left of `replacing` a path; only for who knows that no other process writes it now.

    Raises:
        OSError: something cannot be removed.
    """
    name = glob.escape(f".{path.stem[:_STEM_KEPT]}.")
    for left in path.parent.glob(f"{name}{'[0-9a-f]' * 16}.tmp{glob.escape(path.suffix)}"):
        left.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, UTF-8, whole or not at all.

    Raises:
        OutputError: as for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sync(path: Path) -> None:
    """Waits until a file's contents, or a folder's names, are on the disk: a power loss then keeps them.

    Raises:
        OSError: the disk refuses. File systems that cannot sync a folder are let be.
    """
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDONLY if is_folder or os.name != "nt" else os.O_RDWR)
    try:
        with suppress(*[OSError] if is_folder else []):
            os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(folder: Path) -> None:
    """`sync` of every file and folder below a folder, and of itself.

    Raises:
        OSError: the disk refuses.
    """
    for path in folder.rglob("*"):
        sync(path)
    sync(folder)
