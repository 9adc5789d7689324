"""`make train-tiny`: the shipped weights anew from their recipes (`rsvl.train.shipped`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.checkpoints import load
from rsvl.cli.console import Report, progress
from rsvl.runtime.errors import RsvlError
from rsvl.tasks import evaluation_of
from rsvl.train.shipped import recipe, recipes, retrain


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
) -> None:
    """Train shipped models anew from their recipes; hours for each on a CPU."""
    try:
        for name in names or recipes():
            with progress(name) as report:
                found = retrain(name, recipe(name), output, report, _Steps(report))
            best = evaluation_of(load(name, "random").spec.task).BEST
            typer.echo(f"{name}: {best} {found[best]:.4f} on the test split, {output / name}.safetensors")
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
