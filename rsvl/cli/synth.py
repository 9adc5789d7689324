"""`rsvl synth`: a labelled synthetic dataset."""

from __future__ import annotations

from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_json, print_line, progress


class Task(str, Enum):
    """Tasks that there are synthetic labels for."""

    REFERRING_SEGMENTATION = "referring-segmentation"
    GROUNDING = "grounding"
    VQA = "vqa"
    CLASSIFICATION = "classification"
    CAPTIONS = "captions"


class Sensor(str, Enum):
    """What takes the images."""

    OPTICAL = "optical"
    SAR = "sar"
    BOTH = "both"


class Look(str, Enum):
    """How optical images look."""

    DRAWN = "drawn"
    PHOTO = "photo"


def synth(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to create; must be empty or absent.")],
    scenes: Annotated[
        int, typer.Option("--scenes", "-n", metavar="N", min=1, help="Number of scenes, all splits together.")
    ],
    task: Annotated[Task, typer.Option("--task", help="What the labels are for.")] = Task.REFERRING_SEGMENTATION,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Random seed: the same one gives the same files.")
    ] = 0,
    size: Annotated[
        int, typer.Option("--size", metavar="PX", min=64, max=2048, help="Side of the images in pixels.")
    ] = 256,
    sensor: Annotated[
        Sensor | None, typer.Option("--sensor", help="What takes the images. Default: optical, and both for vqa.")
    ] = None,
    look: Annotated[
        Look, typer.Option("--look", help="Optical images as drawn, or with a photograph's tones, haze and detail.")
    ] = Look.DRAWN,
    val: Annotated[
        float, typer.Option("--val", metavar="N", min=0, help="Validation scenes: a share below 1, or a number.")
    ] = 0.1,
    test: Annotated[
        float, typer.Option("--test", metavar="N", min=0, help="Test scenes: a share below 1, or a number.")
    ] = 0.1,
    workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="Processes.")] = 1,
    json: options.Json = False,
) -> None:
    """Make a labelled synthetic dataset in a public dataset's layout.

    Read it with --root DIR and --data rrsis-d, optsar-rsvg for grounding, osvqa for vqa, scenes for
    classification, rsicd for captions.
    """
    from rsvl.data.synth import write

    with progress("drawing scenes") as report:
        chosen = None if sensor is None else sensor.value
        written = write(
            out, scenes, seed, size, val, test, workers, report, task=task.value, sensor=chosen, look=look.value
        )
    if json:
        print_json({"task": task.value, "seed": seed, **asdict(written), "root": str(written.root)})
        return
    splits = ", ".join(f"{count} {split}" for split, count in written.scenes.items())
    print_line(f"{out}: {splits} scenes with {written.objects} objects, {sum(written.labels.values())} {written.unit}")
