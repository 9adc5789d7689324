"""Scene classification: which of a model's own classes an image shows, or each tile of a scene.

Two outputs agree by the class and by the probabilities of all (`rsvl.runtime.tasks.choices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from rsvl.runtime.backends.session import to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, InputError, UsageError
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import ImageSource, Scene, open_scene
from rsvl.runtime.images.tiling import Grid, Tile, usual_side
from rsvl.runtime.manifest import ImageSpec, ModelSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.classification import Classification
from rsvl.runtime.tasks.agreement import Coverage, Measure, differing
from rsvl.runtime.tasks.choices import compare_choices, cover_choices, lead
from rsvl.runtime.tasks.probabilities import softmax
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import TILE_FORMS, Runner
from rsvl.runtime.tasks.tiles import plan_scene, tiles_of

LOGITS = "logits"
WHOLE = 4
"""An image of up to so many times the side that the model has learned is one scene, unless a tile is asked for."""

_SHOWN = 5
"""Classes of an image that are shown where nobody says how many; of a tile it is one."""


class Classifier(Runner):
    """A loaded scene classifier.

    Attributes:
        classes: the class names, in the order of the logits.
    """

    gives = (LOGITS,)
    options = frozenset({"limit", "tile", *TILE_FORMS})
    purpose = "gives scene classes"

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        """See `Runner`.

        Raises:
            BundleError: not as many class names as logits.
        """
        super().__init__(bundle, provider, threads)
        count = self.spec.final_outputs[LOGITS].shape[-1]
        self.classes = self.spec.classes or unnamed(int(count))
        if len(self.classes) != count:
            raise BundleError(
                f"{bundle.source}: {len(self.classes)} class names for {count} logits: export it again with --classes"
            )

    def ask(self, query: Query) -> list[Classification]:
        """See `Runner.ask`; one classification of an image, or one for each tile of a scene.

        Raises:
            UsageError: a text is given.
        """
        if query.texts:
            raise UsageError(
                f"{self.spec.name} knows its own {len(self.classes)} classes and reads no text: leave --text out, or "
                "take a model of image-text matching for labels of your own"
            )
        sensor, _ = query.only_image
        scene = query.open(sensor, self.image_for(sensor))
        if _is_whole(scene, self.image_for(sensor), query.tile):
            return [self.classify(scene, query.limit, sensor)]
        return self.classify_tiles(scene, query.limit, sensor, query.tile, query.progress)

    def classify(self, image: ImageSource, limit: int | None = None, sensor: str = "optical") -> Classification:
        """Says which class an image shows; it is resized as a whole to the model's size.

        Args:
            image: a path, an array [H, W] or [H, W, C], a Pillow image, or a scene.
            limit: how many classes the result shows (`Classification.limit`); None for the likeliest five.
            sensor: ``optical`` or ``sar``: what made the image.

        Raises:
            InputError: an image that cannot be read.
            UsageError: an image of a sensor that the model does not take.

        Examples:
            >>> classifier = Classifier.open("classifier.bundle")
            >>> found = classifier.classify("quarters.png")
            >>> found.label, f"{found.probability:.2f}"
            ('red', '0.50')
        """
        spec = self.image_for(sensor)
        scene = open_scene(image, spec, ReadOptions(sensor=sensor))
        probabilities = self._probabilities(scene.read(), spec)
        reading = getattr(scene, "reading", None)
        scene.close()
        return Classification(probabilities, () if reading is None else (reading,), limit or _SHOWN)

    def classify_tiles(
        self,
        image: ImageSource,
        limit: int | None = None,
        sensor: str = "optical",
        tile: Tile = "auto",
        progress: Progress = silent,
    ) -> list[Classification]:
        """Says which class each tile of a scene shows, row by row; tiles without data are left out.

        Args:
            image: see `classify`.
            limit: how many classes a tile's result shows; None for the likeliest one.
            sensor: ``optical`` or ``sar``.
            tile: see `rsvl.runtime.images.tiling.plan_tiles`; tiles overlap where the scene is no multiple of them.
            progress: called after every tile.

        Raises:
            InputError: an image that cannot be read, or no pixel of which holds data.
            UsageError: a tile out of range, or an image of a sensor that the model does not take.

        Examples:
            >>> classifier = Classifier.open("classifier.bundle")
            >>> upper_left, *_, lower_right = classifier.classify_tiles("squares.png", tile=16)
            >>> upper_left.label, lower_right.label
            ('red', 'blue')
        """
        spec = self.image_for(sensor)
        scene = open_scene(image, spec, ReadOptions(sensor=sensor))
        (grid,) = plan_scene(scene, spec, tile, overlap=0)
        try:
            found = list(self._of_tiles(scene, grid, spec, tile, limit or 1, progress))
        finally:
            scene.close()
        if not found:
            raise InputError("no pixel of the image holds data: give another image, or say with --nodata what is void")
        return found

    def _of_tiles(
        self, scene: Scene, grid: Grid, spec: ImageSpec, tile: Tile, limit: int, progress: Progress
    ) -> Iterator[Classification]:
        reading = getattr(scene, "reading", None)
        readings = () if reading is None else (reading,)
        for view in tiles_of(scene, grid, spec, tile, progress):
            if view.pixels is not None:
                yield Classification(self._probabilities(view.pixels, spec), readings, limit, view.window, scene)

    def _probabilities(self, pixels: np.ndarray, spec: ImageSpec) -> dict[str, float]:
        """Each class's probability, the likeliest first."""
        features: dict[str, Any] = self._features.encode_image(pixels, spec)
        logits = to_numpy(features[LOGITS]) if LOGITS in features else self._features.run_head(features, LOGITS)[0]
        found = calibrated(logits, self.spec.temperature)[0]
        return {self.classes[index]: float(found[index]) for index in np.argsort(-found, kind="stable")}


def calibrated(logits: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities of logits [..., C] at a temperature, float64."""
    return softmax(logits.astype(np.float64) / temperature)


def unnamed(count: int) -> tuple[str, ...]:
    """What classes are called that nobody named."""
    return tuple(f"class {index}" for index in range(count))


def _is_whole(scene: Scene, spec: ImageSpec, tile: Tile) -> bool:
    """Whether a scene is one image for a model, and not a table of tiles."""
    return tile == "whole" or (tile == "auto" and max(scene.height, scene.width) <= WHOLE * usual_side(spec))


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The share of samples with the same class, and the largest difference of a probability."""
    first, second = (each[LOGITS].astype(np.float64) / spec.temperature for each in (expected, actual))
    return compare_choices("classes", first, second, precision)


def coverage(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> Coverage:
    """What `differing` says, and how many classes there were."""
    return cover_choices("class", "classes", differing(spec, expected), expected[LOGITS])


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The likeliest class's lead over the second."""
    return lead(expected[LOGITS].astype(np.float64) / spec.temperature)
