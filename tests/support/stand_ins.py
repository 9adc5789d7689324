"""Small stand-ins for what would take minutes in the documents' commands: models, their graphs, counts, timings."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rsvl import registry
from rsvl.benchmarks.bundle import speed
from rsvl.benchmarks.bundle.ceilings import Ceilings, Product
from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.papers import table_speed
from rsvl.benchmarks.papers.speed_record import TableSpeed
from rsvl.benchmarks.timing import Percentiles
from rsvl.checkpoints import loading
from rsvl.export import graphs, pipeline
from rsvl.runtime.manifest import GraphSpec
from tests.support.toy_segmenter import WIDTH, ToySegmenter

CLIP_KEYS = "visual."
"""What the names of the tensors begin with in the file that stands in for a CLIP."""


class StandIn(ToySegmenter):
    """The toy segmenter under the name of a preset, always with the same weights; a file that stands in for a CLIP
    fills it.
    """

    def __init__(self, name: str, preset: Any = None) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            super().__init__()
            self.project = nn.Linear(WIDTH, WIDTH)  # a matrix for Muon
        self.spec = replace(self.spec, name=name)

    def encode_text(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """See `ReferringSegmenter.encode_text`."""
        return (self.project(super().encode_text(tokens)[0]),)

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """See `ExportableModel.published`."""
        found = {key.removeprefix(CLIP_KEYS): value for key, value in state.items() if key.startswith(CLIP_KEYS)}
        return found or None


def write_clip(path: Path) -> None:
    """Writes a checkpoint as PyTorch does that stands in for a CLIP."""
    torch.save({CLIP_KEYS + key: value for key, value in StandIn("clip").state_dict().items()}, path)


def put_stand_ins(patch: pytest.MonkeyPatch, exported: Path) -> None:
    """Puts them in place, until `patch` is undone.

    CD2FSAN becomes the toy segmenter and every other large preset its tiny one; no weights ship; a graph that was
    exported before is copied from the folder `exported`; what a machine can do at most and how fast a paper's models
    are is not measured.
    """
    names = registry.names()
    for name in names:
        if f"{name}-tiny" in names:
            patch.setitem(registry._ENTRIES, name, registry.entry(f"{name}-tiny"))
    for name in ("cd2fsan", "cd2fsan-tiny"):
        patch.setitem(registry._ENTRIES, name, registry.Entry(name, "cd2fsan", StandIn, None))
    patch.setattr(loading, "SHIPPED", Path("no weights ship"))
    patch.setattr(pipeline, "write_graph", _copying(exported))
    patch.setattr(speed, "cpu_ceilings", lambda threads: Ceilings({"fp32": Product(100.0, "numpy")}, 10.0, "NumPy"))
    patch.setattr(table_speed, "measure", _speed_of)


def _copying(exported: Path) -> Any:
    def write_graph(module: nn.Module, spec: GraphSpec, path: Path) -> None:
        known = exported / _digest(module, spec)
        if not known.is_file():
            graphs.write_graph(module, spec, path)
            shutil.copy(path, known)
        shutil.copy(known, path)

    return write_graph


def _digest(module: nn.Module, spec: GraphSpec) -> str:
    """Of what a graph's file follows from, its module's own code left out."""
    hashed = hashlib.sha256(repr((type(module).__name__, spec)).encode())
    for name, tensor in module.state_dict().items():
        hashed.update(f"{name} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    return hashed.hexdigest()


def _speed_of(table: Any, rounds: int, threads: int | None, progress: object) -> TableSpeed:
    times = {row.name: {"PyTorch eager": Percentiles(250.0, 260.0, 270.0)} for row in table.rows if row.model}
    return TableSpeed(table.name, hardware(), threads or 1, rounds, times, {})
