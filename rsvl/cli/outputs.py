"""Whether a command's files can be written, checked before the long work that makes them."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from rsvl.runtime.errors import OutputError


def check_folders(*paths: Path | None) -> None:
    """Checks that the folder of each file exists; None is a file that was not asked for.

    Raises:
        OutputError: it is not.
    """
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise OutputError(f"{path}: no folder {path.parent}: make it first")


def check_can_be_folder(path: Path | None, option: str) -> None:
    """Checks that no file lies where a command will make a folder; None is a folder that was not asked for.

    Raises:
        OutputError: one does; the message names the option that chooses another place.
    """
    if path is None:
        return
    there = _nearest(path)
    if not there.is_dir():
        raise OutputError(f"{path}: {there.name} is a file: choose another folder with {option}")


def make_folder(path: Path, option: str) -> None:
    """Makes a folder for a command's files, if it is not there.

    Raises:
        OutputError: it cannot be made; the message names the option that chooses another.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror}): choose another folder with {option}") from error


def check_free_space(folder: Path, needed: int, option: str) -> None:
    """Checks that a folder has room for a command's files.

    Args:
        folder: where they go, made later where it is missing.
        needed: bytes that they may take.
        option: the option that chooses another folder.

    Raises:
        OutputError: it has less.
    """
    free = shutil.disk_usage(_nearest(folder)).free
    if free < needed:
        raise OutputError(
            f"{folder}: {free / 1e6:.1f} MB are free and the results may take {needed / 1e6:.1f} MB: free space or "
            f"choose another folder with {option}"
        ) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _nearest(path: Path) -> Path:
    """A path, or the nearest folder above it that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
