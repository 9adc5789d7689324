"""Which parts go to int8: the greedy choice against all choices, and how a model is divided."""

from __future__ import annotations

from itertools import chain, combinations

import numpy as np
import pytest

from rsvl.export.quantization.groups import MIN_SHARE, REST, STORED, grouped
from rsvl.export.quantization.layers import Layer
from rsvl.export.quantization.mixed_precision_search import Part, Selection, choose


def table(seed: int, count: int = 9) -> list[Part]:
    rng = np.random.default_rng(seed)
    gains, drops = rng.integers(1, 100, count), rng.exponential(0.01, count) - 0.003
    return [Part(f"p{i}", int(gain), float(drop)) for i, (gain, drop) in enumerate(zip(gains, drops, strict=True))]


def gain(parts: list[Part], selection: Selection) -> int:
    return sum(part.gain for part in parts if part.name in selection)


def drop(parts: list[Part], selection: Selection) -> float:
    return sum(part.drop for part in parts if part.name in selection)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("allowed", [0.0, 0.01, 0.04])
def test_choice_is_within_the_limit_and_within_one_part_of_the_best(seed: int, allowed: float) -> None:
    parts = table(seed)
    asked: list[Selection] = []

    def measure(selection: Selection) -> float:
        asked.append(selection)
        return drop(parts, selection)

    found = choose(parts, measure, allowed)
    every = chain.from_iterable(combinations(parts, size) for size in range(len(parts) + 1))
    selections = [frozenset(part.name for part in some) for some in every]
    best = max(gain(parts, selection) for selection in selections if drop(parts, selection) <= allowed)
    assert not found or drop(parts, found) <= allowed
    assert best - max(part.gain for part in parts) < gain(parts, found) <= best
    assert len(asked) <= 2 * len(parts)


def test_everything_goes_where_it_fits_after_one_measuring() -> None:
    parts, asked = table(3), list[Selection]()
    assert choose(parts, lambda selection: asked.append(selection) or 0.0, 0.01) == frozenset(
        part.name for part in parts
    )
    assert len(asked) == 1


def test_one_bad_part_goes_and_a_part_that_gains_nothing_goes_first() -> None:
    parts = [Part("large", 90, 0.001), Part("bad", 9, 0.2), Part("useless", 0, 0.004)]
    assert choose(parts, lambda selection: drop(parts, selection), 0.01) == {"large"}
    assert choose(parts, lambda selection: 1.0, 0.01) == frozenset()


def layer(path: str, number: int = 0) -> Layer:
    return Layer("g", f"{path}/{number}", path, f"{path}.weight{number}", 0, 1)


BLOCKS = [layer(f"encoder.layers.{i}.{part}") for i in range(12) for part in ("attention.q", "mlp.up", "mlp.down")]
OTHERS = [layer(path) for path in ("neck.0", "neck.1", "head.a.x", "head.b.x", "tiny.a", "tiny.b")]


@pytest.mark.parametrize("most", [4, 8, 14])
def test_parts_hold_every_layer_once_and_are_not_too_many(most: int) -> None:
    cost = {each: 1 if each.path.startswith("tiny") else 100 for each in [*BLOCKS, *OTHERS]}
    parts = grouped([*BLOCKS, *OTHERS], cost, most)
    assert sorted(x.node for part in parts.values() for x in part) == sorted(x.node for x in [*BLOCKS, *OTHERS])
    assert 2 <= len(parts) <= most


def test_blocks_become_runs_of_neighbours_in_the_order_in_which_they_run() -> None:
    parts = grouped(BLOCKS, dict.fromkeys(BLOCKS, 100), 5)
    assert list(parts) == [f"encoder.layers.{a}-{a + 2}" for a in (0, 3, 6, 9)]


def test_parts_that_cost_next_to_nothing_are_put_together() -> None:
    cost = {each: 1 if each.path.startswith(("tiny", "neck")) else 1000 for each in [*BLOCKS, *OTHERS]}
    parts = grouped([*BLOCKS, *OTHERS], cost)
    assert {x.path for x in parts[REST]} == {"neck.0", "neck.1", "tiny.a", "tiny.b"}
    assert sum(cost[x] for x in parts[REST]) < MIN_SHARE * sum(cost.values())


def test_layers_that_int8_does_not_make_faster_are_a_part_of_their_own() -> None:
    cost = {each: 0 if each.path.startswith("head") else 100 for each in [*BLOCKS, *OTHERS]}
    parts = grouped([*BLOCKS, *OTHERS], cost)
    assert {x.path for x in parts[STORED]} == {"head.a.x", "head.b.x"}
    assert all(cost[x] for name, part in parts.items() if name != STORED for x in part)
