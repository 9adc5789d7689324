"""The figure of bundles that differ in what is int8, each measured once and remembered on disk.

It is the task's own, or how far the answers agree with those of float32.

What is remembered lies in `$RSVL_CACHE`, or in `~/.cache/rsvl`, as one small JSON file for each float32 bundle with its
data and settings; a measuring that was cut short goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rsvl.export.quantization.mix import Mix
from rsvl.export.quantization.progress import Report
from rsvl.export.quantization.settings import Images
from rsvl.runtime.atomic import write_text
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.loading import load
from rsvl.runtime.runner import Runner
from rsvl.tasks import evaluation_of
from rsvl.tasks.contract import Seen

CACHE = "RSVL_CACHE"

Write = Callable[[Mix, Path], None]
"""Writes the bundle of a mix into an empty folder."""

AGREEMENT = "agreement"


class Meter:
    """Measures mixes.

    Attributes:
        figure: its name, the task's or `AGREEMENT`.
        baseline: the figure in float32, 0…1.
        images: how many images it is measured on.
    """

    def __init__(
        self, runner: Runner, labelled: Images, agreement: bool, about: object, write: Write, report: Report
    ) -> None:
        """Measures float32, always anew: what comes of it also tells whether the data are those of before.

        Args:
            runner: the float32 bundle, loaded.
            labelled: what it is asked.
            agreement: whether agreement with float32 is the figure; then no labels are needed.
            about: all else that the int8 bundles depend on; two that differ have different `repr`.
            write: writes the bundle of a mix.
            report: told how far the measuring is.

        Raises:
            DatasetError: no images, or no labels.
            UsageError: a data set of another task, or of a sensor that the model does not know.
        """
        self._labelled, self._write, self._report = labelled, write, report
        self._task = runner.spec.task
        self._dataset = labelled.open(self._task)
        self.figure = AGREEMENT if agreement else evaluation_of(self._task).BEST
        self.images = min(len(self._dataset), labelled.count)
        self._float32: list[Seen] = []
        found, self._float32 = self._ask(runner, "measuring float32")
        if found is None:
            raise DatasetError(
                f"{labelled.data} {labelled.split} has no labels to measure {self.figure} on: take another "
                "--metric-split, or --metric-images 0 to put everything into int8 without measuring"
            )
        self.baseline = found
        self._cache = _Cache(_key((about, self.figure), self._float32))

    def value(self, mix: Mix, what: str) -> float:
        """The figure of a mix, remembered or measured; `what` is told of the measuring."""
        if not mix:
            return self.baseline
        known = self._cache.get(mix)
        if known is None:
            with tempfile.TemporaryDirectory(prefix="rsvl-int8-") as folder:
                self._write(mix, Path(folder))
                runner = load(Bundle(folder, check=False), provider="cpu")
                found, _ = self._ask(runner, f"measuring {what}")
                known = found or 0.0
            self._cache.put(mix, known)
        return known

    def drop(self, mix: Mix, what: str) -> float:
        """How much lower the figure of a mix is than that of float32."""
        return self.baseline - self.value(mix, what)

    def _ask(self, runner: Runner, what: str) -> tuple[float | None, list[Seen]]:
        """The figure of a bundle, None where the data give none, and every sample."""
        evaluation, seen = evaluation_of(self._task), list[Seen]()

        def progress(done: int, total: int) -> None:
            self._report(done, total, what)

        found: dict[str, Any] = evaluation.evaluate(
            evaluation.runner_predictor(runner),
            self._dataset,
            self._labelled.count,
            progress=progress,
            observe=seen.append,
        ).to_dict()
        if self.figure == AGREEMENT:
            pairs = zip(self._float32 or seen, seen, strict=True)  # float32 agrees with itself
            alike = [evaluation.agreement(before.answer, after.answer) for before, after in pairs]
            return (sum(alike) / len(alike) if alike else None), seen
        value = found[evaluation.BEST]
        return (None if value is None or math.isnan(value) or not seen else float(value)), seen


class _Cache:
    """Figures of mixes in one JSON file."""

    def __init__(self, key: str) -> None:
        folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "rsvl")
        self._path = folder / "int8" / f"{key}.json"
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


def _key(about: object, seen: list[Seen]) -> str:
    """SHA-256 of everything that a figure depends on; the float32 scores stand for images, questions and labels."""
    hashed = hashlib.sha256(repr((about, version("rsvl"), version("onnxruntime"))).encode())
    for each in seen:
        hashed.update(json.dumps(asdict(each), sort_keys=True).encode())
    return hashed.hexdigest()
