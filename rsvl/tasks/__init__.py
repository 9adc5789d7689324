"""What training and evaluation need to know about a task, looked up by a model's declaration.

Each task has a folder by its stem (`rsvl.runtime.tasks.Task.stem`) with the same two files, whose functions
`rsvl.tasks.contract` describes:

    evaluation.py   asks a model everything that a dataset knows, and compares; imports no PyTorch
    training.py     a dataset as batches, and a PyTorch model as something that `evaluation.evaluate` can ask

What the light runtime needs, the runner and how outputs agree, is in `rsvl.runtime.tasks`. A user-defined module
has another task and needs none of this to be exported and run.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

from rsvl.data.catalog import DATASETS, open_dataset
from rsvl.data.records import Split
from rsvl.runtime.errors import UsageError
from rsvl.runtime.tasks import TASKS
from rsvl.tasks.contract import EvalOptions, Evaluation, Training

__all__ = ["EvalOptions", "Evaluation", "Training", "evaluation_of", "open_split", "training_of"]


def evaluation_of(task: str) -> Evaluation:
    """How models of a task are evaluated.

    Raises:
        UsageError: a task that rsvl does not know.
    """
    return cast(Evaluation, _module(task, "evaluation"))


def training_of(task: str) -> Training:
    """How models of a task are trained, and asked in PyTorch.

    Raises:
        UsageError: a task that rsvl does not know.
    """
    return cast(Training, _module(task, "training"))


def open_split(task: str, data: str, root: str | Path, split: str) -> Split[Any]:
    """Opens one split of a dataset for a task.

    Args:
        task: the model's task.
        data: the dataset's name.
        root: the folder of its files as published.
        split: the split's name.

    Raises:
        UsageError: an unknown task or dataset, or a dataset that lacks what the task needs.
        DatasetError: a missing or damaged file or split.
    """
    evaluation = evaluation_of(task)
    known = DATASETS.get(data)
    kind = known.kind if known is not None and known.kind in evaluation.DATASET_TYPES else evaluation.DATASET_TYPES[0]
    return open_dataset(data, root, split, kind, masks=evaluation.NEEDS_MASKS)


def _module(task: str, part: str) -> object:
    if task not in TASKS:
        raise UsageError(f"rsvl does not know how to train or evaluate {task!r}: it knows {', '.join(TASKS)}")
    return importlib.import_module(f"rsvl.tasks.{TASKS[task].stem}.{part}")
