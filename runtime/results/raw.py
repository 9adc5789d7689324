"""The result of a user-defined module: its raw outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.runtime.results.base import Result


@dataclass(frozen=True, eq=False)
class RawOutputs(Result):
    """A module's final outputs.

    Attributes:
        arrays: each of `ModelSpec.final_outputs` by name.
    """

    arrays: Mapping[str, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """The outputs' shapes by name."""
        return {"outputs": {name: list(array.shape) for name, array in self.arrays.items()}}

    def lines(self) -> list[str]:
        """Each output's name and shape."""
        return [f"{name} {list(array.shape)}" for name, array in self.arrays.items()]
