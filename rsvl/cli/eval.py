"""`rsvl eval`: the papers' metrics on a data set."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_table, progress
from rsvl.runtime.errors import UsageError


class Sensor(StrEnum):
    """What took the images."""

    OPTICAL = "optical"
    SAR = "sar"


def eval_(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE|MODEL", help="A bundle, or a model's name to run it in PyTorch.")
    ],
    data: options.Data,
    root: options.Root,
    split: Annotated[str, typer.Option(help="Split to evaluate.")] = "test",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images. Default: all.")] = None,
    shuffle_sentences: Annotated[
        bool,
        typer.Option("--shuffle-sentences", help="Give each object another one's sentences: shows whether it listens."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffling.")] = 0,
    sensor: Annotated[
        Sensor | None, typer.Option(help="Only what this sensor shows: its images, or its half of each pair.")
    ] = None,
    weights: options.Weights = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Measure a model on a data set by the papers' metrics of its task, over all and by groups."""
    from rsvl.tasks import evaluation_of, open_split

    with progress(f"loading {target}") as report:
        task, predict, runs_on = _predictor(target, weights, provider, threads)
        evaluation, dataset = evaluation_of(task), open_split(task, data, root, split)
        report(0, len(dataset), f"evaluating {target} on {runs_on}")
        only = sensor.value if sensor else None
        found = evaluation.evaluate(predict, dataset, limit, shuffle_sentences, seed, report, only)
    if json:
        about = {"target": target, "runs_on": runs_on, "data": data, "split": split, "shuffled": shuffle_sentences}
        about |= {"sensor": only} if only else {}
        print_json({**about, **found.to_dict()})
    else:
        title = f"{target} on {runs_on}, {data} {split}{', sentences shuffled' if shuffle_sentences else ''}"
        _print(evaluation.groups(found), title)
        for line in evaluation.remarks(found):
            typer.echo(line)


def _predictor(target: str, weights: str | None, provider: str | None, threads: int | None) -> tuple[str, Any, str]:
    """The model's task, what answers, and what it runs on. A name without path or suffix that is no file is a model's.

    `package.module:build` is a model's too.
    """
    path = Path(target)
    if path.exists() or (":" not in target and (os.sep in target or path.suffix)):
        if weights is not None:
            raise UsageError("--weights goes with a model's name: a bundle has its own weights")
        from rsvl.runtime import load as load_bundle
        from rsvl.tasks import evaluation_of

        runner = load_bundle(path, provider, threads)
        task = runner.spec.task
        return task, evaluation_of(task).runner_predictor(runner), runner.provider
    if provider is not None:
        raise UsageError("--provider goes with a bundle: a model's name is run in PyTorch")
    return _pytorch(target, weights, threads)


def _pytorch(name: str, weights: str | None, threads: int | None) -> tuple[str, Any, str]:
    import torch

    from rsvl.checkpoints import load
    from rsvl.tasks import training_of

    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load(name, weights).to(device)
    return model.spec.task, training_of(model.spec.task).torch_predictor(model), f"PyTorch {device}"


def _print(groups: dict[str, dict[str, Any]], title: str) -> None:
    columns = list(next(iter(groups.values())))
    rows = [[name, *(_cell(group.get(column)) for column in columns)] for name, group in groups.items()]
    print_table(["samples", *columns], rows, title)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
