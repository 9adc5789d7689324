"""The parts of a model, each quantized as a whole: its modules, large ones divided, small ones merged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rsvl.export.quantization.layers import Layer

MAX_GROUPS = 14
MIN_SHARE = 0.01
REST = "the rest"
STORED = "weights only"
MAX_RUNS = 4

Cost = Mapping[Layer, int]


def grouped(layers: Sequence[Layer], cost: Cost, most: int = MAX_GROUPS) -> dict[str, tuple[Layer, ...]]:
    """Divides layers by the modules that they lie in.

    The costliest part is divided into the parts inside of it as long as there are no more than `most` and it costs more
    than its share; a list of many equal blocks into runs of neighbours. Parts that cost under `MIN_SHARE` are merged
    into `REST`. Layers that cost nothing are a part of their own, `STORED`: 8 bits make them no faster, and their loss
    of accuracy must not count against those that become faster.

    Args:
        layers: in the order in which they run.
        cost: of each layer, such as its MACs.
        most: how many parts there may be beside `STORED`.

    Returns:
        Each part's layers by its path in the model, in the order in which they run.
    """
    stored = [layer for layer in layers if not cost[layer]]
    parts: dict[str, list[Layer]] = {"": [layer for layer in layers if cost[layer]]}
    whole: set[str] = set()
    share = _sum(layers, cost) / most
    while costly := [name for name in parts if name not in whole and _sum(parts[name], cost) > share]:
        costliest = max(costly, key=lambda name: _sum(parts[name], cost))
        others = {name: part for name, part in parts.items() if name != costliest}
        divided = (others | inner for inner in _divisions(costliest, parts[costliest]))
        parts = next((new for new in divided if len(_small_merged(new, cost)) <= most), parts)
        whole.add(costliest)
    return _ordered(_small_merged(parts, cost) | {STORED: stored}, layers)


def _divisions(name: str, layers: Sequence[Layer]) -> Iterator[dict[str, list[Layer]]]:
    """A part's layers by the parts inside of it, and if these are numbered, by ever fewer runs of them."""
    depth = len(name.split(".")) if name else 0
    inner: dict[str, list[Layer]] = {}
    for layer in layers:
        inner.setdefault(".".join(layer.path.split(".")[: depth + 1]), []).append(layer)
    if set(inner) == {name}:
        return
    yield inner
    if all(part.rpartition(".")[2].isdigit() for part in inner):
        for count in range(min(MAX_RUNS, len(inner) - 1), 1, -1):
            yield _runs(name, inner, count)


def _runs(name: str, blocks: Mapping[str, list[Layer]], count: int) -> dict[str, list[Layer]]:
    """Blocks `name.0`, `name.1` … as `count` runs of neighbours, called such as `name.0-2`."""
    names = sorted(blocks, key=lambda part: int(part.rpartition(".")[2]))
    bounds = [round(i * len(names) / count) for i in range(count + 1)]
    runs = [names[start:stop] for start, stop in pairwise(bounds)]
    called = [run[0] if len(run) == 1 else f"{run[0]}-{run[-1].rpartition('.')[2]}" for run in runs]
    return {title: [layer for part in run for layer in blocks[part]] for title, run in zip(called, runs, strict=True)}


def _small_merged(parts: Mapping[str, list[Layer]], cost: Cost) -> dict[str, list[Layer]]:
    smallest = MIN_SHARE * sum(_sum(part, cost) for part in parts.values())
    small = [name for name, part in parts.items() if _sum(part, cost) < smallest]
    if len(small) < 2:
        return dict(parts)
    rest = [layer for name in small for layer in parts[name]]
    return {name: part for name, part in parts.items() if name not in small} | {REST: rest}


def _ordered(parts: Mapping[str, list[Layer]], layers: Sequence[Layer]) -> dict[str, tuple[Layer, ...]]:
    place = {layer: index for index, layer in enumerate(layers)}
    ordered = {name: tuple(sorted(part, key=place.__getitem__)) for name, part in parts.items() if part}
    return dict(sorted(ordered.items(), key=lambda item: (item[0] in (REST, STORED), place[item[1][0]])))


def _sum(layers: Sequence[Layer], cost: Cost) -> int:
    return sum(cost[layer] for layer in layers)
