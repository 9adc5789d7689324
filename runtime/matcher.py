"""Asks a bundle which sentences fit which images: zero-shot classification, retrieval, embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.runtime.agreement.answers import softmax
from rsvl.runtime.agreement.similarity import SIMILARITY
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.image import ImageSource, read_image
from rsvl.runtime.prompts import TEMPLATE
from rsvl.runtime.runner import Runner
from rsvl.runtime.session import to_numpy

IMAGE_EMBEDDING, TEXT_EMBEDDING = "image_embedding", "text_embedding"


@dataclass(frozen=True)
class Classification:
    """Which of the labels an image fits.

    Attributes:
        probabilities: each label's probability, 0…1, the likeliest first; they sum to 1.
    """

    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        """The likeliest label."""
        return next(iter(self.probabilities))

    @property
    def probability(self) -> float:
        """The likeliest label's probability."""
        return self.probabilities[self.label]

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {"label": self.label, "probability": self.probability, "probabilities": dict(self.probabilities)}


@dataclass(frozen=True)
class Match:
    """An image that was retrieved: its place in what was given, and its similarity to the text (a scaled logit)."""

    index: int
    similarity: float


class Matcher(Runner):
    """A loaded dual encoder of images and texts. It keeps the last image's features and those of the last 256 texts."""

    gives = (SIMILARITY, IMAGE_EMBEDDING, TEXT_EMBEDDING)

    def classify(
        self, image: ImageSource, labels: Sequence[str], template: str | Sequence[str] = TEMPLATE
    ) -> Classification:
        """Says which label an image fits, without having been trained on them.

        Args:
            image: a path, an array [H, W] or [H, W, C], or a Pillow image, seen whole at the model's size.
            labels: class names or whole sentences, no two alike.
            template: the sentence around a label, with ``{}`` in its place; ``{}`` alone for whole sentences. Each
                label's embeddings are averaged over several, such as `rsvl.runtime.prompts.SCENE_TEMPLATES`.

        Raises:
            InputError: an image that cannot be read, a label that is empty.
            UsageError: no label, or the same one twice.
        """
        if not labels or len(set(labels)) != len(labels):
            raise UsageError("labels must be given, each of them once")
        if any(not label.strip() for label in labels):
            raise InputError("a label is empty: name each class")
        texts = self.embed_labels(labels, template)
        probabilities = softmax(self._similarity(self.embed_images([image]), texts)[0])
        order = np.argsort(-probabilities, kind="stable")
        return Classification({labels[index]: float(probabilities[index]) for index in order})

    def retrieve(self, images: Sequence[ImageSource] | np.ndarray, text: str, limit: int | None = None) -> list[Match]:
        """Orders images by how well they fit a text.

        Args:
            images: images, or their embeddings float32 [N, E] from `embed_images`, to search many times.
            text: what to look for, as a whole sentence.
            limit: only the first so many.

        Returns:
            The best first.

        Raises:
            InputError: an image that cannot be read, a text that is empty.
        """
        similarity = self.similarity(images, [text])[:, 0]
        order = np.argsort(-similarity, kind="stable")[:limit]
        return [Match(int(index), float(similarity[index])) for index in order]

    def embed_images(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Embeddings of images, float32 [N, E], of length 1."""
        spec = self.spec.image
        rows = [to_numpy(self._features.of_image(read_image(image, spec), spec)[IMAGE_EMBEDDING]) for image in images]
        return np.concatenate(rows)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts, float32 [N, E], of length 1."""
        return np.concatenate([features[TEXT_EMBEDDING] for features in self._features.of_sentences(texts)])

    def embed_labels(self, labels: Sequence[str], template: str | Sequence[str] = TEMPLATE) -> np.ndarray:
        """Embeddings of labels, float32 [N, E], of length 1: of each in the template, or the mean over several."""
        templates = [template] if isinstance(template, str) else list(template)
        total = sum(self.embed_texts([each.replace("{}", label) for label in labels]) for each in templates)
        rows = np.asarray(total, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def similarity(self, images: Sequence[ImageSource] | np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Similarity of every image, or image embedding [N, E], with every text: float32 [N, M], scaled logits."""
        embedded = isinstance(images, np.ndarray) and images.ndim == 2 and images.dtype == np.float32
        first = images if isinstance(images, np.ndarray) and embedded else self.embed_images(list(images))
        return self._similarity(first, self.embed_texts(texts))

    def _similarity(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Similarity of every image embedding [N, E] with every text's [M, E]: float32 [N, M], scaled logits."""
        pairs = {
            IMAGE_EMBEDDING: np.repeat(first, len(second), axis=0),
            TEXT_EMBEDDING: np.tile(second, (len(first), 1)),
        }
        (found,) = self._features.together(pairs, SIMILARITY)
        return found.reshape(len(first), len(second))
