"""What may drop when a bundle is quantized: the task's primary metric, or the agreement of its outputs with float32."""

from __future__ import annotations

import dataclasses
import json
import math
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
from rsvl.runtime.temporary import LockedFolder
from rsvl.tasks import EvalOptions, evaluation_of
from rsvl.tasks.contract import SampleRecord


class Metric(Protocol):
    """A metric of bundles of one model, larger is better.

    Attributes:
        name: what it is called.
        images: how many images it is measured on.
        baseline: its value in float32, 0…1.
    """

    name: str
    images: int
    baseline: float

    def measure(self, folder: Path, what: str) -> float:
        """The metric of the bundle in a folder; `what` names the bundle for the progress."""

    def fingerprint(self) -> Iterator[bytes]:
        """What stands for the data in the cache's key: other data, other values."""


class PrimaryMetric:
    """The task's primary metric on labelled images."""

    def __init__(self, bundle: Bundle, labelled: Images, progress: Progress) -> None:
        """Measures float32.

        Args:
            bundle: in float32.
            labelled: what it is measured on.
            progress: called after every image that is measured.

        Raises:
            DatasetError: no images, or no labels.
            UsageError: a dataset of another task, or of a sensor that the model does not know.
        """
        runner = load(bundle, provider="cpu")
        self._evaluation, self._progress = evaluation_of(runner.spec.task), progress
        self._dataset, self._count = labelled.open(runner.spec.task), labelled.count
        self.name, self.images = self._evaluation.PRIMARY_METRIC, min(len(self._dataset), labelled.count)
        self._samples: list[SampleRecord] = []
        found = self._evaluate(runner, "float32", self._samples)
        if found is None or not self._samples:
            raise DatasetError(
                f"{labelled.data} {labelled.split} has no labels to measure {self.name} on: take another "
                "--metric-split, --metric agreement, or --metric-limit 0 for everything in 8 bits without measuring"
            )
        self.baseline = found

    def measure(self, folder: Path, what: str) -> float:
        """See `Metric`."""
        return self._evaluate(load(Bundle(folder, check=False), provider="cpu"), what, []) or 0.0

    def fingerprint(self) -> Iterator[bytes]:
        """The float32 scores stand for images, questions and labels."""
        for each in self._samples:
            yield json.dumps(dataclasses.asdict(each), sort_keys=True).encode()

    def _evaluate(self, runner: Runner, what: str, samples: list[SampleRecord]) -> float | None:
        self._progress(0, self.images, f"measuring {what}")
        options = EvalOptions(self._count, progress=self._progress, on_sample=samples.append)
        predict = self._evaluation.runner_predictor(runner)
        report: dict[str, Any] = self._evaluation.evaluate(predict, self._dataset, options).to_dict()
        value = report[self.name]
        return None if value is None or math.isnan(value) else float(value)


class AgreementMetric:
    """How far outputs agree with those of float32, by the rule that `rsvl check` has for the task, without labels."""

    name, baseline = "agreement", 1.0

    def __init__(self, bundle: Bundle, images: Images, progress: Progress) -> None:
        """Keeps the inputs and outputs of the float32 bundle when it is asked about images, one question each.

        Args:
            bundle: in float32.
            images: what it is asked about.
            progress: called after every image.

        Raises:
            DatasetError: no images, or nothing is asked about them.
            UsageError: a dataset of another task, or of a sensor that the model does not know.
        """
        self._spec, self._progress = bundle.manifest.model, progress
        with LockedFolder("rsvl-calibration-") as temporary:
            data = collect(bundle, images, temporary.path, progress)
            raw, kept = self._spec.raw_inputs, dict[str, list[np.ndarray]]()
            for graph in self._spec.graphs:
                taken = [tensor.name for tensor in graph.inputs if tensor.name in raw]
                kept |= {name: [inputs[name][:1] for inputs in data.runs(graph.name)] for name in taken}
        self.images = data.images
        self._samples = {  # a sentence that several images share was encoded once: then the known ones are repeated
            name: np.concatenate([arrays[number % len(arrays)] for number in range(self.images)])
            for name, arrays in kept.items()
        }
        self._expected = self._outputs(load(bundle, provider="cpu"), "float32")

    def measure(self, folder: Path, what: str) -> float:
        """See `Metric`; where the rule says how far outputs differ, it is 1 less that."""
        actual = self._outputs(load(Bundle(folder, check=False), provider="cpu"), what)
        found = tasks.compare(self._spec, self._expected, actual, "int8")[0]
        return found.value if found.at_least else 1 - found.value

    def fingerprint(self) -> Iterator[bytes]:
        """The outputs of the float32 bundle."""
        for name in sorted(self._expected):
            yield np.ascontiguousarray(self._expected[name]).tobytes()

    def _outputs(self, runner: Runner, what: str) -> dict[str, np.ndarray]:
        """Outputs by name, [N, …]; one image at a time, as memory is for one."""
        outputs = []
        for number in range(self.images):
            self._progress(number, self.images, f"measuring {what}")
            outputs.append(runner.run(**{name: values[number : number + 1] for name, values in self._samples.items()}))
        return {name: np.concatenate([output[name] for output in outputs]) for name in outputs[0]}
