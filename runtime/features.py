"""What a model has computed of an image and of sentences, kept so that it is not computed twice.

A model's graphs fall into three stages by what they depend on: the image alone, the sentence alone, both. The first
two give features, which are kept; the last gives the mask. A model that fuses early has only the last stage, whose
"features" are then the raw tensors themselves: nothing here knows which it is.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from rsvl.runtime.image import preprocess
from rsvl.runtime.manifest import ImageSpec
from rsvl.runtime.session import Session, to_numpy
from rsvl.runtime.text import Tokenizer

IMAGE, TOKENS, MASK = "image", "tokens", "mask_logits"
_SENTENCES_KEPT = 256


class Features:
    """Runs a session's stages; keeps the last image's features and the last 256 sentences'."""

    def __init__(self, session: Session, tokenizer: Tokenizer, image: ImageSpec) -> None:
        self._session, self._tokenizer, self._image_spec = session, tokenizer, image
        self._image_stage = session.stage([IMAGE])
        self._text_stage = session.stage([TOKENS])
        self._joint_stage = session.stage([IMAGE, TOKENS], without=[*self._image_stage, *self._text_stage])
        self._last_image: tuple[bytes, dict[str, Any]] | None = None
        self._sentences: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def of_image(self, image: np.ndarray) -> dict[str, Any]:
        """Features of an image.

        Args:
            image: uint8 [H, W, 3].

        Returns:
            Tensors by name, batch 1. Those of the last image are kept, recognised by its content.
        """
        image = np.ascontiguousarray(image)
        key = hashlib.sha256(image.data).digest() + bytes(str(image.shape), "ascii")
        last = self._last_image
        if last is not None and last[0] == key:
            return last[1]
        self._last_image = None  # frees the last image's features before the next are made
        raw = {IMAGE: preprocess(image, self._image_spec)[None]}
        features = raw | self._session.run(raw, self._image_stage)
        self._last_image = (key, features)
        return features

    def of_sentences(self, texts: Sequence[str]) -> list[dict[str, Any]]:
        """Features of sentences, each as tensors by name with batch 1. New ones are computed in one batch.

        Raises:
            InputError: a sentence that is empty or not text.
        """
        with self._lock:
            known = {text: self._sentences[text] for text in texts if text in self._sentences}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            raw = {TOKENS: self._tokenizer(new)}
            batch = raw | {k: to_numpy(v) for k, v in self._session.run(raw, self._text_stage).items()}
            known |= {text: {k: v[i : i + 1] for k, v in batch.items()} for i, text in enumerate(new)}
        with self._lock:
            for text in texts:
                self._sentences[text] = known[text]
                self._sentences.move_to_end(text)
            while len(self._sentences) > _SENTENCES_KEPT:
                self._sentences.popitem(last=False)
        return [known[text] for text in texts]

    def mask_logits(self, image: dict[str, Any], sentence: dict[str, Any]) -> np.ndarray:
        """Answers one sentence about one image: float32 [h, w] at the model's own resolution.

        Sentences go one by one: a batch would copy the image's features for each, which costs more than it saves.
        """
        outputs = self._session.run({**image, **sentence}, self._joint_stage)
        return to_numpy(outputs[MASK])[0, 0]
