"""Weights and images by which somebody else's network and ours can be compared without a download.

Both sides make the same numbers from the names and shapes of a checkpoint's entries and a seed: PCG64's raw output,
which NumPy keeps the same in all versions. An oracle file (``.npz``) holds these names and the other side's answers.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_ROOT12 = 12**0.5  # uniform numbers of this width have variance 1
_BERT_GAINS = ((".query.", 2.0), (".key.", 2.0), (".attention.", 0.3))  # its words must stay unlike each other
_GATES = ("res_gate", "_gate", "gating")
_CRIS_GAINS = (("proj.txt.", 0.2), ("backbone.visual.", 1.4), ("neck.", 1.4), ("proj.vis.", 1.4))
_CRIS_BLOCK = "backbone.visual.layer"


def weights(oracle: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Every entry of the checkpoint that an oracle describes, in its order, one at a time.

    Args:
        oracle: `keys`, a JSON list of [name, shape, dtype], `weight_seed`, and what says where the mask's border lies:
            `class_bias`, which is not drawn, or CRIS's `mask_bias`, which is added to the kernel's last.
    """
    seed = int(oracle["weight_seed"])
    for name, shape, dtype in json.loads(str(oracle["keys"])):
        if name == "classifier.conv1_1.bias":
            yield name, np.asarray(oracle["class_bias"])
        elif name == "proj.txt.bias":
            value = drawn(name, tuple(shape), seed)
            value[-1] += oracle["mask_bias"]
            yield name, value
        else:
            yield name, _constant(name, shape) if dtype == "int64" else drawn(name, tuple(shape), seed)


def image(seed: int, size: int = 480) -> np.ndarray:
    """A normalised image float32 [1, 3, size, size]: noise on patches of 12 and of 48 pixels."""
    return noise_on_patches(seed, size, 0.7, {48: 0.9, 12: 0.5})[None].astype(np.float32)


def noise_on_patches(seed: int, size: int, noise: float, patches: Mapping[int, float]) -> np.ndarray:
    """An image float64 [3, size, size] around 0.

    Args:
        seed: of the numbers.
        size: pixels of a side.
        noise: deviation of each pixel.
        patches: the deviation of square patches, by their side in pixels.
    """
    total = noise * standard("noise", 3 * size * size, seed).reshape(3, size, size)
    for side, share in patches.items():
        cells = size // side
        coarse = standard(f"patches of {side}", 3 * cells * cells, seed).reshape(3, cells, cells)
        total = total + share * coarse.repeat(side, axis=1).repeat(side, axis=2)
    return total


def uniform(name: str, count: int, seed: int) -> np.ndarray:
    """Numbers float64 in [0, 1), in multiples of 2^-53."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])).random_raw(count)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def standard(name: str, count: int, seed: int) -> np.ndarray:
    """Uniform float64 of mean 0 and variance 1."""
    return (uniform(name, count, seed) - 0.5) * _ROOT12


def drawn(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A weight or a running statistic, float32."""
    count = int(np.prod(shape, dtype=np.int64))
    if name.endswith("running_var"):
        value = 0.5 + uniform(name, count, seed)
    else:
        value = standard(name, count, seed)
        if name.endswith("running_mean"):
            value *= 0.2
        elif len(shape) == 1:
            value = 1 + 0.2 * value if name.endswith("weight") else 0.1 * value  # a norm's gain; a bias
        elif name.endswith("relative_position_bias_table") or ".embeddings." in name:
            value *= 0.5
        else:
            inputs = float(np.prod(shape[2:] if len(shape) == 5 else shape[1:], dtype=np.int64))
            value *= _gain(name) / np.sqrt(inputs)
    return value.reshape(shape).astype(np.float32)


def _gain(name: str) -> float:
    """What a matrix or kernel has beside 1 / √inputs."""
    if ".encoder.layer." in name:
        return next((gain for part, gain in _BERT_GAINS if part in name), 1.2)
    if name.endswith("fc_theta.weight"):
        return 4.0  # rotates kernels by some 20° either way
    if any(part in name for part in _GATES):
        return 1.5
    if name.startswith(_CRIS_BLOCK) and (".conv3." in name or ".downsample." in name):
        return 0.4 if ".conv3." in name else 1.0  # what is added to a residual stays small
    for part, gain in _CRIS_GAINS:
        if name.startswith(part):
            return gain
    return 1.4 if name.startswith("classifier.") else 1.0  # a ReLU halves


def _constant(name: str, shape: list[int]) -> np.ndarray:
    """What no training changes, int64: Swin's table of relative positions, position ids, counters at zero."""
    if name.endswith("position_ids"):
        return np.arange(int(np.prod(shape))).reshape(shape)
    if not name.endswith("relative_position_index"):
        return np.zeros(shape, np.int64)
    side = round(shape[0] ** 0.5)
    y, x = np.divmod(np.arange(side * side), side)
    dy, dx = y[:, None] - y + side - 1, x[:, None] - x + side - 1
    return (dy * (2 * side - 1) + dx).astype(np.int64)
