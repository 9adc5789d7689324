"""What each task's `evaluation.py` and `training.py` have. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rsvl.metrics.sample import Sample
from rsvl.runtime.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from rsvl.tasks.batch import TrainingSet

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all images, after each image."""


@dataclass(frozen=True)
class Seen:
    """One sample of an evaluation.

    Attributes:
        image: what it was asked about, as `image_name` says.
        asked: the sentence, the question, or what else was wanted.
        sample: how it counts.
        answer: what the model gave, as plain JSON values that are small enough to keep of every sample;
            `Evaluation.agreement` compares two of them.
    """

    image: str
    asked: str
    sample: Sample
    answer: Any


Observe = Callable[[Seen], None]
"""Called with every sample, in the same order for every model."""


def image_name(path: Path) -> str:
    """What an image is called wherever its data set lies: its file's name and folder."""
    return f"{path.parent.name}/{path.name}"


def check_seen(seen: int, count: int, sensor: str | None, name: str) -> None:
    """Checks that a sensor has shown anything of a data set called `name`, of which `count` images were gone through.

    Raises:
        UsageError: it has not.
    """
    if sensor is not None and not seen:
        raise UsageError(f"{name}: {sensor} shows none of these {count} images: raise --limit or leave --sensor out")


class Report(Protocol):
    """What an evaluation found."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""


class Evaluation(Protocol):
    """A task's `evaluation.py`.

    Attributes:
        DATA: the kinds of data set that it takes.
        NEEDS_MASKS: whether they must have masks, not boxes alone.
        BEST: the entry of the report's `to_dict()` that chooses the best epoch; larger is better.
    """

    DATA: tuple[type, ...]
    NEEDS_MASKS: bool
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
        observe: Observe | None = None,
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
            observe: called with every sample; the report's `BEST` is the mean of those in `rsvl.metrics.ALL`.

        Returns:
            A `Report`.

        Raises:
            DatasetError: a file is damaged, or its size is not the annotated one.
            UsageError: the data set knows nothing that could be exchanged.
        """

    def agreement(self, one: Any, other: Any) -> float:
        """How far two models' answers to the same question agree, 0…1.

        Raises:
            InputError: an answer that was recorded and is damaged.
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
