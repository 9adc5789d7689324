"""Measuring the speed of a table's models on this machine.

Each row's model has random weights (its speed does not depend on them) and runs on one new image and one new sentence,
in PyTorch, as the papers measure, and as the bundle that `rsvl export` makes of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from rsvl.benchmarks.bundle.whole_model import EAGER, Whole, pytorch
from rsvl.benchmarks.machine import describe, hardware
from rsvl.benchmarks.papers.published import Published, PublishedTable
from rsvl.benchmarks.papers.speed_record import TableSpeed
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.export import export
from rsvl.registry import create
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.hardware import cores
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.tasks.runner import Runner

BUNDLE = "rsvl bundle, fp32"


def measure(
    table: PublishedTable, rounds: int = 5, threads: int | None = None, progress: Progress = silent
) -> TableSpeed:
    """Measures every row that has a model; a full-size one takes a minute and several GB of memory and disk.

    Args:
        table: as published.
        rounds: timing rounds.
        threads: CPU threads per runner; None for all cores of this process.
        progress: called as the work goes on.
    """
    threads = threads or cores()
    torch.set_num_threads(threads)
    rows = [row for row in table.rows if row.model is not None]
    measured = {}
    for number, row in enumerate(rows):
        with tempfile.TemporaryDirectory() as scratch:
            progress(number, len(rows), f"measuring {row.name}")
            measured[row.name] = _row(row, Path(scratch, "row.bundle"), rounds, threads)
    return TableSpeed(table.name, hardware(), threads, rounds, measured, describe())


def _row(row: Published, path: Path, rounds: int, threads: int) -> dict[str, Percentiles]:
    torch.manual_seed(0)  # the same weights in every run
    model: Any = create(row.model or "", row.ablation).eval()
    export(model, path)
    inputs = {name: array[:1] for name, array in read_golden(Bundle(path))[0].items()}
    runner: Runner = load(path, "cpu", threads)
    runners: dict[str, Callable[[], Any]] = {
        EAGER: pytorch(Whole(model), model.spec, inputs),
        BUNDLE: partial(runner.run, **inputs),
    }
    for run in runners.values():
        run()  # allocates
    return {name: Percentiles.of(times) for name, times in interleaved(runners, rounds).items()}
