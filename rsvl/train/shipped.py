"""Trains shipped weights anew from the recipe that lies beside them: `make train-tiny`, hours for each model.

A recipe is `rsvl/models/weights/NAME.json`: the synthetic scenes, how they are read, the hyperparameters.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rsvl.checkpoints import load, load_weights, save_weights
from rsvl.checkpoints.loading import SHIPPED
from rsvl.data.synth import write
from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import UsageError
from rsvl.tasks import evaluation_of, open_split, training_of
from rsvl.train.config import TrainConfig
from rsvl.train.loop import Progress, train


@dataclass(frozen=True)
class Recipe:
    """How shipped weights came to be.

    Attributes:
        data: the data set's name in `rsvl.data.DATASETS`.
        scenes: arguments of `rsvl.data.synth.write`.
        train: the hyperparameters.
        start: the shipped model whose weights, as far as names and shapes agree, training starts from; none for random.
    """

    data: str
    scenes: dict[str, Any]
    train: TrainConfig
    start: str | None = None


def recipes() -> list[str]:
    """The models that ship with a recipe."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def recipe(name: str) -> Recipe:
    """The recipe of a model.

    Raises:
        UsageError: it has none.
    """
    if name not in recipes():
        raise UsageError(f"{name} ships no recipe: choose one of {', '.join(recipes())}")
    content = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    return Recipe(**{**content, "train": TrainConfig(**content["train"])})


def retrain(
    name: str, recipe: Recipe, folder: Path, report: Callable[[int, int], None], watch: Progress | None = None
) -> dict[str, Any]:
    """Makes the scenes, trains, and writes `NAME.safetensors` in half precision and its figures as `NAME.json`.

    What lies in the folder already is used: a killed run goes on.

    Args:
        name: the model.
        recipe: its recipe.
        folder: where all of it goes.
        report: told how far the scenes and the evaluation are.
        watch: told how far the training is.

    Returns:
        The figures of the test split in PyTorch.
    """
    root = folder / "-".join(["scenes", *(str(value) for value in recipe.scenes.values())])
    if not root.exists():
        write(root, **recipe.scenes, progress=report)
    torch.manual_seed(recipe.train.seed)
    model = load(name, "random")
    if recipe.start:
        _start_from(model, recipe.start)
    task, run = model.spec.task, folder / name
    train_set, val_set = (open_split(task, recipe.data, root, split) for split in ("train", "val"))
    train(model, train_set, val_set, run, recipe.train, resume=True, progress=watch)
    load_weights(model, run / "best.safetensors")
    shipped = folder / f"{name}.safetensors"
    save_weights(model, shipped, {"recipe": f"{name}.json"}, torch.float16)
    load_weights(model, shipped)
    test = open_split(task, recipe.data, root, "test")
    found = evaluation_of(task).evaluate(training_of(task).torch_predictor(model), test, progress=report).to_dict()
    with replacing(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return dict(found)


def _start_from(model: torch.nn.Module, name: str) -> None:
    """Takes over every weight of a shipped model that has the same name and shape here."""
    own, other = model.state_dict(), load(name).state_dict()
    model.load_state_dict({key: other[key] if _same(key, own, other) else value for key, value in own.items()})


def _same(key: str, own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return key in other and own[key].shape == other[key].shape
