"""A loaded bundle: what all tasks' runners share, and how a bundle is run by raw names."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from rsvl.runtime.backends.per_graph import ON_CPU
from rsvl.runtime.backends.session import InputHook, Session, TimingHook, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, InputError, UsageError
from rsvl.runtime.manifest import ImageSpec, Manifest, ModelSpec
from rsvl.runtime.results.base import Result
from rsvl.runtime.tasks.features import FeatureCache
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.tokenizer import Tokenizer

Task = TypeVar("Task", bound="Runner")
TILE_FORMS = ("geotiff", "geojson", "projected", "gpkg", "geoparquet")
"""Options of a task that can say what each tile of a scene shows: what is written of these tiles."""
_GPU_BATCH = 8
"""The largest batch that engines are built for unless they are told otherwise."""
_WORDS_NAMED, _WORDS_TOLD = 8, 100
"""Unknown words in one warning, and in all: a dataset in another language would give no end of them."""


class Runner(ABC):
    """A loaded bundle. Each task's runner adds its own methods; every one has `ask` and `run`.

    Attributes:
        gives: outputs that a model of this task must have.
        options: those of `rsvl run` that have an effect, by name, such as ``threshold`` and ``tile``.
        purpose: what a model of this task does, to say why an option has no effect.
        manifest: the bundle's manifest.
        provider: what runs it, by the name that `rsvl.runtime.load` takes.
        precision: what it computes in: the bundle's, or ``bf16``.
        bundle: the opened bundle.
    """

    gives: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[frozenset[str]]
    purpose: ClassVar[str]

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        """Loads a bundle's graphs; see `rsvl.runtime.load` for the arguments and errors."""
        self.manifest: Manifest = bundle.manifest
        self.check_outputs(bundle)
        self.bundle = bundle  # keeps a packed bundle's unpacked files
        self._session = Session(bundle, provider, threads)
        self.provider = self._session.provider
        self.precision = self._session.precision
        text = self.spec.text
        self._tokenizer = None if text is None else Tokenizer.from_file(bundle.path(text.tokenizer), text)
        self._told: set[str] = set()
        self._features = FeatureCache(self._session, self.spec, self._tokenizer)

    @classmethod
    def open(cls: type[Task], bundle: str | Path, provider: str | None = None, threads: int | None = None) -> Task:
        """As `rsvl.runtime.load`, for those who know the task and want it typed."""
        return cls(Bundle(bundle), provider, threads)

    @classmethod
    def check_outputs(cls, bundle: Bundle) -> None:
        """Checks that a bundle's graphs give what its task needs.

        Raises:
            BundleError: they do not.
        """
        model = bundle.manifest.model
        outputs = {tensor.name for graph in model.graphs for tensor in graph.outputs}
        for name in cls.gives:
            if name not in outputs:
                raise BundleError(f"{bundle.source}: its graphs give no {name}, as {model.task} must: export again")

    @property
    def session(self) -> Session:
        """The bundle's graphs, loaded."""
        return self._session

    @property
    def spec(self) -> ModelSpec:
        """The model's declaration."""
        return self.manifest.model

    @abstractmethod
    def ask(self, query: Query) -> Sequence[Result]:
        """Answers a query, in the same form for every task.

        Returns:
            One result for each sentence or question; one for all labels.

        Raises:
            UsageError: what is asked does not go with the task, or nothing is asked.
            InputError: an image or file that cannot be used.

        Examples:
            >>> from rsvl.runtime import Query, load
            >>> query = Query({"optical": "squares.png"}, ["the red square"])
            >>> load("tiny.bundle").ask(query)[0].lines()
            ['1.00  the red square: 100 px in x 10–20, y 5–15']
        """

    def run(self, **arrays: Any) -> dict[str, np.ndarray]:
        """Runs all graphs on raw inputs.

        Args:
            **arrays: each of `spec.raw_inputs` by name, [N, …], of the declared shape and dtype. Where engines run the
                bundle, arrays of other libraries on the GPU (DLPack, CUDA array interface) are not copied.

        Returns:
            Each of `spec.final_outputs` by name.

        Raises:
            InputError: an input that is missing, unknown, or of another shape or dtype.

        Examples:
            >>> import rsvl.runtime
            >>> rsvl.runtime.load("custom.bundle").run(x=np.array([[1, 2]], np.float32))
            {'y': array([[2., 4.]], dtype=float32)}
        """
        raw = self.spec.raw_inputs
        if set(arrays) != set(raw):
            raise InputError(f"{self.spec.name} takes {', '.join(sorted(raw))}, not {', '.join(sorted(arrays))}")
        given = {name: self._session.as_input(array) for name, array in arrays.items()}
        for name, tensor in raw.items():
            array = given[name]
            pairs = zip(tensor.shape, array.shape, strict=False)
            fits = array.ndim == len(tensor.shape) and all(isinstance(d, str) or d == size for d, size in pairs)
            if not fits or array.dtype != tensor.dtype:
                raise InputError(
                    f"input {name} is {array.dtype} {list(array.shape)}: {self.spec.name} takes {tensor.dtype} "
                    f"{list(tensor.shape)}"
                )
        sizes: dict[str, int] = {}
        for name, tensor in raw.items():
            for dimension, size in zip(tensor.shape, given[name].shape, strict=True):
                if isinstance(dimension, str) and sizes.setdefault(dimension, size) != size:
                    other = sizes[dimension]
                    raise InputError(f"input {name} has {size} as its {dimension}, another has {other}: give as many")
        outputs = self._session.run(given, [graph.name for graph in self.spec.graphs])
        return {name: to_numpy(outputs[name]) for name in self.spec.final_outputs}

    def set_timing_hook(self, hook: TimingHook | None) -> None:
        """Calls `hook` after each graph from now on; None ends that. See `rsvl.benchmarks.bundle.stages`."""
        self._session.timing_hook = hook

    def set_input_hook(self, hook: InputHook | None) -> None:
        """Calls `hook` before each graph from now on; None ends that. See `rsvl.export.quantization`."""
        self._session.input_hook = hook

    def tell_unknown_words(self, texts: Sequence[str]) -> None:
        """Warns of the words that the model's tokenizer does not know, of each once as long as the bundle is loaded."""
        if self._tokenizer is None or len(self._told) > _WORDS_TOLD:
            return
        new = [word for word in self.unknown_words(texts) if word not in self._told]
        self._told.update(new)
        if new:
            more = f" and {len(new) - _WORDS_NAMED} more" if len(new) > _WORDS_NAMED else ""
            warnings.warn(f"the model does not know the words {', '.join(new[:_WORDS_NAMED])}{more}", stacklevel=3)

    def unknown_words(self, texts: Sequence[str]) -> list[str]:
        """The words that the model's tokenizer does not know, each once."""
        if self._tokenizer is None:
            return []
        return list(dict.fromkeys(word for text in texts for word in self._tokenizer.unknown(text)))

    def encode_sentences(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Features of sentences, as the tasks' own `look` takes them.

        Raises:
            InputError: a sentence that is empty.
        """
        return self._features.encode_sentences(texts)

    @property
    def usual_batch(self) -> int:
        """How many tiles are given at once where nobody says it: one on a processor, which gains nothing by more."""
        return _GPU_BATCH if self.on_gpu and self._takes_batches else 1

    @property
    def on_gpu(self) -> bool:
        """Whether its provider is none for CPUs."""
        return self.provider not in ON_CPU

    def checked_batch(self, batch: int | None) -> int:
        """How many tiles are given at once.

        Raises:
            UsageError: below 1, or more than one to a bundle whose graphs take one.
        """
        if batch is None:
            return self.usual_batch
        if batch < 1:
            raise UsageError(f"batch must be 1 or more, not {batch}")
        if batch > 1 and not self._takes_batches:
            raise UsageError(f"{self.spec.name} was exported for one image at a time: leave the batch out")
        return batch

    @property
    def _takes_batches(self) -> bool:
        return all(isinstance(tensor.shape[0], str) for tensor in self.spec.raw_inputs.values())

    def image_for(self, sensor: str) -> ImageSpec:
        """The image input that takes a sensor's images.

        Raises:
            UsageError: the model takes none of that sensor.
        """
        return self.spec.image_for(sensor)
