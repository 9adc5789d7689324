"""Measuring the speed of a table's models on this machine.

Each row's model gets random weights (its speed does not depend on them) and is run on one image and one sentence, both
new, in PyTorch, as the papers measure, and as the bundle that `rsvl export` makes of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rsvl.benchmarks.machine import cores, describe, hardware
from rsvl.benchmarks.preset import build
from rsvl.benchmarks.published import Published, PublishedTable
from rsvl.benchmarks.speed_record import TableSpeed
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.benchmarks.ways import EAGER, Whole, bundle_graphs, inputs_of, pytorch
from rsvl.export import export
from rsvl.runtime.bundle import Bundle

BUNDLE = "rsvl bundle, fp32"

Say = Callable[[float, float, str], None]
"""Told how much is done, of how much, and what is being done."""


def measure(
    table: PublishedTable, rounds: int = 5, threads: int | None = None, say: Say = lambda done, total, what: None
) -> TableSpeed:
    """Measures every row that has a model; for a full-size one count a minute and several GB of memory and disk.

    Args:
        table: as published.
        rounds: how often each way is timed.
        threads: CPU threads of each way; None takes all cores of this process.
        say: told what is going on.
    """
    threads = threads or cores()
    torch.set_num_threads(threads)
    rows = [row for row in table.rows if row.model is not None]
    measured = {}
    for number, row in enumerate(rows):
        with tempfile.TemporaryDirectory() as scratch:
            say(number, len(rows), f"measuring {row.name}")
            measured[row.name] = _row(row, Path(scratch, "row.bundle"), rounds, threads)
    return TableSpeed(table.name, hardware(), threads, rounds, measured, describe())


def _row(row: Published, path: Path, rounds: int, threads: int) -> dict[str, Percentiles]:
    torch.manual_seed(0)  # the same weights in every run
    model: Any = build(row.model or "", row.ablation).eval()
    inputs = inputs_of(model)
    bundle = Bundle(export(model, path).path)
    ways = {
        EAGER: pytorch(Whole(model), model.spec, inputs),
        BUNDLE: bundle_graphs(bundle, inputs, threads),
    }
    for run in ways.values():
        run()  # allocates
    return {way: Percentiles.of(times) for way, times in interleaved(ways, rounds).items()}
