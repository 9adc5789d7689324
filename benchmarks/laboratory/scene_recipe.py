"""Weights, inputs and shuffles of the scene classifiers' oracle files, beside `oracle_recipe`'s.

What LWGANet, RSMamba and AFM-Net have and the segmenters have not: constants, a Mamba mixer's own parameters, position
tables and class tokens, and orders in the place of those that their authors' code draws anew at every call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from rsvl.benchmarks.laboratory import oracle_recipe

SIDE = 224


def image(seed: int) -> np.ndarray:
    """A normalised input float32 [1, 3, 224, 224]."""
    return np.ascontiguousarray(oracle_recipe.image(seed)[:, :, :SIDE, :SIDE])


def shuffles(oracle: Mapping[str, Any]) -> np.ndarray:
    """The orders int64 [layers, tokens] that stood in for the authors' random ones."""
    layers, tokens = (int(number) for number in oracle["shuffled"])
    seed = int(oracle["input_seed"])
    drawn = (oracle_recipe.uniform(f"shuffle {layer}", tokens, seed) for layer in range(layers))
    return np.stack([np.argsort(each, kind="stable") for each in drawn])


def weights(
    oracle: Mapping[str, Any], needed: Callable[[str], bool] = lambda name: True
) -> Iterator[tuple[str, np.ndarray]]:
    """Every entry of the checkpoint that an oracle describes, one at a time.

    Args:
        oracle: its file.
        needed: whether an entry's values matter; zeros that take no memory stand in for the others.
    """
    seed = int(oracle["weight_seed"])
    for name, shape, dtype in json.loads(str(oracle["keys"])):
        made = _made(name, tuple(shape), dtype, seed) if needed(name) else np.broadcast_to(np.float32(0), shape)
        yield name, made.reshape(shape)


def _made(name: str, shape: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    count, last = int(np.prod(shape, dtype=np.int64)), name.rpartition(".")[2]
    own = _OWN.get("dt_proj.bias" if name.endswith("dt_proj.bias") else last)
    if dtype == "int64":
        return np.zeros(shape, np.int64)
    if own is not None:
        return np.ascontiguousarray(own(name, shape, count, seed), np.float32)
    value = oracle_recipe.drawn(name, shape, seed)
    return value * np.float32(_gain(name)) if len(shape) > 1 else value


def _blur(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    taps = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    return np.broadcast_to(np.outer(taps, taps), shape)


def _rates(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    return np.log(np.arange(1, shape[1] + 1)) + 0.2 * oracle_recipe.standard(name, count, seed).reshape(shape)


def _through(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    return 1 + 0.2 * oracle_recipe.standard(name, count, seed)


def _step(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    """Its softplus lies in 0.003 … 1, uniform in the logarithm."""
    step = np.exp(np.log(0.003) - np.log(0.003) * oracle_recipe.uniform(name, count, seed))
    return step + np.log(-np.expm1(-step))


def _places(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    return 0.5 * oracle_recipe.standard(name, count, seed).reshape(shape)


def _rotary(name: str, shape: tuple[int, ...], count: int, seed: int) -> np.ndarray:
    side, half = round(shape[0] ** 0.5), shape[1] // 2
    angles = np.repeat(np.arange(side)[:, None] * 10000.0 ** (-np.arange(0, half, 2) / half), 2, axis=1)
    grid = [np.broadcast_to(part, (side, side, half)) for part in (angles[:, None], angles[None])]
    return (np.cos if name.endswith("cos") else np.sin)(np.concatenate(grid, axis=2)).reshape(shape)


_OWN: dict[str, Callable[[str, tuple[int, ...], int, int], np.ndarray]] = {
    "filt": _blur,
    "freqs_cos": _rotary,
    "freqs_sin": _rotary,
    "A_log": _rates,
    "D": _through,
    "dt_proj.bias": _step,
    "pos_embed": _places,
    "cls_token": _places,
}


def _gain(name: str) -> float:
    """Of a matrix beside `oracle_recipe`'s own rule."""
    if "gate_layers" in name:  # the three orders must not weigh the same
        return 4.0
    if ".mlp.3." in name:  # what is added to a residual stays small
        return 0.4
    if ".qkv." in name or (name.startswith("head.") and "fc" not in name):  # no attention that picks one place alone
        return 0.5
    return 1.0
