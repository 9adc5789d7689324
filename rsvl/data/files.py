"""Reads the small files of a dataset, and says in one line what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from rsvl.runtime.errors import DatasetError
from rsvl.runtime.images.formats import PILLOW_FORMATS


def existing(path: Path, name: str) -> Path:
    """The path of a file of the dataset `name`.

    Raises:
        DatasetError: it is not there.
    """
    if not path.is_file():
        raise DatasetError(f"{name}: {path} is missing: point the root at the folder that holds {path.parent.name}/")
    return path


def existing_folder(folders: Sequence[Path], name: str) -> Path:
    """The first of some folders that is there.

    Raises:
        DatasetError: none is.
    """
    for folder in folders:
        if folder.is_dir():
            return folder
    raise DatasetError(f"{name}: the image folder {folders[0]} is missing: unpack the images there")


def inside(folder: Path, file_name: object) -> Path:
    """The path of a file that an annotation names, which must lie in its folder.

    Raises:
        DatasetError: not a name, absolute, or climbing out of the folder.
    """
    if not isinstance(file_name, str) or not file_name:
        raise DatasetError(f"an annotation names {file_name!r} as a file in {folder}: the annotation file is damaged")
    path = Path(file_name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"an annotation names {file_name!r}, which leads out of {folder}: refusing to read it")
    return folder / path


def read_json(path: Path, kind: str) -> dict[str, Any]:
    """Reads a JSON object; `kind` says in the error what it should have been.

    Raises:
        DatasetError: unreadable, not JSON, or not an object.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not readable JSON ({error}): download it again") from error
    if not isinstance(data, dict):
        raise DatasetError(f"{path} is not {kind}: it holds a {type(data).__name__}")
    return data


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, UTF-8 with or without a byte order mark.

    Raises:
        DatasetError: unreadable, or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} is not readable text ({error}): download it again") from error


# Records are made on each access; the size costs opening the file, so it is remembered.
@lru_cache(maxsize=1 << 17)
def image_size(path: Path) -> tuple[int, int]:
    """Width and height of an image, of which only the header is read.

    Raises:
        DatasetError: missing or not an image.
    """
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return image.size
    except (OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"{path} is not a readable image ({error}): download it again") from error
