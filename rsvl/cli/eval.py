"""`rsvl eval`: the papers' metrics on a dataset."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import options
from rsvl.cli.console import print_error, print_json, print_line, print_table, progress
from rsvl.cli.error_messages import explain
from rsvl.cli.outputs import check_folders
from rsvl.runtime.errors import DatasetError, IncompleteError, InputError, UsageError

if TYPE_CHECKING:
    from rsvl.gate import Conditions
    from rsvl.runtime.manifest import ModelSpec
    from rsvl.tasks.contract import SampleRecord


def eval_(
    target: Annotated[
        str, typer.Argument(metavar="BUNDLE|MODEL", help="A bundle, or a model's name to run it in PyTorch.")
    ],
    data: options.Data,
    root: options.Root,
    split: options.EvaluatedSplit = "test",
    limit: options.Limit = None,
    shuffle_sentences: Annotated[
        bool,
        typer.Option(
            "--shuffle-sentences",
            help="Give each object another one's sentences: shows whether the model attends to them.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed for --shuffle-sentences.")] = 0,
    sensor: options.OneSensor = None,
    record: options.Record = None,
    weights: options.Weights = None,
    encoder_weights: options.EncoderWeights = None,
    tokenizer: options.Tokenizer = None,
    ema: options.Ema = False,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json: options.Json = False,
) -> None:
    """Measure a model on a dataset by its task's metrics, overall and by groups.

    An image that cannot be used is reported and left out; the exit code is then 1.
    """
    from rsvl.tasks import EvalOptions, evaluation_of, open_split

    if record is not None and shuffle_sentences:
        raise UsageError("--record keeps a baseline: leave --shuffle-sentences out")
    check_folders(record)
    checkpoint = {"weights": weights, "encoder_weights": encoder_weights, "tokenizer": tokenizer, "ema": ema}
    samples: list[SampleRecord] = []
    failures = _Failures()
    with progress(f"loading {target}") as report:
        model = _load(target, checkpoint, provider, threads)
        evaluation, dataset = evaluation_of(model.spec.task), open_split(model.spec.task, data, root, split)
        report(0, len(dataset), f"evaluating {target} on {model.runs_on}")
        only = sensor.value if sensor else None
        on_sample = None if record is None else samples.append
        settings = EvalOptions(limit, shuffle_sentences, seed, only, report, on_sample, failures)
        found = evaluation.evaluate(model.predict, dataset, settings)
    if len(failures.found) == settings.count(dataset):
        raise DatasetError(f"none of the {len(failures.found)} images can be used: the reasons are above")
    if record is not None and not failures.found:
        from rsvl.gate import Conditions

        conditions = Conditions(model.spec.name, model.spec.task, data, split, limit, only)
        _write_record(record, target, model, conditions, evaluation.PRIMARY_METRIC, samples)
    if json:
        about: dict[str, Any] = {"target": target, "runs_on": model.runs_on, "data": data, "split": split}
        about |= {"shuffled": shuffle_sentences, **({"sensor": only} if only else {}), "failed": failures.found}
        print_json({**about, **found.to_dict()})
    else:
        title = f"{target} on {model.runs_on}, {data} {split}{', sentences shuffled' if shuffle_sentences else ''}"
        _print(evaluation.groups(found), title)
        for line in evaluation.remarks(found):
            print_line(line)
    failures.check(record)


class _Failures:
    """The images that could not be evaluated; each is told as it is met."""

    def __init__(self) -> None:
        self.found: list[dict[str, str]] = []

    def __call__(self, image: str, error: InputError) -> None:
        line = explain(error).line
        self.found.append({"image": image, "error": line})
        print_error(line if image in line else f"{image}: {line}")

    def check(self, record: Path | None) -> None:
        """Ends the command where there were any.

        Raises:
            IncompleteError: there were; what they would have distorted is not written.
        """
        if self.found:
            unwritten = f", {record} is not written" if record is not None else ""
            raise IncompleteError(f"{len(self.found)} images could not be evaluated and are left out{unwritten}")


@dataclass(frozen=True)
class _Loaded:
    """A bundle or a PyTorch model that is ready to answer; a bundle has a precision and a size in bytes."""

    spec: ModelSpec
    predict: Any
    runs_on: str
    precision: str = ""
    size: int | None = None


def _load(target: str, checkpoint: dict[str, Any], provider: str | None, threads: int | None) -> _Loaded:
    """Loads what is evaluated. A name without path or suffix that is no file is a model's.

    `package.module:build` is a model's too. What `rsvl.checkpoints.load` takes besides the name is in `checkpoint`.
    """
    path = Path(target)
    if path.exists() or (":" not in target and (os.sep in target or path.suffix)):
        if given := [f"--{name.replace('_', '-')}" for name, value in checkpoint.items() if value]:
            raise UsageError(f"{' and '.join(given)}: only with a model's name, a bundle has its own weights")
        from rsvl.runtime import load as load_bundle
        from rsvl.runtime.bundle import Bundle
        from rsvl.tasks import evaluation_of

        bundle = Bundle(path)
        runner = load_bundle(bundle, provider, threads)
        predict = evaluation_of(runner.spec.task).runner_predictor(runner)
        return _Loaded(runner.spec, predict, runner.provider, runner.manifest.precision, bundle.size)
    if provider is not None:
        raise UsageError("--provider goes with a bundle: a model's name is run in PyTorch")
    return _pytorch(target, checkpoint, threads)


def _pytorch(name: str, checkpoint: dict[str, Any], threads: int | None) -> _Loaded:
    import torch

    from rsvl.checkpoints import load
    from rsvl.tasks import training_of

    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = load(name, **checkpoint).to(device)
    return _Loaded(model.spec, training_of(model.spec.task).torch_predictor(model), f"PyTorch {device}")


def _write_record(
    path: Path, target: str, model: _Loaded, conditions: Conditions, figure: str, samples: list[SampleRecord]
) -> None:
    from rsvl.gate import Measurement, write_record

    found = Measurement(target, model.precision, model.runs_on, model.size, conditions, figure, tuple(samples))
    write_record(found, path)


def _print(groups: dict[str, dict[str, Any]], title: str) -> None:
    columns = list(next(iter(groups.values())))
    rows = [[name, *(_cell(group.get(column)) for column in columns)] for name, group in groups.items()]
    print_table(["samples", *columns], rows, title)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
