"""`make train-tiny`: the shipped weights anew from their recipes (`rsvl.benchmarks.laboratory.shipped_weights`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rsvl.benchmarks.laboratory.shipped_weights import TrainingRecipe, ablate, recipe, recipes, retrain
from rsvl.checkpoints import load
from rsvl.cli.console import progress
from rsvl.runtime.errors import RsvlError
from rsvl.tasks import Evaluation, evaluation_of


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all that ship.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scenes, runs and results.")] = Path("runs"),
    ablations: Annotated[bool, typer.Option("--ablations", help="Train a model's ablations in its place.")] = False,
    real: Annotated[
        Path | None, typer.Option("--real", metavar="DIR", help="Folder of the real datasets that a recipe names.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer epochs than the recipe has.")] = None,
) -> None:
    """Train shipped models anew from their recipes; hours for each on a CPU."""
    try:
        for name in names or recipes():
            found = recipe(name)
            if epochs is not None:
                found = replace(found, train=replace(found.train, epochs=epochs))
            if ablations:
                _ablate(name, found, output)
            else:
                _retrain(name, found, output, real)
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


def _retrain(name: str, found: TrainingRecipe, output: Path, real: Path | None) -> None:
    evaluation = _evaluation(name)
    with progress(name) as report:
        metrics = retrain(name, found, output, report, real)
    best = metrics[evaluation.PRIMARY_METRIC]
    typer.echo(f"{name}: {evaluation.PRIMARY_METRIC} {best:.4f} on the test split, {output / name}.safetensors")


def _ablate(name: str, found: TrainingRecipe, output: Path) -> None:
    evaluation = _evaluation(name)
    with progress(name) as report:
        each = ablate(name, found, output, report)
    for ablation, metrics in each.items():
        score = metrics[evaluation.PRIMARY_METRIC]
        typer.echo(f"{name}, {ablation}: {evaluation.PRIMARY_METRIC} {score:.4f} on the test split")


def _evaluation(name: str) -> Evaluation:
    return evaluation_of(load(name, "random").spec.task)


if __name__ == "__main__":
    typer.run(main)
