"""Features of images and of sentences, cached so that they are not computed twice.

A model's graphs fall into stages by what they depend on: one image alone, the sentence alone, all together. The first
two give features, which are kept; the last gives the answer. A model that fuses early has only the last stage, whose
"features" are then the raw tensors themselves: nothing here knows which it is.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import ImageSpec, ModelSpec
from rsvl.runtime.tasks.tokenizer import Tokenizer

TOKENS, MARKS = "tokens", "marks"
_SENTENCES_KEPT = 256
_BATCH = 32
"""Sentences that are encoded at once: memory grows with them, and beyond some dozens speed does not."""

Tensors: TypeAlias = dict[str, Any]


class FeatureCache:
    """Runs a session's stages; keeps the last image's features of each input and the last 256 sentences'."""

    def __init__(self, session: Session, spec: ModelSpec, tokenizer: Tokenizer | None) -> None:
        self._session, self._tokenizer = session, tokenizer
        self._image_stages = {image.name: session.runnable_graphs([image.name]) for image in spec.images}
        self._text_stage = session.runnable_graphs([TOKENS, MARKS] if spec.text and spec.text.marks else [TOKENS])
        alone = [*self._text_stage, *(name for stage in self._image_stages.values() for name in stage)]
        self._joint_stage = session.runnable_graphs(spec.raw_inputs, without=alone)
        self._last_image: dict[str, tuple[bytes, Tensors]] = {}
        self._sentences: OrderedDict[str, Tensors] = OrderedDict()
        self._lock = threading.Lock()

    def encode_image(self, image: np.ndarray | None, spec: ImageSpec) -> Tensors:
        """Features of an image, computed or cached.

        Args:
            image: uint8 [H, W, 3]; None for an image that is missing, which the model is given as zeros.
            spec: which of the model's images it is.

        Returns:
            Tensors by name, batch 1. Those of the last image are kept, recognised by its content.
        """
        key = b"missing"
        if image is not None:
            image = np.ascontiguousarray(image)
            key = hashlib.sha256(image.data).digest() + bytes(str(image.shape), "ascii")
        last = self._last_image.get(spec.name)
        if last is not None and last[0] == key:
            return last[1]
        self._last_image.pop(spec.name, None)  # frees the last image's features before the next are made
        missing = np.zeros((spec.channels, spec.size, spec.size), np.float32)
        raw = {spec.name: (missing if image is None else preprocess(image, spec))[None]}
        features = raw | self._session.run(raw, self._image_stages[spec.name])
        self._last_image[spec.name] = (key, features)
        return features

    def encode_images(self, images: Sequence[np.ndarray], spec: ImageSpec) -> Tensors:
        """Features of several images at once, tensors by name, of their number as batch; none of several is kept.

        Args:
            images: uint8 [H, W, 3] each, of any sizes.
            spec: which of the model's images they are.
        """
        if len(images) == 1:
            return self.encode_image(images[0], spec)
        raw = {spec.name: np.stack([preprocess(image, spec) for image in images])}
        return raw | self._session.run(raw, self._image_stages[spec.name])

    def encode_sentences(self, texts: Sequence[str]) -> list[Tensors]:
        """Features of sentences, each as tensors by name with batch 1. New ones are computed in batches of 32.

        Raises:
            InputError: a sentence that is empty or not text, or has marks that the model does not know.
        """
        if self._tokenizer is None:
            raise UsageError("this model takes no text: run it by the names of its raw inputs")
        with self._lock:
            known = {text: self._sentences[text] for text in texts if text in self._sentences}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        for start in range(0, len(new), _BATCH):
            part = new[start : start + _BATCH]
            raw, marks = {TOKENS: self._tokenizer(part)}, self._tokenizer.marks(part)
            raw |= {MARKS: marks} if marks.shape[1] else {}
            batch = raw | {k: to_numpy(v) for k, v in self._session.run(raw, self._text_stage).items()}
            known |= {text: {k: v[i : i + 1] for k, v in batch.items()} for i, text in enumerate(part)}
        with self._lock:
            for text in texts:
                self._sentences[text] = known[text]
                self._sentences.move_to_end(text)
            while len(self._sentences) > _SENTENCES_KEPT:
                self._sentences.popitem(last=False)
        return [known[text] for text in texts]

    def run_head(self, features: Mapping[str, Any], *outputs: str) -> list[np.ndarray]:
        """Runs the stage that needs everything.

        Sentences go one by one where the features are large: a batch would copy the image's features for each, which
        costs more than it saves.

        Args:
            features: those of images and sentences, of equal batch (`repeated`), and any other raw input.
            outputs: the names of the outputs to return.
        """
        found = self._session.run(features, self._joint_stage)
        return [to_numpy(found[name]) for name in outputs]


def repeated(sentence: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """A sentence's features for a batch of so many images."""
    return {name: np.repeat(tensor, count, axis=0) for name, tensor in sentence.items()}
