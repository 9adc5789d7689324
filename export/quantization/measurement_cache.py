"""The metric of bundles that differ in which parts are quantized, each measured once and cached on disk.

The cache lies in `$RSVL_CACHE`, or in `~/.cache/rsvl`, as one small JSON file for each float32 bundle with its data and
settings; an interrupted measurement resumes from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from rsvl.export.quantization.metric import Metric
from rsvl.export.quantization.mixed_precision_search import Selection
from rsvl.runtime.atomic import write_text
from rsvl.runtime.cache import cache_folder
from rsvl.runtime.temporary import LockedFolder

Write = Callable[[Selection, Path], None]
"""Writes the bundle in which these parts are quantized into an empty folder."""


class CachedMetric:
    """Measures bundles by the parts that are quantized in them.

    Attributes:
        metric: what is measured, with its value in float32.
    """

    def __init__(self, metric: Metric, about: object, write: Write) -> None:
        """Reads what is cached.

        Args:
            metric: what is measured.
            about: all else that the bundles depend on; two that differ have different `repr`.
            write: writes the bundle of a selection.
        """
        self.metric, self._write = metric, write
        self._cache = _Cache(_key(about, metric))

    def value(self, selection: Selection, what: str) -> float:
        """The metric with these parts quantized, cached or measured; `what` names the bundle for the progress."""
        if not selection:
            return self.metric.baseline
        known = self._cache.get(selection)
        if known is None:
            with self._written(selection) as folder:
                known = self.metric.measure(folder, what)
            self._cache.put(selection, known)
        return known

    def drop(self, selection: Selection, what: str) -> float:
        """How much lower the metric is than in float32."""
        return self.metric.baseline - self.value(selection, what)

    def passes(self, selection: Selection, check: Callable[[Path], bool]) -> bool:
        """Whether the bundle of a selection, in a folder, passes a check; this is not cached."""
        with self._written(selection) as folder:
            return check(folder)

    @contextmanager
    def _written(self, selection: Selection) -> Iterator[Path]:
        with LockedFolder("rsvl-8-bits-") as temporary:
            self._write(selection, temporary.path)
            yield temporary.path


class _Cache:
    """Values by selection in one JSON file."""

    def __init__(self, key: str) -> None:
        folder = cache_folder()
        self._path = folder / "8-bits" / f"{key}.json"
        self._values: dict[str, float] = {}
        try:
            read = json.loads(self._path.read_text(encoding="utf-8"))
            self._values = {str(name): float(value) for name, value in read.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # none yet, or damaged: then it is measured again

    def get(self, selection: Selection) -> float | None:
        """The cached value, if there is one."""
        return self._values.get(_name(selection))

    def put(self, selection: Selection, value: float) -> None:
        """Caches a value."""
        self._values[_name(selection)] = value
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._path, json.dumps(self._values, indent=1))


def _name(selection: Selection) -> str:
    return " ".join(sorted(selection))


def _key(about: object, metric: Metric) -> str:
    """SHA-256 of everything that a value depends on."""
    hashed = hashlib.sha256(repr((about, metric.name, version("rsvl"), version("onnxruntime"))).encode())
    for chunk in metric.fingerprint():
        hashed.update(chunk)
    return hashed.hexdigest()
