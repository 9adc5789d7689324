"""`rsvl train`: trains a model on a dataset."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from rsvl.cli import completion, options
from rsvl.cli.console import print_json, print_line, print_note, progress
from rsvl.cli.outputs import check_can_be_folder
from rsvl.train.config import TrainConfig

_DEFAULT = TrainConfig()


class Precision(str, Enum):
    """Mixed precisions."""

    NO = "no"
    BF16 = "bf16"
    FP16 = "fp16"


class Optimizer(str, Enum):
    """Optimizers."""

    ADAMW = "adamw"
    MUON = "muon"
    SGD = "sgd"


class Schedule(str, Enum):
    """How the learning rate goes."""

    COSINE = "cosine"
    ONE_CYCLE = "one-cycle"


_PRECISION = Precision(_DEFAULT.precision)
_OPTIMIZER = Optimizer(_DEFAULT.optimizer)
_SCHEDULE = Schedule(_DEFAULT.schedule)


def train(
    model: options.Model,
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "-d",
            metavar="DATASET",
            help="Dataset: rrsis-d (also for rsvl synth), coco, rsvqa-lr … (docs/data.md); or a .json file that lists "
            "several to mix (docs/training.md), whose folders are under --root.",
            autocompletion=completion.datasets,
        ),
    ],
    root: options.Root,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="DIR", help="The run's folder: best.safetensors, last.pt, history.json."
        ),
    ],
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", min=1, help="Passes over the training images.")
    ] = _DEFAULT.epochs,
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="N", min=1, help="Images per step and device.")
    ] = _DEFAULT.batch,
    sentences: Annotated[
        int, typer.Option("--sentences", metavar="N", min=1, help="Sentences per image and step.")
    ] = _DEFAULT.sentences,
    lr: Annotated[
        float, typer.Option("--lr", metavar="RATE", min=0, help="Peak learning rate of everything but the encoders.")
    ] = _DEFAULT.lr,
    encoder_rate: Annotated[
        float,
        typer.Option(
            "--encoder-rate",
            metavar="RATIO",
            min=0,
            help="Learning rate of the encoders relative to --lr: 0.1 for pretrained ones, 1 from scratch.",
        ),
    ] = _DEFAULT.encoder_rate,
    optimizer: Annotated[
        Optimizer,
        typer.Option(
            "--optimizer",
            help="AdamW; Muon for the matrices of linear layers and AdamW for the rest; SGD with Nesterov's momentum.",
        ),
    ] = _OPTIMIZER,
    weight_decay: Annotated[
        float, typer.Option("--weight-decay", metavar="RATE", min=0, help="Weight decay, weight matrices only.")
    ] = _DEFAULT.weight_decay,
    warmup: Annotated[
        int, typer.Option("--warmup", metavar="N", min=0, help="Steps in which the learning rate rises.")
    ] = _DEFAULT.warmup,
    schedule: Annotated[
        Schedule,
        typer.Option("--schedule", help="Linear warm-up and a cosine to zero, or one cycle of two half cosines."),
    ] = _SCHEDULE,
    clip: Annotated[
        float, typer.Option("--clip", metavar="NORM", min=0, help="Maximum norm of the gradient; 0 for no limit.")
    ] = _DEFAULT.clip,
    precision: Annotated[Precision, typer.Option("--precision", help="Mixed precision.")] = _PRECISION,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=0, help="Processes that load data.")
    ] = _DEFAULT.workers,
    epoch_images: Annotated[
        int | None,
        typer.Option(
            "--epoch-images",
            metavar="N",
            min=1,
            help="Training images per epoch, drawn anew for each. Default: all.",
        ),
    ] = _DEFAULT.epoch_images,
    val_limit: Annotated[
        int | None,
        typer.Option("--val-limit", metavar="N", min=1, help="Validate on at most N images. Default: all."),
    ] = _DEFAULT.val_limit,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, help="Random seed of weights, sampling order and sentence choice."),
    ] = _DEFAULT.seed,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the last completed epoch in the folder.")
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="FILE", help="Checkpoint to start from, or 'random' (the default)."),
    ] = None,
    encoder_weights: options.EncoderWeights = None,
    tokenizer: options.Tokenizer = None,
    ema: options.Ema = False,
    augment: Annotated[
        bool,
        typer.Option(
            "--augment",
            help="Vary the images: light; where the dataset makes its sentences (coco), also parts, turns, resolution; "
            "of scene classes also symmetries and shifts.",
        ),
    ] = False,
    opposites: Annotated[
        bool,
        typer.Option(
            "--opposites",
            help="Add sentences with one word replaced by its opposite ('left' by 'right'), which name nothing: half "
            "as many as an image has.",
        ),
    ] = False,
    train_split: Annotated[str, typer.Option("--train-split", metavar="SPLIT", help="Split to train on.")] = "train",
    val_split: Annotated[
        str, typer.Option("--val-split", metavar="SPLIT", help="Split that chooses the best epoch.")
    ] = "val",
    json: options.Json = False,
) -> None:
    """Train a model; resumes, in mixed precision, on several GPUs.

    Several GPUs: accelerate launch "$(which rsvl)" train …
    """
    import torch

    from rsvl.checkpoints import load
    from rsvl.data import ReferringDataset
    from rsvl.tasks import evaluation_of
    from rsvl.tasks.mixing import Ingredient, open_mixture, read_mixture
    from rsvl.train.loop import train as run

    check_can_be_folder(output, "-o")
    if weights is None and not encoder_weights:
        warnings.warn("no --weights and no --encoder-weights: training starts from random weights", stacklevel=1)
    torch.manual_seed(seed)  # before weights are drawn
    network = load(model, weights or "random", encoder_weights, tokenizer, ema)
    task = network.spec.task
    listed = read_mixture(Path(data)) if data.endswith(".json") else [Ingredient(data, ".", train_split, val_split)]
    train_set, val_sets = open_mixture(task, listed, root, augment, opposites)
    config = TrainConfig(
        epochs=epochs,
        batch=batch_size,
        sentences=sentences,
        lr=lr,
        encoder_rate=encoder_rate,
        optimizer=optimizer.value,
        weight_decay=weight_decay,
        warmup=warmup,
        schedule=schedule.value,
        clip=clip,
        augment=augment and not isinstance(train_set, ReferringDataset),
        precision=precision.value,
        workers=workers,
        epoch_images=epoch_images,
        val_limit=val_limit,
        seed=seed,
    )
    evaluation = evaluation_of(task)
    validated = " + ".join(str(len(each)) for each in val_sets)
    print_note(f"{model} on {len(train_set)} images of {data}, the best epoch chosen on {validated}")
    with progress("training") as report:
        table = None if json else EpochTable(evaluation.headline, evaluation.PRIMARY_METRIC)
        state = run(network, train_set, val_sets, output, config, resume, report, table)
    best = max(state.history, key=lambda row: row[evaluation.PRIMARY_METRIC] or 0, default=None)
    if json:
        print_json({"model": model, "output": str(output), "config": asdict(config), "best": best})
    elif best:
        score = _cell(best[evaluation.PRIMARY_METRIC])
        print_line(
            f"best: {evaluation.PRIMARY_METRIC} {score} after epoch {best['epoch']}, {output / 'best.safetensors'}"
        )


class EpochTable:
    """A table that grows by one row per epoch: the task's own headline metrics, or of several sets the primary one."""

    def __init__(self, headline: Callable[[dict[str, Any]], dict[str, Any]], primary: str = "") -> None:
        self._headline, self._primary, self._headed = headline, primary, False

    def __call__(self, row: dict[str, Any]) -> None:
        """See `rsvl.train.loop.OnEpoch`."""
        values = {"epoch": row["epoch"], "loss": row["loss"], **self._scores(row), "seconds": row["seconds"]}
        widths = [max(9, len(column) + 2) for column in values]
        if not self._headed:
            self._headed = True
            print("".join(f"{column:>{width}}" for column, width in zip(values, widths, strict=True)), flush=True)
        cells = zip(map(_cell, values.values()), widths, strict=True)
        print("".join(f"{cell:>{width}}" for cell, width in cells), flush=True)

    def _scores(self, row: dict[str, Any]) -> dict[str, Any]:
        if "sets" not in row:
            return self._headline(row)
        each = {name: report[self._primary] for name, report in row["sets"].items()}
        return {self._primary: row[self._primary], **each}


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{value:.4f}" if value < 10 else f"{value:.1f}"
