"""Who is timed when, and what becomes of the times. No test depends on a time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rsvl.benchmarks.bundle.questions import SENTENCES, first_and_further, question
from rsvl.benchmarks.bundle.stages import stages
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.runtime import Query
from rsvl.runtime.tasks.segmentation import Segmenter


def test_rounds_run_every_runner_once_and_start_with_another_each_time() -> None:
    calls: list[str] = []
    times = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, rounds=4)  # type: ignore
    assert "".join(calls) == "abcbcacababc"
    assert {name: len(values) for name, values in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_percentiles_are_of_the_rounds() -> None:
    found = Percentiles.of([float(value) for value in range(101)])
    assert (found.p50, found.p90, found.p99) == (50, 90, 99) and found.per_second == 20


class Recorder:
    """A runner that notes what it is asked."""

    def __init__(self) -> None:
        self.spec = SimpleNamespace(
            image=SimpleNamespace(size=4),
            text=SimpleNamespace(),
            images=[SimpleNamespace(sensors=("optical",)), SimpleNamespace(sensors=("sar",))],
        )
        self.asked: list[tuple[bytes, list[str]]] = []

    def ask(self, query: Query) -> None:
        """Notes the images and the sentences."""
        optical, sar = query.images["optical"], query.images["sar"]
        assert isinstance(optical, np.ndarray) and optical is sar and optical.shape == (4, 4, 3)
        self.asked.append((optical.tobytes(), list(query.texts)))


def test_questions_are_new_and_images_too_but_for_a_further_sentence() -> None:
    runner: Any = Recorder()
    for call in (question(runner, SENTENCES[:1]), question(runner, SENTENCES)):
        call()
        call()
    assert [len(texts) for _, texts in runner.asked] == [1, 1, len(SENTENCES), len(SENTENCES)]
    first, second, third, fourth = (image for image, _ in runner.asked)
    assert first != second and third != fourth
    runner.asked.clear()
    times = first_and_further(runner, rounds=2)
    assert [len(each) for each in times] == [2, 2]
    images, sentences = [image for image, _ in runner.asked], [texts for _, texts in runner.asked]
    assert images[0] == images[1] != images[2] == images[3]
    assert len({text for (text,) in sentences}) == 4


@pytest.fixture
def observed() -> Any:
    """A runner that tells of its graphs what the test lets it tell."""

    class Observed:
        observer: Callable[[str, float, float], None] | None = None

        def set_timing_hook(self, observer: Callable[[str, float, float], None] | None) -> None:
            self.observer = observer

    return Observed()


def test_stages_are_what_lies_before_in_and_after_the_graphs(observed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("rsvl.benchmarks.bundle.stages.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def call() -> None:
        begin = now[0]
        for name, start, end in (("text", 1.0, 2.0), ("image", 2.5, 6.5), ("text", 7.0, 7.5), ("head", 8.0, 11.0)):
            observed.observer(name, begin + start, begin + end)
        now[0] = begin + 11.25

    found = stages(observed, call, rounds=2)
    # Before the end of the last graph 2.5 s were in none: 1 at first, 0.5 + 0.5 + 0.5 between them.
    assert found == {
        "pre": [2500.0] * 2,
        "text": [1500.0] * 2,
        "image": [4000.0] * 2,
        "head": [3000.0] * 2,
        "post": [250.0] * 2,
    }
    assert observed.observer is None


def test_a_loaded_bundle_tells_of_every_graph(whole_bundle: Any) -> None:
    segmenter = Segmenter.open(whole_bundle, threads=1)
    found = stages(segmenter, question(segmenter, SENTENCES[:1]), rounds=2)
    assert set(found) == {"pre", "text", "image", "head", "post"}
    assert all(len(times) == 2 and min(times) >= 0 for times in found.values())
