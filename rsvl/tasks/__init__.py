"""What training and evaluation need to know of a task, looked up by a model's declaration.

Each task has a folder with the same two files, whose functions `rsvl.tasks.contract` describes:

    evaluation.py   asks a model all that a data set knows and compares; imports no PyTorch
    training.py     a data set as batches, and a PyTorch model as something that `evaluation.evaluate` can ask

What the light runtime needs, how outputs agree and who runs a bundle, is in `rsvl.runtime.tasks`.
A module of the user's own has another task and needs none of this to be exported and run.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

from rsvl.data.catalog import DATASETS, open_dataset
from rsvl.data.records import Split
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GROUNDING, MATCHING, SEGMENTATION, VQA
from rsvl.tasks.contract import Evaluation, Training

__all__ = ["Evaluation", "Training", "evaluation_of", "open_split", "training_of"]

_FOLDERS = {
    SEGMENTATION: "segmentation",
    GROUNDING: "grounding",
    VQA: "vqa",
    MATCHING: "matching",
}


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
    """Opens one split of a data set for a task.

    Args:
        task: the model's task.
        data: the data set's name.
        root: the folder of its files as published.
        split: the split's name.

    Raises:
        UsageError: an unknown task or data set, or a data set that has not what the task needs.
        DatasetError: a missing or damaged file or split.
    """
    evaluation = evaluation_of(task)
    known = DATASETS.get(data)
    kind = known.kind if known is not None and known.kind in evaluation.DATA else evaluation.DATA[0]
    return open_dataset(data, root, split, kind, masks=evaluation.NEEDS_MASKS)


def _module(task: str, part: str) -> object:
    if task not in _FOLDERS:
        raise UsageError(f"rsvl does not know how to train or evaluate {task!r}: it knows {', '.join(_FOLDERS)}")
    return importlib.import_module(f"rsvl.tasks.{_FOLDERS[task]}.{part}")
