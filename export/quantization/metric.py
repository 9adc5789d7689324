"""What may drop when a bundle goes to 8 bits: the task's own figure, or how far its outputs agree with float32's."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rsvl.export.quantization.calibration_data import collect
from rsvl.export.quantization.settings import Images
from rsvl.runtime import tasks
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress
from rsvl.runtime.tasks.runner import Runner
from rsvl.tasks import evaluation_of
from rsvl.tasks.contract import Seen


class Figure(Protocol):
    """A figure of bundles of one model, larger is better.

    Attributes:
        name: what it is called.
        images: how many images it is measured on.
        baseline: that of float32, 0…1.
    """

    name: str
    images: int
    baseline: float

    def of(self, folder: Path, what: str) -> float:
        """That of the bundle in a folder; `what` is told of the measuring."""

    def data(self) -> Iterator[bytes]:
        """What stands for the data in the names of remembered figures: others follow from other data."""


class TaskFigure:
    """The task's own figure on labelled images."""

    def __init__(self, bundle: Bundle, labelled: Images, progress: Progress) -> None:
        """Measures float32.

        Args:
            bundle: in float32.
            labelled: what it is asked.
            progress: called as the measuring goes on.

        Raises:
            DatasetError: no images, or no labels.
            UsageError: a data set of another task, or of a sensor that the model does not know.
        """
        runner = load(bundle, provider="cpu")
        self._evaluation, self._progress = evaluation_of(runner.spec.task), progress
        self._dataset, self._count = labelled.open(runner.spec.task), labelled.count
        self.name, self.images = self._evaluation.BEST, min(len(self._dataset), labelled.count)
        self._seen: list[Seen] = []
        found = self._ask(runner, "float32", self._seen)
        if found is None or not self._seen:
            raise DatasetError(
                f"{labelled.data} {labelled.split} has no labels to measure {self.name} on: take another "
                "--metric-split, --metric agreement, or --metric-limit 0 for everything in 8 bits without measuring"
            )
        self.baseline = found

    def of(self, folder: Path, what: str) -> float:
        """See `Figure`."""
        return self._ask(load(Bundle(folder, check=False), provider="cpu"), what, []) or 0.0

    def data(self) -> Iterator[bytes]:
        """The float32 scores stand for images, questions and labels."""
        for each in self._seen:
            yield json.dumps(dataclasses.asdict(each), sort_keys=True).encode()

    def _ask(self, runner: Runner, what: str, seen: list[Seen]) -> float | None:
        def next_image(done: int, total: int) -> None:
            self._progress(done, total, f"measuring {what}")

        predict = self._evaluation.runner_predictor(runner)
        found: dict[str, Any] = self._evaluation.evaluate(
            predict, self._dataset, self._count, progress=next_image, observe=seen.append
        ).to_dict()
        value = found[self._evaluation.BEST]
        return None if value is None or math.isnan(value) else float(value)


class Agreement:
    """How far outputs agree with those of float32, by the rule that `rsvl check` has for the task, without labels."""

    name, baseline = "agreement", 1.0

    def __init__(self, bundle: Bundle, images: Images, progress: Progress) -> None:
        """Keeps what the float32 bundle is given when it is asked about images, one question each, and what it gives.

        Args:
            bundle: in float32.
            images: what it is asked about.
            progress: called as the measuring goes on.

        Raises:
            DatasetError: no images, or nothing is asked about them.
            UsageError: a data set of another task, or of a sensor that the model does not know.
        """
        self._spec, self._progress = bundle.manifest.model, progress
        with tempfile.TemporaryDirectory(prefix="rsvl-feeds-") as folder:
            feeds = collect(bundle, images, Path(folder), progress)
            raw, kept = self._spec.raw_inputs, dict[str, list[np.ndarray]]()
            for graph in self._spec.graphs:
                taken = [tensor.name for tensor in graph.inputs if tensor.name in raw]
                kept |= {name: [feed[name][:1] for feed in feeds.of(graph.name)] for name in taken}
        self.images = feeds.images
        self._samples = {  # a sentence that several images share was encoded once: then those there are come again
            name: np.concatenate([arrays[number % len(arrays)] for number in range(self.images)])
            for name, arrays in kept.items()
        }
        self._expected = self._answers(load(bundle, provider="cpu"), "float32")

    def of(self, folder: Path, what: str) -> float:
        """See `Figure`; where the rule says how far outputs differ, it is what that leaves of 1."""
        actual = self._answers(load(Bundle(folder, check=False), provider="cpu"), what)
        found = tasks.compare(self._spec, self._expected, actual, "int8")[0]
        return found.value if found.at_least else 1 - found.value

    def data(self) -> Iterator[bytes]:
        """What the float32 bundle was given and gave."""
        for name in sorted(self._expected):
            yield np.ascontiguousarray(self._expected[name]).tobytes()

    def _answers(self, runner: Runner, what: str) -> dict[str, np.ndarray]:
        """Outputs by name, [N, …]; an image at a time, as memory is for one."""
        answers = []
        for number in range(self.images):
            self._progress(number, self.images, f"measuring {what}")
            answers.append(runner.run(**{name: values[number : number + 1] for name, values in self._samples.items()}))
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}
