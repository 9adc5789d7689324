"""The arguments that several commands take, with one help text each."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle: a folder or a packed .rsvl file.")]
Model = Annotated[
    str,
    typer.Option("--model", "-m", help="Name of a model (rsvl models lists them), or my.module:build for your own."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help="Checkpoint of the whole model (safetensors or weights-only), or 'random'. "
        "Default: the weights that ship with the model.",
    ),
]
EncoderWeights = Annotated[
    list[Path] | None,
    typer.Option(
        "--encoder-weights",
        help="Published checkpoint for the encoders: a CLIP (OpenAI's, open_clip's, Hugging Face's), or a Swin and a "
        "BERT (give the option twice).",
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        "--tokenizer",
        help="For a model with a BERT: its folder, tokenizer.json or vocab.txt. Default: what came with the weights.",
    ),
]
Data = Annotated[
    str,
    typer.Option("--data", "-d", help="Data set: rrsis-d (also rsvl synth's), dior-rsvg, rsvqa-lr … (docs/data.md)."),
]
Root = Annotated[Path, typer.Option("--root", help="Folder that holds the data set's files as published.")]


class Sensor(str, Enum):
    """What took the images."""

    OPTICAL = "optical"
    SAR = "sar"


EvaluatedSplit = Annotated[str, typer.Option("--split", help="Split to evaluate.")]
ImageLimit = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many images. Default: all.")]
OneSensor = Annotated[
    Sensor | None,
    typer.Option("--sensor", help="Only what this sensor shows: its images, or its half of each pair."),
]
Record = Annotated[
    Path | None,
    typer.Option("--record", help="Keep every answer and score in this .json file, as a baseline for rsvl gate."),
]
Provider = Annotated[
    str | None,
    typer.Option(
        "--provider",
        help="engines, openvino, openvino-bf16, or an ONNX Runtime provider (cpu, cuda, tensorrt …). Default: engines, "
        "or the first provider that is here.",
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads. Default: the physical cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on stdout.")]
