"""What each task's `evaluation.py` and `training.py` have. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn

    from rsvl.tasks.batch import TrainingSet

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all images, after each image."""


class Report(Protocol):
    """What an evaluation found."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""


class Evaluation(Protocol):
    """A task's `evaluation.py`.

    Attributes:
        DATA: the kinds of data set that it takes.
        BEST: the entry of the report's `to_dict()` that chooses the best epoch; larger is better.
    """

    DATA: tuple[type, ...]
    BEST: str

    def runner_predictor(self, runner: Any) -> Any:
        """Wraps a loaded bundle (`rsvl.runtime.load`) as the `predict` that `evaluate` asks."""

    def evaluate(
        self,
        predict: Any,
        dataset: Any,
        limit: int | None = None,
        shuffle_sentences: bool = False,
        seed: int = 0,
        progress: Progress | None = None,
        sensor: str | None = None,
    ) -> Any:
        """Asks a model all that is known of the first `limit` images, and compares.

        Args:
            predict: the model, from `runner_predictor` or `Training.torch_predictor`.
            dataset: one of `DATA`.
            limit: only the first so many images; None for all.
            shuffle_sentences: ask what does not belong to the answer that is compared: shows whether the model listens.
            seed: of the exchange.
            progress: called after each image.
            sensor: only what this sensor shows: its images, or its picture of each pair.

        Returns:
            A `Report`.

        Raises:
            DatasetError: a file is damaged, or its size is not the annotated one.
            UsageError: the data set knows nothing that could be exchanged.
        """

    def groups(self, report: Any) -> dict[str, dict[str, Any]]:
        """Metrics under the papers' names for all samples and for each group of them, for people to read."""

    def remarks(self, report: Any) -> Sequence[str]:
        """What else people should know, a line each."""

    def headline(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        """The few figures of a report's `to_dict()` that are shown after each epoch."""


class Training(Protocol):
    """A task's `training.py`."""

    def training_set(self, model: Any, dataset: Any, sentences: int, seed: int) -> TrainingSet:
        """A data set as batches of one image each, `sentences` drawn of it anew in every epoch.

        What the data set alone knows (an answer vocabulary) is given to the model here.
        """

    def torch_predictor(self, model: nn.Module) -> Any:
        """Wraps a PyTorch model as the `predict` that `Evaluation.evaluate` asks; puts it into evaluation mode."""
