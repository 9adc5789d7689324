"""Optimization profiles follow from the manifest's dynamic dimensions; a build's progress from its phases."""

from __future__ import annotations

import pytest

from rsvl.runtime.backends.tensorrt.phases import Phases
from rsvl.runtime.backends.tensorrt.profiles import Range, batch_range, checked_ranges, parse_range, profile
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec, TensorSpec
from tests.support.toy_bundle import SPLIT

FREE = GraphSpec("free", (TensorSpec("x", ("batch", 3, "height", 8)), TensorSpec("angle", (2,))), ())


def test_profile_has_min_opt_and_max_shape_of_dynamic_inputs_only() -> None:
    ranges = {"batch": Range(1, 2, 4), "height": Range(16, 32, 64)}
    assert profile(FREE, ranges) == {"x": ((1, 3, 16, 8), (2, 3, 32, 8), (4, 3, 64, 8))}


def test_every_input_of_a_graph_gets_the_batch() -> None:
    shapes = profile(SPLIT[2], {"batch": batch_range()})
    assert {name: [shape[0] for shape in three] for name, three in shapes.items()} == {
        "pixels": [1, 1, 8],
        "colour": [1, 1, 8],
    }


@pytest.mark.parametrize(
    ("ranges", "says"),
    [
        ({"batch": Range(1, 1, 4)}, "--range height="),
        (
            {"batch": Range(1, 1, 4), "height": Range(1, 1, 1), "width": Range(1, 1, 1)},
            "no dynamic dimension is called",
        ),
    ],
)
def test_ranges_must_be_those_of_the_graphs(ranges: dict[str, Range], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        checked_ranges([FREE], ranges)


def test_range_is_read_from_words() -> None:
    assert parse_range("height=64:256:512") == ("height", Range(64, 256, 512))


@pytest.mark.parametrize("text", ["height", "height=64", "height=64:32:512", "height=0:1:2", "=1:2:3", "h=1:2:3:4"])
def test_wrong_range_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_range(text)


@pytest.mark.parametrize(("max_batch", "opt_batch"), [(0, 1), (4, 5), (4, 0)])
def test_wrong_batch_is_refused(max_batch: int, opt_batch: int) -> None:
    with pytest.raises(UsageError, match="--opt-batch"):
        batch_range(max_batch, opt_batch)


def test_progress_counts_a_phase_as_a_step_of_the_phase_around_it() -> None:
    calls: list[tuple[float, float, str]] = []
    phases = Phases(lambda done, total, stage="", detail="": calls.append((done, total, detail)))
    phases.phase_start("build", None, 2)
    phases.phase_start("optimize", "build", 4)
    assert phases.step_complete("optimize", 0) and phases.step_complete("optimize", 1)
    phases.phase_finish("optimize")
    assert phases.step_complete("build", 0)
    phases.phase_start("time", "build", 2)
    phases.step_complete("time", 0)
    assert [(done / total, detail) for done, total, detail in calls] == [
        (0, "build"),
        (0, "optimize"),
        (0.125, "optimize"),
        (0.25, "optimize"),
        (0.5, "build"),
        (0.5, "time"),
        (0.75, "time"),
    ]


def test_progress_that_fails_stops_the_build_and_is_kept() -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    phases = Phases(interrupt)
    phases.phase_start("build", None, 2)
    assert not phases.step_complete("build", 0)
    assert isinstance(phases.error, KeyboardInterrupt)
