"""What each task's `evaluation.py` and `training.py` provide. Imports no PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rsvl.metrics.sample import Sample
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.progress import Progress, silent

if TYPE_CHECKING:
    from torch import nn

    from rsvl.tasks.batch import TrainingSet


@dataclass(frozen=True)
class SampleRecord:
    """One sample of an evaluation.

    Attributes:
        image: what was shown, as `image_name` says.
        question: the sentence, the question, or what else was asked.
        sample: how it counts.
        answer: the model's answer, as plain JSON values that are small enough to keep for every sample;
            `Evaluation.agreement` compares two of them.
    """

    image: str
    question: str
    sample: Sample
    answer: Any


OnSample = Callable[[SampleRecord], None]
"""Called with every sample, in the same order for every model."""

OnFailure = Callable[[str, InputError], None]
"""Called with the name of an image that cannot be evaluated, and why."""


@dataclass(frozen=True)
class EvalOptions:
    """How a model is evaluated, the same for every task.

    Attributes:
        limit: evaluate at most this many images, from the first on; None for all.
        shuffle_sentences: ask what does not belong to the answer that is compared: shows whether the model's answer
            depends on the sentence.
        seed: random seed of `shuffle_sentences`.
        sensor: only what this sensor shows: its images, or its image of each pair; None for all.
        progress: called after every image.
        on_sample: called with every sample; the report's primary metric is the mean of those in `rsvl.metrics.ALL`.
        on_failure: called with every image that cannot be evaluated, such as a damaged file; it is then left out. None
            lets the error end the evaluation.
    """

    limit: int | None = None
    shuffle_sentences: bool = False
    seed: int = 0
    sensor: str | None = None
    progress: Progress = field(default=silent, repr=False)
    on_sample: OnSample | None = field(default=None, repr=False)
    on_failure: OnFailure | None = field(default=None, repr=False)

    @contextmanager
    def image(self, path: Path) -> Iterator[None]:
        """The part of an evaluation that concerns one image: where it cannot be used, `on_failure` is called.

        Raises:
            InputError: it cannot be used and there is no `on_failure`.
        """
        try:
            yield
        except InputError as error:
            if self.on_failure is None:
                raise
            self.on_failure(image_name(path), error)

    def count(self, dataset: Sized) -> int:
        """The number of images that are gone through."""
        return len(dataset) if self.limit is None else min(self.limit, len(dataset))

    def check_shown(self, shown: int, dataset: Any) -> None:
        """Checks that `sensor` shows at least one of the images.

        Args:
            shown: how many images it shows.
            dataset: the dataset, which has a `name`.

        Raises:
            UsageError: it shows none.
        """
        if self.sensor is not None and not shown:
            raise UsageError(
                f"{dataset.name}: {self.sensor} shows none of these {self.count(dataset)} images: raise --limit or "
                "leave --sensor out"
            )


DEFAULT_OPTIONS = EvalOptions()
"""All images and sentences, silently."""


def image_name(path: Path) -> str:
    """What an image is called wherever its dataset lies: its file's name and folder."""
    return f"{path.parent.name}/{path.name}"


class EvalReport(Protocol):
    """The result of an evaluation."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values ready for JSON; NaN becomes None."""


class Evaluation(Protocol):
    """A task's `evaluation.py`.

    Attributes:
        DATASET_TYPES: the kinds of dataset that it takes.
        NEEDS_MASKS: whether they must have masks, not boxes alone.
        PRIMARY_METRIC: the entry of the report's `to_dict()` that chooses the best epoch; larger is better.
    """

    DATASET_TYPES: tuple[type, ...]
    NEEDS_MASKS: bool
    PRIMARY_METRIC: str

    def runner_predictor(self, runner: Any) -> Any:
        """Wraps a loaded bundle (`rsvl.runtime.load`) as the `predict` that `evaluate` calls."""

    def evaluate(self, predict: Any, dataset: Any, options: EvalOptions = DEFAULT_OPTIONS) -> Any:
        """Asks a model everything that the dataset knows about its images, and compares.

        Args:
            predict: the model, from `runner_predictor` or `Training.torch_predictor`.
            dataset: one of `DATASET_TYPES`.
            options: which images, what is asked, and the callbacks.

        Returns:
            An `EvalReport`.

        Raises:
            DatasetError: a file is damaged, or its size is not the annotated one.
            UsageError: the dataset has nothing that could be exchanged, or nothing of the sensor.
        """

    def agreement(self, one: Any, other: Any) -> float:
        """How far two models' answers to the same question agree, 0…1.

        Raises:
            InputError: a recorded answer is damaged.
        """

    def groups(self, report: Any) -> dict[str, dict[str, Any]]:
        """Metrics under the papers' names for all samples and for each group of them, for people to read."""

    def remarks(self, report: Any) -> Sequence[str]:
        """What else people should know, one line each."""

    def headline(self, row: Mapping[str, Any]) -> dict[str, float | None]:
        """The few metrics of a report's `to_dict()` that are shown after each epoch."""


class Training(Protocol):
    """A task's `training.py`."""

    def training_set(self, model: Any, dataset: Any, sentences: int, seed: int) -> TrainingSet:
        """A dataset as batches of one image each, with `sentences` resampled in every epoch.

        What the dataset alone knows (an answer vocabulary) is given to the model here.
        """

    def torch_predictor(self, model: nn.Module) -> Any:
        """Wraps a PyTorch model as the `predict` that `Evaluation.evaluate` calls; puts it into evaluation mode."""

    # A task may also have `calibrate(model, datasets)`, called before each validation: what a model learns of the
    # validation images beside its weights, such as a temperature.
