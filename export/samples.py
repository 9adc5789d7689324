"""The inputs that a bundle is verified with: synthetic scenes with their sentences, and noise with random words."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from rsvl.data.synth import Scene, generate
from rsvl.runtime.errors import InputError
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.manifest import ImageSpec, ModelSpec, TensorSpec, TextSpec
from rsvl.runtime.tasks.features import MARKS, TOKENS
from rsvl.runtime.tasks.tokenizer import Tokenizer
from rsvl.runtime.tasks.vqa import ORDER, SENSORS

SCENES, RANDOM = 5, 3
MIN_SAMPLES = 8
_SEED = 20_250_101
_SIDES = (64, 2048)
"""The smallest and the largest scene that the generator draws."""


def default_samples(spec: ModelSpec, tokenizer_json: str | None = None) -> dict[str, np.ndarray]:
    """Eight of each raw input of a declaration, the same ones every time.

    Images show synthetic scenes, as an optical or a SAR sensor sees them, and noise; the sentence of a scene names its
    largest object, because a mask of a few pixels cannot be compared to 1 %. Of a pair of sensors one or the other is
    missing in some samples. Any other floating-point input is normally distributed.

    Raises:
        InputError: an input of integers that is not a sentence: what it may hold is not declared.
    """
    scenes = _scenes(spec)
    images = {image.name: image for image in spec.images}
    samples = {}
    for number, (name, tensor) in enumerate(spec.raw_inputs.items()):
        rng = np.random.default_rng((_SEED, number))
        if name in images:
            samples[name] = _images(rng, scenes, images[name])
        elif name == TOKENS and spec.text is not None and tokenizer_json is not None:
            samples[name] = _sentences(rng, scenes, Tokenizer.from_file(tokenizer_json, spec.text))
        elif name == MARKS and spec.text is not None and spec.text.marks:
            samples[name] = _marks(rng, spec.text)
        elif name == SENSORS:
            samples[name] = np.array([[1, 1], [1, 0], [0, 1], [1, 1]] * 2, np.float32)
        elif tensor.dtype.startswith("float"):
            samples[name] = _numbers(rng, tensor)
        else:
            raise InputError(f"no samples can be made of input {name} ({tensor.dtype}): give export() its own samples")
    return _without_missing(samples, spec)


def checked_samples(samples: Mapping[str, np.ndarray], spec: ModelSpec) -> dict[str, np.ndarray]:
    """The samples, if they are those that a model takes.

    Raises:
        InputError: fewer than 8, not as many of each input, or of other names, shapes or dtypes.
    """
    raw = spec.raw_inputs
    if set(samples) != set(raw):
        raise InputError(f"samples are {', '.join(sorted(samples))}: this model takes {', '.join(sorted(raw))}")
    counts = {len(array) for array in samples.values()}
    if len(counts) != 1 or min(counts) < MIN_SAMPLES:
        raise InputError(f"{sorted(counts)} samples: give at least {MIN_SAMPLES}, as many of each input")
    for name, tensor in raw.items():
        if samples[name].shape[1:] != tensor.shape[1:] or samples[name].dtype != tensor.dtype:
            found = f"{samples[name].dtype} {list(samples[name].shape)}"
            raise InputError(f"sample {name} is {found}: this model takes {tensor.dtype} {list(tensor.shape)}")
    return dict(samples)


@lru_cache(maxsize=1)
def _scenes(spec: ModelSpec) -> list[Scene]:
    sides = [image.size for image in spec.images]
    side = int(np.clip(max(sides, default=_SIDES[0]), *_SIDES))
    sar = any("sar" in image.sensors for image in spec.images)
    return [generate((_SEED, index), side, with_sar=sar) for index in range(SCENES)]


def pictures(spec: ModelSpec, image: ImageSpec) -> list[np.ndarray]:
    """The scenes as an image input's sensor sees them, uint8 [H, W, 3] each."""
    return [_seen(scene, index, image) for index, scene in enumerate(_scenes(spec))]


def sentences(spec: ModelSpec) -> list[str]:
    """What is said of the scenes: each expression once."""
    return list(dict.fromkeys(expression.text for scene in _scenes(spec) for expression in scene.expressions))


def _seen(scene: Scene, index: int, spec: ImageSpec) -> np.ndarray:
    """A scene by a sensor; a model that takes both by one input sees every second scene by SAR."""
    by_sar = "sar" in spec.sensors and ("optical" not in spec.sensors or index % 2 == 1)
    return read_image(scene.sar) if by_sar and scene.sar is not None else scene.image


def _images(rng: np.random.Generator, scenes: list[Scene], spec: ImageSpec) -> np.ndarray:
    """float32 [8, C, S, S]."""
    shown = [_seen(scene, index, spec) for index, scene in enumerate(scenes)]
    shown += [_noise(rng, spec.size) for _ in range(RANDOM)]
    return np.stack([preprocess(image, spec) for image in shown])


def _sentences(rng: np.random.Generator, scenes: list[Scene], tokenizer: Tokenizer) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a short-worded model may cut a sentence: it is the same for both sides
        tokens = tokenizer([_naming_the_largest(scene) for scene in scenes])
    return np.concatenate([tokens, _random_tokens(rng, tokenizer, tokens[0])])


def _marks(rng: np.random.Generator, spec: TextSpec) -> np.ndarray:
    """None for the sentences of the scenes, where the model's own lists tell; any for the random words."""
    marks = np.full((SCENES + RANDOM, len(spec.marks), spec.tokens), -1, np.int64)
    marks[SCENES:] = rng.integers(0, 2, marks[SCENES:].shape)
    return marks


def _naming_the_largest(scene: Scene) -> str:
    named = [e for e in scene.expressions if e.target is not None] or list(scene.expressions)
    return max(named, key=lambda e: -1 if e.target is None else scene.objects[e.target].area).text


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
    pad, length = tokenizer.spec.pad, len(like)
    start, end = int(like[0]), int(like[np.flatnonzero(like != pad)[-1]])
    others = np.setdiff1d(np.arange(tokenizer.vocabulary_size), [pad, start, end])
    rows = np.full((RANDOM, length), pad, np.int64)
    for row, words in zip(rows, np.linspace(1, length - 2, RANDOM).astype(int), strict=True):
        row[0] = start
        row[1 : words + 1] = rng.choice(others, words)
        row[words + 1] = end
    return rows


def _numbers(rng: np.random.Generator, tensor: TensorSpec) -> np.ndarray:
    shape = [1 if isinstance(size, str) else size for size in tensor.shape[1:]]
    return rng.normal(size=(SCENES + RANDOM, *shape)).astype(tensor.dtype)


def _without_missing(samples: dict[str, np.ndarray], spec: ModelSpec) -> dict[str, np.ndarray]:
    """Zeros where an image is missing, as the runtime gives them."""
    if SENSORS in samples:
        for image in spec.images:
            present = samples[SENSORS][:, [ORDER.index(sensor) for sensor in image.sensors]].max(axis=1)
            samples[image.name] = samples[image.name] * present[:, None, None, None]
    return samples
