"""Image–text matching: which sentences fit which images. Zero-shot classification, retrieval, embeddings.

Two outputs agree by the absolute difference of their similarities. They are cosines times the model's logit scale, 100
for CLIP: there a difference of 0.1 is one of 0.001 in the cosine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rsvl.runtime.backends.session import to_numpy
from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.reading import read_image
from rsvl.runtime.images.scene import ImageSource, Scene, open_scene
from rsvl.runtime.images.tiling import Tile, Window
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.classification import Classification
from rsvl.runtime.results.matching import Match
from rsvl.runtime.tasks.agreement import Measure, allowed, cosine_measure
from rsvl.runtime.tasks.probabilities import softmax
from rsvl.runtime.tasks.prompts import TEMPLATE
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import TILE_FORMS, Runner
from rsvl.runtime.tasks.tiles import plan_scene, tiles_of

SIMILARITY = "similarity"
MAX_DIFFERENCE = {"fp32": 0.05, "fp16": 0.5, "bf16": 1.0, "int8": 2.0}

IMAGE_EMBEDDING, TEXT_EMBEDDING = "image_embedding", "text_embedding"


class Matcher(Runner):
    """A loaded dual encoder of images and texts. It keeps the last image's features and those of the last 256 texts."""

    gives = (SIMILARITY, IMAGE_EMBEDDING, TEXT_EMBEDDING)
    options = frozenset({"tile", *TILE_FORMS})
    purpose = "compares images with sentences"

    def ask(self, query: Query) -> list[Classification]:
        """See `Runner.ask`; one classification among all labels, or one for each tile where a tile is asked for."""
        sensor, _ = query.only_image
        scene, labels = query.open(sensor, self.image_for(sensor)), query.sentences
        if isinstance(query.tile, int):
            return self.classify_tiles(scene, labels, query.tile, progress=query.progress)
        return [self.classify(scene, labels)]

    def classify(
        self, image: ImageSource, labels: Sequence[str], template: str | Sequence[str] = TEMPLATE
    ) -> Classification:
        """Says which label an image fits, without having been trained on them.

        Args:
            image: a path, an array [H, W] or [H, W, C], a Pillow image, or a scene, resized as a whole to the model's
                size.
            labels: class names or whole sentences, no two alike.
            template: the sentence around a label, with ``{}`` in its place; ``{}`` alone for whole sentences. Each
                label's embeddings are averaged over several, such as `rsvl.runtime.tasks.prompts.SCENE_TEMPLATES`.

        Raises:
            InputError: an image that cannot be read, a label that is empty.
            UsageError: no label, or the same one twice.

        Examples:
            >>> matcher = Matcher.open("matcher.bundle")
            >>> found = matcher.classify("quarters.png", ["red", "green", "blue"])
            >>> {label: round(probability, 3) for label, probability in found.probabilities.items()}
            {'red': 0.5, 'blue': 0.5, 'green': 0.0}
        """
        texts = self._embed_checked(labels, template)
        scene = open_scene(image, self.spec.image)
        return self._classified(scene, labels, self.embed_images([scene]), texts)

    def classify_tiles(
        self,
        image: ImageSource,
        labels: Sequence[str],
        tile: Tile,
        template: str | Sequence[str] = TEMPLATE,
        progress: Progress = silent,
    ) -> list[Classification]:
        """Says which label each tile of a scene fits, row by row; tiles without data are left out.

        Args:
            image: see `classify`.
            labels: see there.
            tile: see `rsvl.runtime.images.tiling.plan_tiles`; tiles overlap where the scene is no multiple of them.
            template: see `classify`.
            progress: called after every tile.

        Raises:
            InputError: as `classify`.
            UsageError: as `classify`; or a tile out of range.

        Examples:
            >>> matcher = Matcher.open("matcher.bundle")
            >>> found = matcher.classify_tiles("squares.png", ["red", "blue"], tile=16)
            >>> [each.label for each in found], found[3].window.corners
            (['red', 'red', 'red', 'blue'], (16, 16, 32, 32))
        """
        texts, scene = self._embed_checked(labels, template), open_scene(image, self.spec.image)
        (grid,) = plan_scene(scene, self.spec.image, tile, overlap=0)
        try:
            return [
                self._classified(scene, labels, self.embed_images([view.pixels]), texts, view.window)
                for view in tiles_of(scene, grid, self.spec.image, tile, progress)
                if view.pixels is not None
            ]
        finally:
            scene.close()

    def _embed_checked(self, labels: Sequence[str], template: str | Sequence[str]) -> np.ndarray:
        if not labels or len(set(labels)) != len(labels):
            raise UsageError("labels must be given, each of them once")
        if any(not label.strip() for label in labels):
            raise InputError("a label is empty: name each class")
        return self.embed_labels(labels, template)

    def _classified(
        self, scene: Scene, labels: Sequence[str], image: np.ndarray, texts: np.ndarray, window: Window | None = None
    ) -> Classification:
        """The labels by their similarity to an image embedding [1, E]: a scene's, or that of a window of it."""
        probabilities = softmax(self._similarity(image, texts)[0])
        order = np.argsort(-probabilities, kind="stable")
        reading = getattr(scene, "reading", None)
        found = {labels[index]: float(probabilities[index]) for index in order}
        limit = None if window is None else 1
        return Classification(found, () if reading is None else (reading,), limit, window, window and scene)

    def retrieve(self, images: Sequence[ImageSource] | np.ndarray, text: str, limit: int | None = None) -> list[Match]:
        """Orders images by how well they fit a text.

        Args:
            images: images, or their embeddings float32 [N, E] from `embed_images`, to search many times.
            text: what to look for, as a whole sentence.
            limit: at most this many; None for all.

        Returns:
            The best first.

        Raises:
            InputError: an image that cannot be read, a text that is empty.

        Examples:
            >>> matcher = Matcher.open("matcher.bundle")
            >>> [match.index for match in matcher.retrieve(["squares.png", "quarters.png"], "the blue square")]
            [1, 0]
        """
        similarity = self.similarity(images, [text])[:, 0]
        order = np.argsort(-similarity, kind="stable")[:limit]
        return [Match(int(index), float(similarity[index])) for index in order]

    def embed_images(self, images: Sequence[ImageSource]) -> np.ndarray:
        """Embeddings of images, float32 [N, E], of length 1."""
        spec = self.spec.image
        rows = [
            to_numpy(self._features.encode_image(read_image(image, spec), spec)[IMAGE_EMBEDDING]) for image in images
        ]
        return np.concatenate(rows)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings of texts, float32 [N, E], of length 1."""
        self.tell_unknown_words(texts)
        return np.concatenate([features[TEXT_EMBEDDING] for features in self._features.encode_sentences(texts)])

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
        (found,) = self._features.run_head(pairs, SIMILARITY)
        return found.reshape(len(first), len(second))


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The largest difference of a similarity, and the mean cosine of the embeddings where they are given."""
    difference = float(np.abs(expected[SIMILARITY].astype(np.float64) - actual[SIMILARITY]).max())
    embeddings = [name for name in (IMAGE_EMBEDDING, TEXT_EMBEDDING) if name in expected]
    return (
        Measure("similarity difference", difference, allowed(MAX_DIFFERENCE, precision)),
        *(cosine_measure(name, expected[name], actual[name], precision) for name in embeddings),
    )


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The similarity itself: matches are most informative."""
    return expected[SIMILARITY].astype(np.float64)
