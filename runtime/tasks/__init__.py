"""Tasks: what can be asked of a bundle, one module per task.

Each task's module has the names of the tensors that it reads, the runner, and the rule by which two of its outputs
agree, which export and check apply. `TASKS` is the only table of tasks; other rooms look their modules up by
`Task.stem`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import numpy as np

from rsvl.runtime.manifest import CLASSIFICATION, GROUNDING, MATCHING, SEGMENTATION, VQA, ModelSpec
from rsvl.runtime.tasks import classification, grounding, matching, raw, segmentation, vqa
from rsvl.runtime.tasks.agreement import Coverage, Measure, differing
from rsvl.runtime.tasks.runner import Runner

Tensors = Mapping[str, np.ndarray]


class Compare(Protocol):
    """Compares final outputs."""

    def __call__(self, spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> tuple[Measure, ...]:
        """See `rsvl.runtime.tasks.compare`."""


class Margin(Protocol):
    """How informative each sample is when its outputs are compared."""

    def __call__(self, spec: ModelSpec, expected: Tensors) -> np.ndarray:
        """A float [N], larger for more informative samples: a tie or an empty mask says little."""


class Covers(Protocol):
    """How much a comparison of these outputs sees."""

    def __call__(self, spec: ModelSpec, expected: Tensors) -> Coverage:
        """See `rsvl.runtime.tasks.coverage`."""


class Task(NamedTuple):
    """A task in the runtime: its runner, and how outputs are compared."""

    runner: type[Runner]
    compare: Compare
    margin: Margin
    coverage: Covers = differing

    @property
    def stem(self) -> str:
        """The name of the task's modules in every room, such as ``segmentation``."""
        return self.runner.__module__.rpartition(".")[2]


TASKS: dict[str, Task] = {
    SEGMENTATION: Task(segmentation.Segmenter, segmentation.compare, segmentation.margin, segmentation.coverage),
    GROUNDING: Task(grounding.Grounder, grounding.compare, grounding.margin),
    VQA: Task(vqa.Answerer, vqa.compare, vqa.margin, vqa.coverage),
    MATCHING: Task(matching.Matcher, matching.compare, matching.margin),
    CLASSIFICATION: Task(
        classification.Classifier, classification.compare, classification.margin, classification.coverage
    ),
}
"""By the name in the manifest; a bundle of any other task has raw inputs and outputs."""

_RAW = Task(raw.RawRunner, raw.compare, raw.margin)


def find_task(name: str) -> Task:
    """The task of a name; the raw one where rsvl does not know it."""
    return TASKS.get(name, _RAW)


def compare(spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> tuple[Measure, ...]:
    """Compares final outputs by the model's task.

    Args:
        spec: the model's declaration.
        expected: each of `spec.final_outputs` by name, [N, …].
        actual: the same, of the same shapes and finite.
        precision: the bundle's, which sets the limits.
    """
    return find_task(spec.task).compare(spec, expected, actual, precision)


def coverage(spec: ModelSpec, expected: Tensors) -> Coverage:
    """How much a comparison with these final outputs sees: of random or dead weights all outputs may be alike."""
    return find_task(spec.task).coverage(spec, expected)


def most_informative(spec: ModelSpec, expected: Tensors, count: int) -> np.ndarray:
    """Indices, ascending, of the `count` most informative samples."""
    margins = find_task(spec.task).margin(spec, expected)
    return np.sort(np.argsort(-margins, kind="stable")[:count])
