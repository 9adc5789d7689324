"""`rsvl eval`: the papers' metrics on a data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_table, progress
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from rsvl.evaluate import Predict
    from rsvl.metrics import GroupMetrics, MetricsReport


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
    weights: options.Weights = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Measure mIoU, oIoU and Pr@X on a data set, by size and class."""
    from rsvl.data import open_dataset
    from rsvl.evaluate import evaluate

    dataset = open_dataset(data, root, split)
    with progress(f"loading {target}") as report:
        predict, runs_on = _predictor(target, weights, provider, threads)
        report(0, len(dataset), f"evaluating {target} on {runs_on}")
        found = evaluate(predict, dataset, limit, shuffle_sentences, seed, report)
    if json:
        about = {"target": target, "runs_on": runs_on, "data": data, "split": split, "shuffled": shuffle_sentences}
        print_json({**about, **found.to_dict()})
    else:
        _print(found, f"{target} on {runs_on}, {data} {split}{', sentences shuffled' if shuffle_sentences else ''}")


def _predictor(target: str, weights: str | None, provider: str | None, threads: int | None) -> tuple[Predict, str]:
    """What answers, and what it runs on. A name without path or suffix that is no file is a model's."""
    path = Path(target)
    if path.exists() or os.sep in target or path.suffix:
        if weights is not None:
            raise UsageError("--weights goes with a model's name: a bundle has its own weights")
        from rsvl.evaluate import segmenter_predictor
        from rsvl.runtime import load as load_bundle

        segmenter = load_bundle(path, provider, threads)
        return segmenter_predictor(segmenter), segmenter.provider
    if provider is not None:
        raise UsageError("--provider goes with a bundle: a model's name is run in PyTorch")
    return _pytorch(target, weights, threads)


def _pytorch(name: str, weights: str | None, threads: int | None) -> tuple[Predict, str]:
    import torch

    from rsvl.checkpoints import load
    from rsvl.train.predictor import torch_predictor

    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch_predictor(load(name, weights).to(device)), f"PyTorch {device}"


def _print(found: MetricsReport, title: str) -> None:
    thresholds = [f"Pr@{t}" for t in found.overall.precision]
    rows = [_row("all", found.overall)]
    rows += [_row(f"area: {name}", group) for name, group in found.by_area.items()]
    rows += [_row(f"coverage: {name}", group) for name, group in found.by_coverage.items()]
    rows += [_row(name, group) for name, group in found.by_category.items()]
    print_table(["sentences", "number", "mIoU", "oIoU", *thresholds], rows, title)
    if found.no_target_count:
        typer.echo(f"{found.no_target_count} sentences name nothing: N-acc {found.n_acc:.4f}, T-acc {found.t_acc:.4f}")
    if found.skipped_images:
        typer.echo(f"{found.skipped_images} images were skipped: too few objects to exchange sentences")


def _row(name: str, group: GroupMetrics) -> list[str]:
    values = [group.miou, group.oiou, *group.precision.values()]
    return [name, str(group.count), *("–" if value != value else f"{value:.4f}" for value in values)]
