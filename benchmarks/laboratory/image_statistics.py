"""What the images of a dataset are like: to compare synthetic scenes with real ones.

    python -m rsvl.benchmarks.laboratory.image_statistics --data rrsis-d --root scenes --split train

prints one JSON object: means over up to 100 images, drawn by seed 0. All but blocks are measured at 256 pixels along
the longer side, as a small model sees the image.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.records import Box, ImageRecord
from rsvl.runtime.errors import RsvlError
from rsvl.runtime.images.reading import read_image

SIDE = 256
#: Levels of brightness below which a pixel counts as dark: shadows, mostly.
DARK = 45
_PATCH, _BLOCK = 15, 8


def statistics(image: np.ndarray) -> dict[str, float]:
    """Of one image, uint8 [H, W, 3].

    Returns:
        ``brightness`` and ``contrast``: mean and standard deviation of the brightness, levels of 255;
        ``saturation``: mean of HSV's, 0…1; ``dark``: share of pixels darker than `DARK`; ``detail``: standard
        deviation of what a Gaussian blur of 1 pixel removes, levels; ``haze``: mean of the dark channel (the darkest
        colour within 15 pixels, He et al. 2009), levels: haze lifts it; ``blocks``: how much larger steps of brightness
        are at multiples of 8 pixels of the file than elsewhere, 1 without JPEG's traces.
    """
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float64)
    darkest = cv2.erode(small.min(axis=2), np.ones((_PATCH, _PATCH), np.uint8))
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "saturation": float(cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1].mean() / 255),
        "dark": float((grey < DARK).mean()),
        "detail": float((grey - cv2.GaussianBlur(grey, (0, 0), 1.0)).std()),
        "haze": float(darkest.mean()),
        "blocks": _blocks(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float64)),
    }


def _blocks(grey: np.ndarray) -> float:
    """Mean step across the borders of JPEG's blocks over the mean step elsewhere, in both directions."""
    at, elsewhere = [], []
    for steps in (np.abs(np.diff(grey, axis=1)), np.abs(np.diff(grey, axis=0)).T):
        border = np.arange(1, steps.shape[1] + 1) % _BLOCK == 0
        at.append(steps[:, border].ravel())
        elsewhere.append(steps[:, ~border].ravel())
    usual = np.concatenate(elsewhere).mean() if len(elsewhere) else 0.0
    return float(np.concatenate(at).mean() / usual) if usual else 1.0


def object_sizes(record: ImageRecord) -> list[float]:
    """Sides of squares as large as the boxes of an image's objects, pixels at `SIDE` along the longer side."""
    boxes: set[Box] = set()
    for referring in record.referrings:
        boxes |= set(referring.boxes or ((referring.bbox,) if referring.bbox else ()))
    scale = SIDE / max(record.width, record.height)
    return [float(np.sqrt(width * height)) * scale for _, _, width, height in boxes]


def of_dataset(dataset: ReferringDataset, limit: int = 100, seed: int = 0) -> dict[str, object]:
    """Means of `statistics` over images drawn by a seed; objects per image, and percentiles of their sizes."""
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:limit]
    rows, counts, sizes = [], [], []
    for index in chosen:
        record = dataset[int(index)]
        rows.append(statistics(read_image(record.path)))
        found = object_sizes(record)
        counts.append(len(found))
        sizes += found
    means = {name: round(float(np.mean([row[name] for row in rows])), 3) for name in rows[0]}
    middle = [round(float(value), 1) for value in np.percentile(sizes, [10, 50, 90])] if sizes else []
    return {"images": len(rows), **means, "objects": round(float(np.mean(counts)), 1), "sizes": middle}


def main(
    data: Annotated[str, typer.Option("--data")],
    root: Annotated[Path, typer.Option("--root")],
    split: Annotated[str, typer.Option("--split")] = "train",
    limit: Annotated[int, typer.Option("--limit", min=1)] = 100,
) -> None:
    """Measure and print one JSON object."""
    try:
        dataset = open_dataset(data, root, split)
        if not isinstance(dataset, ReferringDataset):
            typer.echo(f"{data} has no objects: name a dataset of expressions", err=True)
            raise typer.Exit(2)
        typer.echo(json.dumps(of_dataset(dataset, limit)))
    except RsvlError as error:
        typer.echo(error, err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    typer.run(main)
