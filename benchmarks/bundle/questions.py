"""What a loaded bundle is asked while it is timed: sentences about images that it has not seen yet, by its task."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from typing import Any

import numpy as np

from rsvl.runtime.manifest import ANSWERING, GROUNDING, MATCHING, SEGMENTATION
from rsvl.runtime.runner import Runner

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
"""Of all images and sentences of this process: what one measurement asked is not new to the next."""

Ask = Callable[[Any, np.ndarray, list[str]], Any]
"""Asks a runner several sentences about one image."""

ASK: dict[str, Ask] = {
    SEGMENTATION: lambda runner, pixels, texts: runner.segment(pixels, texts),
    GROUNDING: lambda runner, pixels, texts: runner.ground(pixels, texts),
    ANSWERING: lambda runner, pixels, texts: runner.answer(texts, pixels, pixels),
    MATCHING: lambda runner, pixels, texts: runner.similarity([pixels], texts),
}
"""By task; a module of the user's own has no sentences."""


def asking(runner: Runner, ask: Ask, size: int, sentences: Sequence[str]) -> Callable[[], Any]:
    """A call with these sentences, made new, about a new image of size×size pixels."""
    unseen = new_images(size)

    def call() -> Any:
        pixels, number = next(unseen)
        return ask(runner, pixels, [f"{text} {number}" for text in sentences])

    return call


def first_and_further(runner: Runner, ask: Ask, size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a sentence about a new image, and of another sentence about the same image right after it."""
    unseen = new_images(size)
    first, further = [], []
    for pixels, number in islice(unseen, rounds):
        start = time.perf_counter()
        ask(runner, pixels, [f"{SENTENCES[0]} {number}"])
        between = time.perf_counter()
        ask(runner, pixels, [f"{SENTENCES[1]} {number}"])
        first.append(1e3 * (between - start))
        further.append(1e3 * (time.perf_counter() - between))
    return first, further


def new_images(size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Images that differ in one pixel and numbers to tell sentences apart: the runtime knows none of them yet.

    They are noise, since no way's time depends on what an image shows.
    """
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    for number in _NUMBERS:
        pixels = noise.copy()
        pixels[0, 0] = number % 256, number // 256 % 256, number // 65536
        yield pixels, number
