"""Synthetic datasets of the tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rsvl.data.synth import write
from rsvl.tasks import open_split
from tests.support.toy_learners import SYNTH


@pytest.fixture(scope="session")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A synthetic dataset of each task: 4 scenes to train on, 2 to validate."""
    folder = tmp_path_factory.mktemp("synth")
    for name, _ in SYNTH.values():
        write(folder / name, 6, seed=2, size=64, val=2, test=0, task=name)
    return {task: folder / name for task, (name, _) in SYNTH.items()}


@pytest.fixture
def splits(roots: dict[str, Path]) -> Any:
    """Opens a task's split by (task, split)."""
    return lambda task, split="train": open_split(task, SYNTH[task][1], roots[task], split)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
