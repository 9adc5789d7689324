"""Retrains the shipped weights from the recipes beside them: `make train-tiny`, hours per model.

A recipe is `rsvl/models/weights/NAME.json`: the synthetic scenes, how they are read, the hyperparameters. Some go on
with real images, or learn from these alone; they do not ship: docs/training.md says where they are from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rsvl import registry
from rsvl.checkpoints import load, load_weights, save_weights
from rsvl.checkpoints.loading import SHIPPED
from rsvl.data.synth import write
from rsvl.runtime.atomic import write_text
from rsvl.runtime.errors import UsageError
from rsvl.runtime.progress import Progress, silent
from rsvl.tasks import evaluation_of, open_split, training_of
from rsvl.tasks.contract import EvalOptions
from rsvl.tasks.mixing import Ingredient, ingredients, open_mixture
from rsvl.train.config import TrainConfig
from rsvl.train.loop import train


@dataclass(frozen=True)
class TrainingRecipe:
    """How shipped weights came to be.

    Attributes:
        data: the dataset's name in `rsvl.data.DATASETS`.
        scenes: arguments of `rsvl.data.synth.write`; empty for a model that learns from real images alone.
        train: the hyperparameters.
        start: the shipped model whose weights, as far as names and shapes agree, training starts from; none for random.
        real: real datasets that the scenes are mixed with; training on the scenes alone comes before. Without scenes,
            the one that is trained and tested on.
        mixed: the hyperparameters of that second training.
        weight: how often a scene is drawn then, relative to the weights of `real`.
        notes: what else is to be said of the weights, such as whose images they learned from.
    """

    data: str
    scenes: dict[str, Any]
    train: TrainConfig
    start: str | None = None
    real: tuple[Ingredient, ...] = ()
    mixed: TrainConfig | None = None
    weight: float = 1.0
    notes: tuple[str, ...] = ()


def recipes() -> list[str]:
    """The models that ship with a recipe."""
    return sorted(path.stem for path in SHIPPED.glob("*.json"))


def recipe(name: str) -> TrainingRecipe:
    """The recipe of a model.

    Raises:
        UsageError: it has none.
    """
    if name not in recipes():
        raise UsageError(f"{name} ships no recipe: choose one of {', '.join(recipes())}")
    content = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    real = tuple(ingredients(content["real"], name)) if "real" in content else ()
    configs = {stage: TrainConfig(**content[stage]) for stage in ("train", "mixed") if stage in content}
    return TrainingRecipe(**{**content, **configs, "real": real, "notes": tuple(content.get("notes", ()))})


def retrain(
    name: str, recipe: TrainingRecipe, folder: Path, progress: Progress = silent, real: Path | None = None
) -> dict[str, Any]:
    """Makes the scenes, trains, and writes `NAME.safetensors` in half precision and its metrics as `NAME.json`.

    What is in the folder already is used: a killed run is resumed.

    Args:
        name: the model.
        recipe: its recipe.
        folder: where all of it goes.
        progress: called as scenes, training and evaluation go on.
        real: the folder of the real datasets; None where the recipe has none.

    Returns:
        The metrics of the scenes' test split in PyTorch; without scenes, of the real one's.

    Raises:
        UsageError: the recipe needs real datasets, and `real` is not given.
    """
    if recipe.real and real is None:
        folders = ", ".join(each.root for each in recipe.real)
        raise UsageError(f"{name} learns from real images, too: name the folder with {folders} (docs/training.md)")
    torch.manual_seed(recipe.train.seed)
    model = load(name, "random")
    if recipe.scenes:
        _train_by(recipe, model, folder, f"{name}-scenes" if recipe.real else name, progress)
    if recipe.real and real is not None:
        _go_on_with(recipe, model, folder, name, progress, real)
    shipped = folder / f"{name}.safetensors"
    said = {"notes": " ".join(recipe.notes)} if recipe.notes else {}
    save_weights(model, shipped, {"recipe": f"{name}.json", **said}, torch.float16)
    load_weights(model, shipped)
    found = _tested(recipe, model, folder, progress, real)
    write_text(folder / f"{name}.json", json.dumps(found, indent=1))
    return found


def ablate(name: str, recipe: TrainingRecipe, folder: Path, progress: Progress = silent) -> dict[str, dict[str, Any]]:
    """Trains every ablation of a model (`rsvl.registry.ablations`) by the same recipe, each in a folder by its name.

    The arguments are those of `retrain`.

    Returns:
        The metrics of the test split in PyTorch, by ablation; `NAME-ablations.json` in the folder holds them, too.

    Raises:
        UsageError: the model has none.
    """
    if not registry.ablations(name):
        raise UsageError(f"{name} has no ablations: its file declares none")
    found = {}
    for ablation in registry.ablations(name):
        torch.manual_seed(recipe.train.seed)
        model = registry.create(name, ablation)
        _train_by(recipe, model, folder, f"{name}-{ablation.replace(' ', '-')}", progress)
        found[ablation] = _tested(recipe, model, folder, progress)
        write_text(folder / f"{name}-ablations.json", json.dumps(found, indent=1))
    return found


def _train_by(recipe: TrainingRecipe, model: Any, folder: Path, run: str, progress: Progress) -> None:
    """Trains a model in the folder `run` of `folder`, and leaves it with the best epoch's weights."""
    if recipe.start:
        _start_from(model, recipe.start)
    root, task = _scenes(recipe, folder, progress), model.spec.task
    train_set, val_set = (open_split(task, recipe.data, root, split) for split in ("train", "val"))
    train(model, train_set, val_set, folder / run, recipe.train, resume=True, progress=progress)
    load_weights(model, folder / run / "best.safetensors")


def _go_on_with(recipe: TrainingRecipe, model: Any, folder: Path, run: str, progress: Progress, real: Path) -> None:
    """Trains a model on a mixture of the scenes, which it knows, and real images; without scenes, on these alone."""
    mixture = list(recipe.real)
    if recipe.scenes:
        root = _scenes(recipe, folder, progress).resolve()
        mixture.insert(0, Ingredient(recipe.data, str(root), weight=recipe.weight))
    train_set, val_sets = open_mixture(model.spec.task, mixture, real, augment=True)
    train(model, train_set, val_sets, folder / run, recipe.mixed or recipe.train, resume=True, progress=progress)
    load_weights(model, folder / run / "best.safetensors")


def _tested(
    recipe: TrainingRecipe, model: Any, folder: Path, progress: Progress, real: Path | None = None
) -> dict[str, Any]:
    """The metrics of a model in PyTorch on the test split of a recipe's scenes; without scenes, of its real images."""
    task = model.spec.task
    if recipe.scenes or real is None:
        test = open_split(task, recipe.data, _scenes(recipe, folder, progress), "test")
    else:
        (only,) = recipe.real
        test = open_split(task, only.data, real / only.root, only.test)
    progress(0, len(test), "evaluating on the test split")
    predict, options = training_of(task).torch_predictor(model), EvalOptions(progress=progress)
    return dict(evaluation_of(task).evaluate(predict, test, options).to_dict())


def _scenes(recipe: TrainingRecipe, folder: Path, progress: Progress) -> Path:
    root = folder / "-".join(["scenes", *(str(value) for value in recipe.scenes.values())])
    if not root.exists():
        progress(0, recipe.scenes["scenes"], "drawing scenes")
        write(root, **recipe.scenes, progress=progress)
    return root


def _start_from(model: torch.nn.Module, name: str) -> None:
    """Copies every weight of a shipped model that has the same name and shape here."""
    own, other = model.state_dict(), load(name).state_dict()
    model.load_state_dict({key: other[key] if _same(key, own, other) else value for key, value in own.items()})


def _same(key: str, own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return key in other and own[key].shape == other[key].shape
