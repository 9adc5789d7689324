"""`make train-tiny`: the shipped weights anew from their recipes (`rsvl.train.shipped`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.checkpoints import load
from rsvl.cli.console import Report, progress
from rsvl.runtime.errors import RsvlError
from rsvl.tasks import evaluation_of
from rsvl.train.shipped import Recipe, ablate, recipe, recipes, retrain


class _Steps:
    """Shows a training's steps on a command's progress bar; epochs are in the run's history."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """See `rsvl.train.loop.Progress`."""
        self._report(step, steps, f"epoch {epoch + 1}", f"loss {loss:.4f}")

    def epoch(self, row: dict[str, Any]) -> None:
        """See `rsvl.train.loop.Progress`."""


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[MODEL]...", help="Default: all that ship.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for scenes, runs and results.")] = Path("runs"),
    ablations: Annotated[bool, typer.Option("--ablations", help="Train a model's ablations in its place.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="Fewer epochs than the recipe has.")] = None,
) -> None:
    """Train shipped models anew from their recipes; hours for each on a CPU."""
    try:
        for name in names or recipes():
            found = recipe(name)
            if epochs is not None:
                found = replace(found, train=replace(found.train, epochs=epochs))
            (_ablate if ablations else _retrain)(name, found, output)
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


def _retrain(name: str, found: Recipe, output: Path) -> None:
    with progress(name) as report:
        figures = retrain(name, found, output, report, _Steps(report))
    best = _best(name)
    typer.echo(f"{name}: {best} {figures[best]:.4f} on the test split, {output / name}.safetensors")


def _ablate(name: str, found: Recipe, output: Path) -> None:
    with progress(name) as report:
        each = ablate(name, found, output, report, _Steps(report))
    best = _best(name)
    for ablation, figures in each.items():
        typer.echo(f"{name}, {ablation}: {best} {figures[best]:.4f} on the test split")


def _best(name: str) -> str:
    """The key of the figure that tells a model's quality."""
    return str(evaluation_of(load(name, "random").spec.task).BEST)


if __name__ == "__main__":
    typer.run(main)
