"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rsvl.runtime.errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields a temporary sibling to write to, which replaces `path` when the block ends without an error.

    Raises:
        OutputError: the file cannot be written (no such folder, no permission, disk full). Nothing is left behind.

    Examples:
        >>> with replacing("notes.txt") as temporary:
        ...     size = temporary.write_text("whole or absent")
        >>> Path("notes.txt").read_text()
        'whole or absent'
    """
    target = Path(path)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp{target.suffix}")
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{target}: cannot be written ({reason}): check folder, permission and free space") from error
    finally:
        with suppress(OSError):  # where there is no such folder, there is nothing to remove
            temporary.unlink()


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, UTF-8, whole or not at all.

    Raises:
        OutputError: as for `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
