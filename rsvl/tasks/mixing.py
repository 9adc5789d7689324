"""What a model trains on: one dataset, or a mixture that a small JSON file lists. Imports no PyTorch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsvl.data.mixtures import Augmented, Mixture
from rsvl.data.opposites import WithOpposites
from rsvl.data.records import ReferringDataset, Split
from rsvl.runtime.errors import DatasetError, UsageError
from rsvl.tasks import open_split


@dataclass(frozen=True)
class Ingredient:
    """One dataset of a mixture.

    Attributes:
        data: its name in `rsvl.data.DATASETS`.
        root: its folder, relative to the root of the mixture.
        train: the split to train on.
        val: the split to validate on; none for an empty word.
        weight: how often an image of it is drawn, relative to the others.
        test: the split that measures the result; training does not read it.
    """

    data: str
    root: str
    train: str = "train"
    val: str = "val"
    weight: float = 1.0
    test: str = ""


def read_mixture(path: Path) -> list[Ingredient]:
    """The datasets that a JSON file lists.

    Raises:
        DatasetError: unreadable, or not a list of such objects.
    """
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is not readable JSON ({error})") from error
    return ingredients(entries, str(path))


def ingredients(entries: Any, source: str) -> list[Ingredient]:
    """From plain values to the datasets of a mixture; `source` says in errors where they are from.

    Raises:
        DatasetError: not a list of such objects.
    """
    example = '[{"data": "rrsis-d", "root": "scenes", "weight": 2}, {"data": "coco", "root": "mine", …}]'
    try:
        found = [Ingredient(**entry) for entry in entries]
    except TypeError as error:
        raise DatasetError(f"{source} is no mixture of datasets ({error}): expected {example}") from error
    words = [word for each in found for word in (each.data, each.root, each.train, each.val, each.test)]
    if not found or not all(isinstance(word, str) for word in words):
        raise DatasetError(f"{source} is no mixture of datasets: expected {example}")
    if not all(isinstance(each.weight, int | float) and each.weight > 0 for each in found):
        raise DatasetError(f"{source}: every weight must be a number above 0")
    return found


def open_mixture(
    task: str, mixture: Sequence[Ingredient], root: Path, augment: bool = False, opposites: bool = False
) -> tuple[Split[Any], list[Split[Any]]]:
    """Opens what to train on, and the sets to validate on.

    Args:
        task: the model's task.
        mixture: the datasets.
        root: the folder that their roots are relative to.
        augment: whether the images of expressions vary (`rsvl.data.mixtures.Augmented`); those of other datasets are
            varied by the training, if at all (`TrainConfig.augment`).
        opposites: whether expressions are joined by opposites of them (`rsvl.data.opposites.WithOpposites`).

    Raises:
        UsageError: datasets that cannot be mixed, or that have no expressions to make opposites of; or none to validate
            on.
        DatasetError: a missing or damaged file or split.
    """
    parts = [open_split(task, each.data, root / each.root, each.train) for each in mixture]
    val = [open_split(task, each.data, root / each.root, each.val) for each in mixture if each.val]
    if not val:
        raise UsageError("none of the datasets has a split to validate on: give one of them val")
    referring = [part for part in parts if isinstance(part, ReferringDataset)]
    if opposites and not referring:
        raise UsageError(f"--opposites are of expressions, and {parts[0].name} has none: leave it out")
    if len(parts) == 1 and not (referring and (augment or opposites)):
        return parts[0], val
    if len(referring) < len(parts):
        raise UsageError("only datasets of expressions can be mixed: train on one of the others alone")
    varied: list[ReferringDataset] = [Augmented(part) for part in referring] if augment else referring
    varied = [WithOpposites(part) for part in varied] if opposites else varied
    return (varied[0] if len(varied) == 1 else Mixture(varied, [each.weight for each in mixture])), val
