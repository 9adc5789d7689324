"""What is told of how an image was read: one line for people, plain values for JSON."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

NO_DATA = "no pixel holds data"


@dataclass
class Reading:
    """How an image was read, and what of it was guessed.

    Attributes:
        source: the image.
        kind: what kind of file or object it is.
        size: width and height.
        dtype: of the stored values.
        bands: the numbers, from 1, of the bands that are shown: three, or one.
        band_names: what the image calls them.
        bands_by: by what they were chosen; empty where there was no choice.
        stretch: how values became 8 bits, for people.
        limits: the values that became 0 and 255.
        nodata: the value that meant "no data", None where none did.
        alpha: the number of the band that was taken as alpha, None where none was.
        valid_share: the share of the pixels that hold data, 0…1, by a sample.
        placed_by: ``transform``, ``control points`` or ``RPCs``; empty for an image that has no place.
        crs: its coordinate system; empty where it has none.
        resolution: side in metres of the ground that a pixel in the middle covers, None where that is not known.
        is_void: whether no pixel held data.
        skipped: the tiles that failed, each with its ``window`` (row, column, height and width in pixels) and the
            ``reason``.
        notes: what was guessed, and what makes an answer less trustworthy.
    """

    source: str
    kind: str
    size: tuple[int, int]
    dtype: str
    bands: tuple[int, ...]
    band_names: tuple[str | None, ...]
    bands_by: str
    stretch: str
    limits: tuple[float, float]
    nodata: float | None
    alpha: int | None
    valid_share: float
    placed_by: str
    crs: str
    resolution: float | None
    is_void: bool = False
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def tell(self) -> None:
        """Warns of all notes, in one line."""
        if self.notes:
            warnings.warn(f"{self.source}: {'; '.join(self.notes)}", stacklevel=2)

    def add(self, note: str) -> None:
        """Adds a note that came later, and warns of it."""
        self.notes.append(note)
        warnings.warn(f"{self.source}: {note}", stacklevel=2)

    def tell_void(self) -> None:
        """Notes that no pixel held data, and warns of it unless a sample said so already."""
        self.is_void = True
        if NO_DATA not in self.notes:
            self.add(NO_DATA)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


def printable(text: str) -> str:
    """A stranger's text without what a terminal would take for commands."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)
