"""The part of a scene that one block gives: a file that is whole or absent, the same however often it is made.

Where no other block touches, a part has the mask itself, as bits, and the probabilities inside of it. On the border it
has the sum of what its own tiles add there, as whole multiples of 1/65535: whole numbers give the same sum in any
order, so it does not matter which block was done first, or by whom.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsvl.runtime.atomic import replacing
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.objects import ONE
from rsvl.runtime.scenes.blocks import relative

_QUICK = 1
"""Deflate's level: a part is written once and read a few times."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One sentence's share of a part.

    Attributes:
        sums: uint16 [h, w] over the block's window: what its tiles add to the probability, in 1/65535; in `mask`'s
            window the probability inside the mask, and 0 outside.
        mask: bool over the block's own window, where it is final.
    """

    sums: np.ndarray
    mask: np.ndarray


class Skipped(NamedTuple):
    """A tile that failed.

    Attributes:
        window: what of the scene it is.
        reason: why, in one line.
    """

    window: Window
    reason: str


def write_part(
    path: Path,
    sums: np.ndarray,
    valid: np.ndarray | None,
    window: Window,
    own: Window,
    threshold: float,
    looked_at: int,
    skipped: Sequence[Skipped] = (),
) -> None:
    """Writes a part.

    Args:
        path: the file.
        sums: float32 [S, h, w], what the block's tiles add to each sentence's probability.
        valid: which pixels hold data, bool [h, w]; None when all do.
        window: the block's window.
        own: what no other block touches; empty to keep every probability.
        threshold: probability above which a pixel is taken.
        looked_at: how many of its tiles held data.
        skipped: those of them that failed.

    Raises:
        OutputError: it cannot be written.
    """
    arrays = {
        **_about(looked_at, skipped),
        "valid": np.packbits(valid) if valid is not None else np.zeros(0, np.uint8),
    }
    inner = relative(own, window)
    border = _border(window, own)
    for i, each in enumerate(sums):
        mask = each[inner] > threshold
        arrays[f"mask{i}"] = np.packbits(mask)
        arrays[f"inside{i}"] = _whole(each[inner][mask])
        arrays[f"border{i}"] = np.concatenate([_whole(each[strip]).ravel() for strip in border])
    _write(path, arrays)


def write_boxes(path: Path, rows: Sequence[np.ndarray], looked_at: int, skipped: Sequence[Skipped] = ()) -> None:
    """Writes a part of boxes: each sentence's rows, as `Grounder.look` gives them.

    Raises:
        OutputError: it cannot be written.
    """
    _write(path, {**_about(looked_at, skipped), **{f"rows{i}": each for i, each in enumerate(rows)}})


def _about(looked_at: int, skipped: Sequence[Skipped]) -> dict[str, np.ndarray]:
    about = {"looked_at": np.array(looked_at)}
    if skipped:
        about |= {
            "skipped": np.array([each.window for each in skipped], np.int64),
            "reasons": np.array([each.reason for each in skipped], np.str_),
        }
    return about


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with (
        replacing(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=_QUICK) as file,
    ):
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980: a part's bytes say nothing of when it was made
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, buffer.getvalue(), compresslevel=_QUICK)


class Part:
    """A part that is read, each sentence's share when it is asked for."""

    def __init__(self, path: Path, window: Window, own: Window) -> None:
        """Opens a part.

        Args:
            path: the file.
            window: the block's window.
            own: what no other block touches.

        Raises:
            OSError, ValueError, zipfile.BadZipFile: it is damaged.
        """
        self.window, self.own = window, own
        self._file = np.load(path, allow_pickle=False)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def looked_at(self) -> int:
        """How many of its tiles held data."""
        return int(self._file["looked_at"])

    @property
    def skipped(self) -> list[Skipped]:
        """Those of its tiles that failed."""
        if "skipped" not in self._file:
            return []
        windows, reasons = self._file["skipped"].tolist(), self._file["reasons"].tolist()
        return [Skipped(Window(*window), reason) for window, reason in zip(windows, reasons, strict=True)]

    def valid(self) -> np.ndarray | None:
        """Which pixels of the window hold data, bool [h, w]; None when all do."""
        bits = self._file["valid"]
        return _unpacked(bits, (self.window.height, self.window.width)) if bits.size else None

    def rows(self, sentence: int) -> np.ndarray:
        """A sentence's boxes, of a part that has them."""
        return np.asarray(self._file[f"rows{sentence}"])

    def layer(self, sentence: int) -> Layer:
        """A sentence's share."""
        window, own = self.window, self.own
        sums = np.zeros((window.height, window.width), np.uint16)
        mask = _unpacked(self._file[f"mask{sentence}"], (own.height, own.width))
        sums[relative(own, window)][mask] = self._file[f"inside{sentence}"]
        border, done = self._file[f"border{sentence}"], 0
        for strip in _border(window, own):
            view = sums[strip]
            view[...] = border[done : done + view.size].reshape(view.shape)
            done += view.size
        return Layer(sums, mask)


def _border(window: Window, own: Window) -> list[tuple[slice, slice]]:
    """What is left of a block's window around its own: above, below, left and right."""
    if not own.height:
        return [(slice(None), slice(None))]
    rows, columns = relative(own, window)
    return [
        (slice(0, rows.start), slice(None)),
        (slice(rows.stop, window.height), slice(None)),
        (rows, slice(0, columns.start)),
        (rows, slice(columns.stop, window.width)),
    ]


def _whole(probability: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(probability * ONE), 0, ONE).astype(np.uint16)


def _unpacked(bits: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).view(bool)
