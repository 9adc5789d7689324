"""The folders whose images may be named in a request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.formats import VRT, identify
from rsvl.runtime.images.vrt import check_vrt
from rsvl.runtime.service.problems import RequestError

_MOST_LISTED, _MOST_VISITED = 200, 5000


class Roots:
    """Allowed folders, each by its own name: ``scenes/a.tif`` is ``a.tif`` in the folder ``/data/scenes``."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Takes the folders.

        Raises:
            InputError: one is no folder.
            UsageError: two have the same name.
        """
        self._folders: dict[str, Path] = {}
        for folder in folders:
            root = folder.resolve()
            if not root.is_dir():
                raise InputError(f"{folder}: no such folder: --root names a folder of images")
            if root.name in self._folders:
                raise UsageError(f"--root {folder}: another is called {root.name}, too: rename one, or link to it")
            self._folders[root.name] = root

    def __bool__(self) -> bool:
        return bool(self._folders)

    def find(self, name: str) -> Path:
        """The file of a name, all links followed.

        Raises:
            RequestError: there is no such file in the folders; what lies outside of them is not told from that.
        """
        root, _, rest = name.partition("/")
        folder = self._folders.get(root)
        if folder is not None and rest and "\0" not in name:
            try:
                path = (folder / rest).resolve(strict=True)
                if _is_inside(path, folder):
                    return path
            except (OSError, RuntimeError, InputError):
                pass  # absent, a circle of links, or no image: the same answer for all
        raise RequestError(404, f"{name[:200]}: no such image in the server's folders: GET /images lists some")

    def images(self) -> list[str]:
        """The names of some images, in order."""
        found: list[str] = []
        for name, folder in sorted(self._folders.items()):
            for path in _files(folder):
                if len(found) == _MOST_LISTED:
                    return found
                if _is_image(path, folder):
                    found.append(f"{name}/{path.relative_to(folder).as_posix()}")
        return found


def _is_inside(path: Path, folder: Path) -> bool:
    """Whether a file lies in a folder, with the files that it puts together."""
    if not path.is_relative_to(folder) or not path.is_file():
        return False
    if identify(path) is not VRT:
        return True
    return all(source.resolve().is_relative_to(folder) for source in check_vrt(path))


def _is_image(path: Path, folder: Path) -> bool:
    try:
        return not path.name.startswith(".") and _is_inside(path.resolve(), folder)
    except (OSError, RuntimeError, InputError):
        return False


def _files(folder: Path) -> Iterator[Path]:
    visited = 0
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            visited += 1
            if visited > _MOST_VISITED:
                return
            yield Path(here) / name
