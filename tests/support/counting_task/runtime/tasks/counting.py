"""Object counting: how many objects an image shows. Two outputs agree by the difference of their counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import ImageSource, read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.results.counting import Count
from rsvl.runtime.tasks.agreement import Measure, allowed
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner

COUNT = "count"
MAX_DIFFERENCE = {"fp32": 0.01, "fp16": 0.1, "bf16": 0.2, "int8": 0.5}


class Counter(Runner):
    """A loaded object counter."""

    gives = (COUNT,)
    options = frozenset()
    purpose = "counts objects"

    def ask(self, query: Query) -> list[Count]:
        """See `Runner.ask`; one count."""
        _, image = query.only_image
        return [self.count(image)]

    def count(self, image: ImageSource) -> Count:
        """Counts the objects of an image."""
        spec = self.spec.image
        pixels = preprocess(read_image(image, spec), spec)[None]
        return Count(round(float(self.run(**{spec.name: pixels})[COUNT][0])))


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The largest difference of a count."""
    difference = float(np.abs(expected[COUNT] - actual[COUNT]).max())
    return (Measure("count difference", difference, allowed(MAX_DIFFERENCE, precision)),)


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The distance from the next rounding boundary."""
    return 0.5 - np.abs(expected[COUNT] - np.rint(expected[COUNT]))
