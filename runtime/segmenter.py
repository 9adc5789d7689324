"""Asks a bundle where in an image, or in a scene of any size, a sentence's object is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, overload

import numpy as np
from PIL import Image

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.canvas import Canvas
from rsvl.runtime.errors import BundleError, UsageError
from rsvl.runtime.features import Features
from rsvl.runtime.image import ImageSource
from rsvl.runtime.manifest import Manifest, ModelSpec
from rsvl.runtime.result import Segmentation
from rsvl.runtime.scene import Scene, open_scene
from rsvl.runtime.session import Session
from rsvl.runtime.text import Tokenizer
from rsvl.runtime.tiling import Grid, Window

#: Longer sides up to this many times the model's size are taken in one look by default.
WHOLE_UP_TO = 2.5
SMALLEST_TILE = 16

Tile: TypeAlias = Literal["auto", "whole"] | int
Progress: TypeAlias = Callable[[int, int], None]


class Options(TypedDict, total=False):
    """The keyword arguments of `Segmenter.segment`, described there."""

    tile: Tile
    overlap: float
    keep_probability: bool | None
    progress: Progress | None


def load(bundle: str | Path, provider: str | None = None, threads: int | None = None, check: bool = True) -> Segmenter:
    """Loads a bundle to run it.

    Args:
        bundle: a bundle's directory or `.rsvl` file.
        provider: force an ONNX Runtime provider (``cpu``, ``cuda``, ``tensorrt``, ``openvino`` …); None takes the
            fastest that is present and starts; `Segmenter.provider` says which.
        threads: CPU threads; None takes the physical cores.
        check: whether to compare all files' SHA-256 with the manifest.

    Raises:
        BundleError: damaged, incomplete, unsafe, or written by a newer rsvl.
        MissingComponentError: the forced provider is not installed.

    Example::

        segmenter = rsvl.runtime.load("cd2fsan-tiny.rsvl")
        found = segmenter.segment("harbour.png", "the white ship left of the pier")
        found.save("harbour-ship.png")
    """
    return Segmenter(Bundle(bundle, check=check), provider, threads)


class Segmenter:
    """A loaded referring segmenter. It keeps the last image's features, so asking again about it is quick.

    Attributes:
        manifest: what the bundle says of itself.
        provider: short name of the ONNX Runtime provider in use.
    """

    def __init__(self, bundle: Bundle, provider: str | None = None, threads: int | None = None) -> None:
        self.manifest: Manifest = bundle.manifest
        if not any(t.name == "mask_logits" for graph in self.spec.graphs for t in graph.outputs):
            raise BundleError(f"{bundle.source}: a model for {self.spec.task} gives no mask: run it with a newer rsvl")
        self._bundle = bundle  # keeps a packed bundle's unpacked files
        session = Session(bundle, provider, threads)
        tokenizer = Tokenizer.from_file(bundle.path(self.spec.words.tokenizer), self.spec.words)
        self.provider = session.provider
        self._features = Features(session, tokenizer, self.spec.image)

    @property
    def spec(self) -> ModelSpec:
        """The model's declaration."""
        return self.manifest.model

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
        _check_range("threshold", limit, 0, 1)
        _check_range("overlap", overlap, 0, 0.5)
        scene = open_scene(image)
        try:
            encoded = self._features.of_sentences(sentences)
            grid = self._grid(scene, tile, overlap)
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

    def _grid(self, scene: Scene, tile: Tile, overlap: float) -> Grid:
        longer, size = max(scene.height, scene.width), self.spec.image.size
        if tile == "auto":
            tile = "whole" if longer <= WHOLE_UP_TO * size else size
        if tile == "whole":
            return Grid.over(scene.height, scene.width, longer, 0)
        if not isinstance(tile, int) or tile < SMALLEST_TILE:
            raise UsageError(f"tile must be 'auto', 'whole' or pixels from {SMALLEST_TILE} on, not {tile!r}")
        return Grid.over(scene.height, scene.width, tile, round(overlap * tile))

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
        image = self._features.of_image(scene.read(window))
        for sentence, canvas in zip(sentences, canvases, strict=True):
            probability = _sigmoid(_resized(self._features.mask_logits(image, sentence), window))
            if valid is not None:
                probability = probability * valid
            canvas.add(window, probability, weight)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} must be between {low} and {high}, not {value}")


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
