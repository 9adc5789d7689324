"""The arguments that several commands take, with one help text each."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import completion

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a packed .rsvl file.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Name of a model (rsvl models lists them), or my.module:build for your own.",
        autocompletion=completion.models,
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Checkpoint of the model (safetensors, or PyTorch's, read as data only), or 'random'. "
        "Default: the weights that ship with the model.",
    ),
]
EncoderWeights = Annotated[
    list[Path] | None,
    typer.Option(
        "--encoder-weights",
        metavar="FILE",
        help="Published checkpoint for the encoders: a CLIP (OpenAI, open_clip or Hugging Face), or a Swin and a BERT "
        "(give the option twice). With --weights: for an encoder that the model's own checkpoint lacks.",
    ),
]
Ema = Annotated[
    bool, typer.Option("--ema", help="Take the moving average of the weights that --weights has beside them.")
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer",
        metavar="FILE",
        help="For a model with a BERT: its folder, tokenizer.json or vocab.txt. Default: the weights', or BERT's.",
    ),
]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        "-d",
        metavar="DATASET",
        help="Dataset: rrsis-d (also for rsvl synth), dior-rsvg, rsvqa-lr … (docs/data.md).",
        autocompletion=completion.datasets,
    ),
]
Root = Annotated[Path, typer.Option("--root", metavar="DIR", help="Folder of the dataset's files as published.")]


class Sensor(str, Enum):
    """What took the images."""

    OPTICAL = "optical"
    SAR = "sar"


EvaluatedSplit = Annotated[str, typer.Option("--split", metavar="SPLIT", help="Split to evaluate.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most N images. Default: all.")]
OneSensor = Annotated[
    Sensor | None,
    typer.Option("--sensor", help="Only this sensor: its images, or its half of each pair. Default: both."),
]
Record = Annotated[
    Path | None,
    typer.Option(
        "--record", metavar="FILE", help="Keep every answer and score in this .json file, as a baseline for rsvl gate."
    ),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        metavar="NAME",
        help="engines, openvino, openvino-bf16, or an ONNX Runtime provider (cpu, cuda, tensorrt …). Default: what "
        "rsvl tune chose, else engines, or the first provider that is present.",
        autocompletion=completion.providers,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", min=1, help="CPU threads. Default: what rsvl tune chose, else the physical cores."
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", help="Draw a plot: a .png or .svg file. Needs the extra bench."),
]
NewBundle = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="BUNDLE", help="Folder to write. Default: MODEL-PRECISION.bundle."),
]
Pack = Annotated[bool, typer.Option("--pack", help="Also write it as one file, OUTPUT.rsvl.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
