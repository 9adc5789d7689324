"""The tags of a TIFF's first image, read as data (TIFF 6.0, section 2; BigTIFF): what GDAL does not tell of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

ORIENTATION = 274
BITS_PER_SAMPLE = 258
SAMPLES_PER_PIXEL = 277
GEO_KEYS = 34735

_MOST_TAGS = 4096
_MOST_BYTES = 1 << 16
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}


def read_tags(path: Path) -> dict[int, tuple[int, ...]]:
    """The tags with integer values of the first image: the values by tag number.

    Whatever cannot be read is left out: the reader that decodes the pixels says what is wrong with a file.
    """
    try:
        with path.open("rb") as file:
            return _first_directory(file)
    except (OSError, struct.error, OverflowError):
        return {}


def _first_directory(file: BinaryIO) -> dict[int, tuple[int, ...]]:
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", head, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)[0]
    count_format, entry_format = (order + "Q", order + "HHQ8s") if big else (order + "H", order + "HHI4s")
    file.seek(start)
    (count,) = struct.unpack(count_format, file.read(struct.calcsize(count_format)))
    size = struct.calcsize(entry_format)
    entries = file.read(size * min(count, _MOST_TAGS))
    tags: dict[int, tuple[int, ...]] = {}
    for tag, kind, number, value in struct.iter_unpack(entry_format, entries[: len(entries) // size * size]):
        if kind not in _INTEGERS:
            continue
        values = f"{order}{number}{_INTEGERS[kind]}" if number <= _MOST_BYTES else ""
        if not values or struct.calcsize(values) > _MOST_BYTES:
            continue
        if struct.calcsize(values) > len(value):
            file.seek(struct.unpack(order + ("Q" if big else "I"), value)[0])
            value = file.read(struct.calcsize(values))
        tags[tag] = struct.unpack_from(values, value)
    return tags
