"""The figure of bundles that differ in what is in 8 bits, each measured once and remembered on disk.

What is remembered lies in `$RSVL_CACHE`, or in `~/.cache/rsvl`, as one small JSON file for each float32 bundle with its
data and settings; a measuring that was cut short goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from rsvl.export.quantization.metric import Figure
from rsvl.export.quantization.mixed_precision_search import Mix
from rsvl.runtime.atomic import write_text

CACHE = "RSVL_CACHE"

Write = Callable[[Mix, Path], None]
"""Writes the bundle of a mix into an empty folder."""


class Meter:
    """Measures mixes.

    Attributes:
        figure: what is measured, with its value in float32.
    """

    def __init__(self, figure: Figure, about: object, write: Write) -> None:
        """Looks up what is known.

        Args:
            figure: what is measured.
            about: all else that the bundles depend on; two that differ have different `repr`.
            write: writes the bundle of a mix.
        """
        self.figure, self._write = figure, write
        self._cache = _Cache(_key(about, figure))

    def value(self, mix: Mix, what: str) -> float:
        """The figure of a mix, remembered or measured; `what` is told of the measuring."""
        if not mix:
            return self.figure.baseline
        known = self._cache.get(mix)
        if known is None:
            with self._written(mix) as folder:
                known = self.figure.of(folder, what)
            self._cache.put(mix, known)
        return known

    def drop(self, mix: Mix, what: str) -> float:
        """How much lower the figure of a mix is than that of float32."""
        return self.figure.baseline - self.value(mix, what)

    def passes(self, mix: Mix, check: Callable[[Path], bool]) -> bool:
        """Whether the bundle of a mix, in a folder, passes a check; this is not remembered."""
        with self._written(mix) as folder:
            return check(folder)

    @contextmanager
    def _written(self, mix: Mix) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="rsvl-8-bits-") as folder:
            self._write(mix, Path(folder))
            yield Path(folder)


class _Cache:
    """Figures of mixes in one JSON file."""

    def __init__(self, key: str) -> None:
        folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "rsvl")
        self._path = folder / "8-bits" / f"{key}.json"
        self._figures: dict[str, float] = {}
        try:
            read = json.loads(self._path.read_text(encoding="utf-8"))
            self._figures = {str(name): float(value) for name, value in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # none yet, or damaged: then it is measured again

    def get(self, mix: Mix) -> float | None:
        """The figure, if it is known."""
        return self._figures.get(_name(mix))

    def put(self, mix: Mix, value: float) -> None:
        """Remembers a figure."""
        self._figures[_name(mix)] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(self._figures, indent=1))


def _name(mix: Mix) -> str:
    return " ".join(sorted(mix))


def _key(about: object, figure: Figure) -> str:
    """SHA-256 of everything that a figure depends on."""
    hashed = hashlib.sha256(repr((about, figure.name, version("rsvl"), version("onnxruntime"))).encode())
    for part in figure.data():
        hashed.update(part)
    return hashed.hexdigest()
