"""Optimization profiles: the sizes for which an engine is built, from the dynamic dimensions that a manifest names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec, TensorSpec

BATCH = "batch"
MAX_BATCH = 8

_RANGE = re.compile(r"(\w+)=(\d+):(\d+):(\d+)")


@dataclass(frozen=True)
class Range:
    """The sizes that a dynamic dimension may take, and the one to optimize for, in trtexec's words.

    Raises:
        UsageError: not 1 ≤ min ≤ opt ≤ max.
    """

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise UsageError(f"{self.min}:{self.opt}:{self.max}: give 1 ≤ MIN ≤ OPT ≤ MAX")


Ranges: TypeAlias = Mapping[str, Range]
"""A range for each dynamic dimension by its name in the manifest."""

Shape: TypeAlias = tuple[int, ...]


def batch_range(max_batch: int = MAX_BATCH, opt_batch: int = 1) -> Range:
    """The range of the batch; optimized for 1 by default, as the runtime processes one image at a time.

    Raises:
        UsageError: a batch below 1, or one to optimize for that is above the maximum.
    """
    if not 1 <= opt_batch <= max_batch:
        raise UsageError(f"batches up to {max_batch}, optimized for {opt_batch}: give 1 ≤ --opt-batch ≤ --max-batch")
    return Range(1, opt_batch, max_batch)


def parse_range(text: str) -> tuple[str, Range]:
    """Reads ``NAME=MIN:OPT:MAX``.

    Raises:
        UsageError: of another form, or not 1 ≤ MIN ≤ OPT ≤ MAX.
    """
    match = _RANGE.fullmatch(text)
    if match is None:
        raise UsageError(f"--range {text!r}: write NAME=MIN:OPT:MAX, such as height=64:256:512")
    name, *sizes = match.groups()
    return name, Range(*map(int, sizes))


def dynamic_names(graphs: Iterable[GraphSpec]) -> set[str]:
    """The names of all dynamic dimensions of graphs' inputs."""
    return {size for graph in graphs for tensor in graph.inputs for size in tensor.shape if isinstance(size, str)}


def checked_ranges(graphs: Iterable[GraphSpec], ranges: Ranges) -> Ranges:
    """The ranges, when they are those of the graphs' dynamic dimensions; a batch range that none needs is allowed.

    Raises:
        UsageError: a dimension without a range, or a range without a dimension.
    """
    names = dynamic_names(graphs)
    for name in sorted(names - set(ranges)):
        raise UsageError(f"the dimension {name} is dynamic: give its sizes with --range {name}=MIN:OPT:MAX")
    for name in sorted(set(ranges) - names - {BATCH}):
        known = ", ".join(sorted(names)) or "none"
        raise UsageError(f"no dynamic dimension is called {name} (there are: {known}): leave out its --range")
    return ranges


def profile(graph: GraphSpec, ranges: Ranges) -> dict[str, tuple[Shape, Shape, Shape]]:
    """The min, opt and max shape of each input of a graph that has a dynamic dimension, by name."""
    return {
        tensor.name: (
            _shape(tensor, {name: r.min for name, r in ranges.items()}),
            _shape(tensor, {name: r.opt for name, r in ranges.items()}),
            _shape(tensor, {name: r.max for name, r in ranges.items()}),
        )
        for tensor in graph.inputs
        if any(isinstance(size, str) for size in tensor.shape)
    }


def _shape(tensor: TensorSpec, sizes: Mapping[str, int]) -> Shape:
    return tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)
