"""What the graphs of a bundle are given when it is asked about calibration images, kept on disk.

The bundle is asked by its task's own evaluation, so images and sentences pass through the bundle's own preprocessing,
and every graph is given the real features that the graphs before it make.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.export.quantization.progress import Report
from rsvl.export.quantization.settings import Images
from rsvl.runtime.backends.session import to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.loading import load
from rsvl.tasks import evaluation_of


class Feeds:
    """Inputs of each graph, a file a run, in a folder.

    Attributes:
        images: how many images they come from.
    """

    def __init__(self, folder: Path, images: int) -> None:
        self._folder, self.images = folder, images

    def keep(self, graph: str, inputs: Mapping[str, Any]) -> None:
        """Keeps one run's inputs by name."""
        number = len(list(self._folder.glob(f"{graph}-*.npz")))
        np.savez(
            self._folder / f"{graph}-{number:05}.npz",
            allow_pickle=False,
            **{name: to_numpy(tensor) for name, tensor in inputs.items()},
        )

    def of(self, graph: str) -> Iterator[dict[str, np.ndarray]]:
        """A graph's inputs by name, run by run."""
        for path in sorted(self._folder.glob(f"{graph}-*.npz")):
            with np.load(path, allow_pickle=False) as arrays:
                yield dict(arrays)


def collect(bundle: Bundle, images: Images, folder: Path, report: Report) -> Feeds:
    """Asks a float32 bundle about images and keeps what its graphs are given, one run of each graph an image.

    Args:
        bundle: in float32. It is loaded anew: a runner does not encode again the sentences that it knows.
        images: what it is asked about.
        folder: an empty one.
        report: told how far it is.

    Raises:
        DatasetError: there are no images, or nothing is asked about them.
        UsageError: a data set of another task, or of a sensor that the model does not know.
    """
    runner = load(bundle, provider="cpu")
    evaluation = evaluation_of(runner.spec.task)
    dataset = images.open(runner.spec.task)
    feeds, seen = Feeds(folder, min(len(dataset), images.count)), set[str]()

    def watch(graph: str, inputs: Mapping[str, Any]) -> None:
        if graph not in seen:
            seen.add(graph)
            feeds.keep(graph, inputs)

    def next_image(done: int, total: int) -> None:
        seen.clear()
        report(done, total, "calibrating: asking about images")

    runner.set_input_hook(watch)
    evaluation.evaluate(evaluation.runner_predictor(runner), dataset, images.count, progress=next_image)
    for graph in runner.spec.graphs:
        if next(feeds.of(graph.name), None) is None:
            raise DatasetError(
                f"{images.data} {images.split} gave the graph {graph.name} nothing to calibrate with: it has no images "
                "or nothing that is asked about them, take another --calibration or split"
            )
    return feeds
