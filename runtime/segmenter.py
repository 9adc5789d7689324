"""Asks a bundle where in an image, or in a scene of any size, a sentence's object is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, overload

import numpy as np
from PIL import Image

from rsvl.runtime.agreement.masks import MASK
from rsvl.runtime.canvas import Canvas
from rsvl.runtime.errors import UsageError
from rsvl.runtime.image import ImageSource
from rsvl.runtime.result import Segmentation
from rsvl.runtime.runner import Runner
from rsvl.runtime.scene import Scene, open_scene
from rsvl.runtime.tiling import Grid, Progress, Tile, Window, check_range, looks


class Options(TypedDict, total=False):
    """The keyword arguments of `Segmenter.segment`, described there."""

    tile: Tile
    overlap: float
    keep_probability: bool | None
    progress: Progress | None


class Segmenter(Runner):
    """A loaded referring segmenter. It keeps the last image's features, so that asking again about it is quick."""

    gives = (MASK,)

    @overload
    def segment(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
        self, image: ImageSource | Scene, texts: str, threshold: float | None = ..., **options: Unpack[Options]
    ) -> Segmentation: ...

    @overload
    def segment(
        self,
        image: ImageSource | Scene,
        texts: Sequence[str],
        threshold: float | None = ...,
        **options: Unpack[Options],
    ) -> list[Segmentation]: ...

    def segment(
        self,
        image: ImageSource | Scene,
        texts: str | Sequence[str],
        threshold: float | None = None,
        *,
        tile: Tile = "auto",
        overlap: float = 0.25,
        keep_probability: bool | None = None,
        progress: Progress | None = None,
    ) -> Segmentation | list[Segmentation]:
        """Finds what sentences name in an image.

        A large scene is looked at in overlapping tiles, whose probabilities are blended smoothly; a tile sees only
        itself, so words that relate to the whole scene ("the northernmost …") mean the tile. Tiles without data are
        skipped. A GeoTIFF is read tile by tile and memory grows with one row of tiles and one mask a sentence.

        Args:
            image: a path, an array [H, W] or [H, W, C], a Pillow image, or a `Scene`.
            texts: a sentence, or several; the image is encoded once for all.
            threshold: probability above which a pixel is taken, 0…1; None takes the model's own.
            tile: "whole" resizes the image to the model's size; a number cuts it into tiles of that many pixels; "auto"
                is whole while the longer side is at most 2.5 times the model's size, else tiles of the model's size.
            overlap: the least overlap of neighbouring tiles, as a part of the tile, 0 to 0.5.
            keep_probability: whether results carry the probability map; None keeps it except for tiled scenes.
            progress: called with (tiles done, tiles in all) after every tile.

        Returns:
            One segmentation for one sentence, a list for a sequence.

        Raises:
            InputError: an image that cannot be read, a sentence that is empty.
            UsageError: a threshold, tile or overlap out of range.
        """
        sentences = [texts] if isinstance(texts, str) else list(texts)
        if not sentences:
            raise UsageError("no sentence: say what to look for")
        limit = self.spec.threshold if threshold is None else threshold
        check_range("threshold", limit, 0, 1)
        scene = open_scene(image, self.spec.image)
        try:
            encoded = self._features.of_sentences(sentences)
            grid = looks(scene.height, scene.width, self.spec.image.size, tile, overlap)
            keep = len(grid) == 1 if keep_probability is None else keep_probability
            canvases = [Canvas(scene.height, scene.width, limit, keep) for _ in sentences]
            self._paint(canvases, scene, grid, encoded, progress)
        finally:
            scene.close()
        found = [
            Segmentation(text, canvas.mask, canvas.score, limit, canvas.probability, scene.georeference, scene)
            for text, canvas in zip(sentences, canvases, strict=True)
        ]
        return found[0] if isinstance(texts, str) else found

    def _paint(
        self,
        canvases: Sequence[Canvas],
        scene: Scene,
        grid: Grid,
        sentences: Sequence[dict[str, Any]],
        progress: Progress | None,
    ) -> None:
        """Looks at tile after tile; each row of tiles settles the rows of the masks that it ends."""
        for done, (row, column) in enumerate(grid, start=1):
            self._look(canvases, scene, grid.window(row, column), grid.weight(row, column), sentences)
            if grid.ends_row(column):
                for canvas in canvases:
                    canvas.settle(grid.final_rows(row))
            if progress is not None:
                progress(done, len(grid))

    def _look(
        self,
        canvases: Sequence[Canvas],
        scene: Scene,
        window: Window,
        weight: np.ndarray,
        sentences: Sequence[dict[str, Any]],
    ) -> None:
        """Adds what one window shows of each sentence to its canvas; a window without data adds nothing."""
        valid = scene.valid(window)
        if valid is not None and not valid.any():
            return
        image = self._features.of_image(scene.read(window), self.spec.image)
        for sentence, canvas in zip(sentences, canvases, strict=True):
            (logits,) = self._features.together({**image, **sentence}, MASK)
            probability = _sigmoid(_resized(logits[0, 0], window))
            if valid is not None:
                probability = probability * valid
            canvas.add(window, probability, weight)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    probability = np.clip(-logits, -60, 60)  # in place from here: a scene's tile has no need of four copies
    np.exp(probability, out=probability)
    probability += 1
    return np.reciprocal(probability, out=probability)


def _resized(logits: np.ndarray, window: Window) -> np.ndarray:
    """The logits [h, w] at the window's own size, float32, bilinear as in PyTorch's `interpolate`."""
    logits = np.ascontiguousarray(logits, np.float32)
    if logits.shape == (window.height, window.width):
        return logits
    size = (window.width, window.height)
    return np.asarray(Image.fromarray(logits).resize(size, Image.Resampling.BILINEAR))
