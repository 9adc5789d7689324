"""Calibration data: what the graphs of a bundle are given when it is asked about calibration images, kept on disk.

The bundle is asked by its task's own evaluation, so images and sentences pass through the bundle's own preprocessing,
and every graph is given the real features that the graphs before it compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.export.quantization.settings import Images
from rsvl.runtime.backends.session import to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.loading import load
from rsvl.runtime.progress import Progress
from rsvl.tasks import EvalOptions, evaluation_of


class CalibrationData:
    """Inputs of each graph, one file per run, in a folder.

    Attributes:
        images: how many images they come from.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self._folder, self.images = folder, images

    def add(self, graph: str, inputs: Mapping[str, Any]) -> None:
        """Keeps one run's inputs by name."""
        number = len(list(self._folder.glob(f"{graph}-*.npz")))
        np.savez(
            self._folder / f"{graph}-{number:05}.npz",
            allow_pickle=False,
            **{name: to_numpy(tensor) for name, tensor in inputs.items()},
        )

    def runs(self, graph: str) -> Iterator[dict[str, np.ndarray]]:
        """A graph's inputs by name, run by run."""
        for path in sorted(self._folder.glob(f"{graph}-*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                yield dict(arrays)


def collect(bundle: Bundle, images: Images, folder: Path, progress: Progress) -> CalibrationData:
    """Asks a float32 bundle about images and keeps what its graphs are given, one run of each graph per image.

    Args:
        bundle: in float32. It is loaded afresh, since a runner does not encode sentences that it has cached.
        images: what it is asked about.
        folder: an empty one.
        progress: called after every image.

    Raises:
        DatasetError: there are no images, or nothing is asked about them.
        UsageError: a dataset of another task, or of a sensor that the model does not know.
    """
    runner = load(bundle, provider="cpu")
    evaluation = evaluation_of(runner.spec.task)
    dataset = images.open(runner.spec.task)
    data, graphs_run = CalibrationData(folder, min(len(dataset), images.count)), set[str]()

    def keep_first_run(graph: str, inputs: Mapping[str, Any]) -> None:
        if graph not in graphs_run:
            graphs_run.add(graph)
            data.add(graph, inputs)

    def next_image(done: float, total: float, stage: str = "", detail: str = "") -> None:
        graphs_run.clear()
        progress(done, total, stage, detail)

    runner.set_input_hook(keep_first_run)
    progress(0, data.images, "calibrating: asking about images")
    options = EvalOptions(images.count, progress=next_image)
    evaluation.evaluate(evaluation.runner_predictor(runner), dataset, options)
    for graph in runner.spec.graphs:
        if next(data.runs(graph.name), None) is None:
            raise DatasetError(
                f"{images.data} {images.split} gave the graph {graph.name} nothing to calibrate with: it has no images "
                "or no sentences about them, take another --calibration or split"
            )
    return data
