"""Whether a command's files can be written, found before the long work that they are of."""

from __future__ import annotations

from pathlib import Path

from rsvl.runtime.errors import OutputError


def check_folders(*paths: Path | None) -> None:
    """Checks that the folder of each file is there; None is a file that nobody wants.

    Raises:
        OutputError: it is not.
    """
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise OutputError(f"{path}: no folder {path.parent}: make it first")
