"""Questions for timing a loaded bundle: new sentences about new images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, islice
from typing import Any

import numpy as np

from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner

SENTENCES = (
    "the white ship left of the long pier",
    "the large storage tank",
    "a red car on the road",
    "the airplane in the upper right",
    "the tennis court below the baseball field",
    "the bridge over the river",
    "the smallest building",
    "a harbour with many ships",
)

_NUMBERS = count()
"""Numbers for the images and sentences of this process, so that no measurement repeats an earlier one."""


def question(runner: Runner, sentences: Sequence[str]) -> Callable[[], Any]:
    """A call that asks new variants of these sentences about a new image of the model's size, or only shows it."""
    unseen = new_queries(runner, sentences)
    return lambda: runner.ask(next(unseen))


def first_and_further(runner: Runner, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a sentence about a new image, and of a second sentence about the same image right after it."""
    first, further = [], []
    for query in islice(new_queries(runner, SENTENCES[:2]), rounds):
        one, other = (replace(query, texts=[text]) for text in query.texts)
        start = time.perf_counter()
        runner.ask(one)
        between = time.perf_counter()
        runner.ask(other)
        first.append(1e3 * (between - start))
        further.append(1e3 * (time.perf_counter() - between))
    return first, further


def new_queries(runner: Runner, sentences: Sequence[str]) -> Iterator[Query]:
    """Queries whose images and sentences are not in the runtime's caches yet.

    Images differ in one pixel, sentences in a number at their end. The images are noise: no latency depends on what an
    image shows. A model that takes no text is not given any.
    """
    spec = runner.spec
    noise = np.random.default_rng(0).integers(0, 256, (spec.image.size, spec.image.size, 3), np.uint8)
    for number in _NUMBERS:
        pixels = noise.copy()
        pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
        texts = [] if spec.text is None else [f"{text} {number}" for text in sentences]
        yield Query({image.sensors[0]: pixels for image in spec.images}, texts)
