"""The inputs that an export is verified with: synthetic scenes with their sentences, and noise with random words."""

from __future__ import annotations

import warnings

import numpy as np

from rsvl.data.synth import generate
from rsvl.runtime.image import preprocess
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.text import Tokenizer

SCENES, RANDOM = 5, 3
_SEED = 20_250_101


def default_samples(spec: ModelSpec, tokenizer_json: str) -> dict[str, np.ndarray]:
    """Eight image and sentence pairs, the same ones every time.

    The sentence of a scene names its largest object, because a mask of a few pixels cannot be compared to 1 %.

    Returns:
        `image` float32 [8, 3, S, S] and `tokens` int64 [8, T], the raw inputs of the model's graphs.
    """
    tokenizer = Tokenizer.from_file(tokenizer_json, spec.words)
    rng = np.random.default_rng(_SEED)
    scenes = [_scene((_SEED, index), spec) for index in range(SCENES)]
    images = [*(image for image, _ in scenes), *(_noise(rng, spec.image.size) for _ in range(RANDOM))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a short-worded model may cut a sentence: it is the same for both sides
        tokens = tokenizer([sentence for _, sentence in scenes])
    return {
        "image": np.stack([preprocess(image, spec.image) for image in images]),
        "tokens": np.concatenate([tokens, _random_tokens(rng, tokenizer, tokens[0])]),
    }


def _scene(seed: tuple[int, ...], spec: ModelSpec) -> tuple[np.ndarray, str]:
    scene = generate(seed, int(np.clip(spec.image.size, 64, 2048)))
    named = [e for e in scene.expressions if e.target is not None] or list(scene.expressions)
    largest = max(named, key=lambda e: -1 if e.target is None else scene.objects[e.target].area)
    return scene.image, largest.text


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """Noise of three grain sizes, uint8 [S, S, 3]."""
    layers = []
    for grain in (1, 8, 64):
        cells = -(-size // grain)
        coarse = rng.uniform(0, 85, (cells, cells, 3))
        layers.append(coarse.repeat(grain, axis=0).repeat(grain, axis=1)[:size, :size])
    return np.sum(layers, axis=0).astype(np.uint8)


def _random_tokens(rng: np.random.Generator, tokenizer: Tokenizer, like: np.ndarray) -> np.ndarray:
    """Random ids between a sentence's own start and end tokens; the shortest has one word, the longest fills T."""
    start, end, length = int(like[0]), int(like.max()), len(like)
    rows = np.full((RANDOM, length), tokenizer.spec.pad, np.int64)
    for row, words in zip(rows, np.linspace(1, length - 2, RANDOM).astype(int), strict=True):
        row[0] = start
        row[1 : words + 1] = rng.integers(0, end, words)
        row[words + 1] = end
    return rows
