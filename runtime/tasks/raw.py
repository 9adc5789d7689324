"""Raw inputs and outputs: how a user-defined module is run and compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.npz import UNREADABLE
from rsvl.runtime.results.raw import RawOutputs
from rsvl.runtime.tasks.agreement import RELATIVE, Measure, allowed, relative_difference
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner


class RawRunner(Runner):
    """A loaded bundle of a task that rsvl does not know."""

    options = frozenset()
    purpose = "is run by raw inputs"

    def ask(self, query: Query) -> list[RawOutputs]:
        """Runs the arrays of a ``.npz`` file; or an image, where an image is all that the model takes.

        Raises:
            UsageError: texts, which this model does not take, or several images.
            InputError: a file that holds no such arrays, or an image that cannot be read.
        """
        if query.texts:
            raise UsageError(f"this model {self.purpose}: leave --text out")
        return [RawOutputs(self.run(**_raw_inputs(query, self.spec)))]


def _raw_inputs(query: Query, spec: ModelSpec) -> dict[str, np.ndarray]:
    sensor, source = query.only_image
    is_archive = isinstance(source, str | Path) and Path(source).suffix == ".npz"
    if not is_archive and list(spec.raw_inputs) == [image.name for image in spec.images]:
        scene = query.open(sensor, spec.image)
        return {spec.image.name: preprocess(read_image(scene), spec.image)[None]}
    if query.reading:
        raise UsageError(f"{spec.name} takes no image: leave --bands, --stretch, --nodata and --crs out")
    wanted = ", ".join(spec.raw_inputs)
    if not isinstance(source, str | Path):
        raise InputError(f"{spec.name} takes a .npz file of {wanted}, or these arrays by `run`")
    try:
        with np.load(source, allow_pickle=False) as archive:
            return dict(archive)
    except UNREADABLE as error:
        raise InputError(f"{source}: {spec.name} takes a .npz file of {wanted}") from error


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """Each final output's largest difference relative to its largest magnitude."""
    limit = allowed(RELATIVE, precision)
    return tuple(
        Measure(f"relative difference of {name}", relative_difference(expected[name], actual[name]), limit)
        for name in spec.final_outputs
    )


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Zero: all samples are equally informative."""
    return np.zeros(len(expected[next(iter(spec.final_outputs))]))
