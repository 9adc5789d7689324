"""Referring segmentation: where in an image, or in a scene of any size, a sentence's object is.

Two outputs agree by the IoU of their masks and by their logits. A mask is where the probability exceeds the declared
threshold. Two rules keep the comparison meaningful:

- A small mask cannot agree to 1 % and still differ in a pixel, and a pixel on the border is within rounding: samples
  with fewer than `MIN_PIXELS` in both masks together count in the IoU of all samples taken as one mask.
- Where all samples' masks at the threshold together have fewer than that inside or outside, as with random weights,
  they say nothing: the masks are then cut at the median of all reference logits, where half of the pixels are inside
  and most of them have a chance to fall on the wrong side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np
from PIL import Image

from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.scene import ImageSource, open_scene
from rsvl.runtime.images.tiling import Grid, Tile, check_range
from rsvl.runtime.manifest import ModelSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.objects import Judge, ObjectFilter
from rsvl.runtime.results.segmentation import Segmentation
from rsvl.runtime.tasks.agreement import RELATIVE, Coverage, Measure, allowed, differing, relative_difference
from rsvl.runtime.tasks.features import repeated
from rsvl.runtime.tasks.mask_accumulator import MaskAccumulator, largest
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner
from rsvl.runtime.tasks.tiles import TileView, batches, plan_scene, tiles_of

if TYPE_CHECKING:  # from 3.11 on it is in typing
    from typing_extensions import Unpack

MASK = "mask_logits"
MIN_PIXELS = 1000
MIN_IOU = {"fp32": 0.995, "fp16": 0.99, "bf16": 0.98, "int8": 0.95}


class Options(TypedDict, total=False):
    """The keyword arguments of `Segmenter.segment`, described there."""

    tile: Tile
    overlap: float
    scales: Sequence[float]
    keep_probability: bool | None
    keep: ObjectFilter | None
    batch: int | None
    progress: Progress


class Segmenter(Runner):
    """A loaded referring segmenter. It keeps the last image's features, so that asking again about it is quick."""

    gives = (MASK,)
    options = frozenset(
        (
            *(
                "threshold",
                "tile",
                "overlap",
                "scales",
                "gsd",
                "batch",
                "limit",
                "min-score",
                "min-area",
                "presence",
                "simplify",
                "aoi",
                "workers",
                "ray",
            ),
            *("geotiff", "geojson", "projected", "gpkg", "geoparquet", "mask", "probability"),
        )
    )
    purpose = "gives masks"

    def ask(self, query: Query) -> list[Segmentation]:
        """See `Runner.ask`; one segmentation per sentence, without its probability map."""
        sensor, _ = query.only_image
        sentences, scene = query.sentences, query.open(sensor, self.image_for(sensor))
        options: Options = {
            "tile": query.tile,
            "overlap": query.overlap,
            "scales": query.scales,
            "batch": query.batch,
            "progress": query.progress,
            "keep": query.keep,
            "keep_probability": False,
        }
        return self.segment(scene, sentences, query.threshold, **options)

    @overload
    def segment(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
        self, image: ImageSource, texts: str, threshold: float | None = ..., **options: Unpack[Options]
    ) -> Segmentation: ...

    @overload
    def segment(
        self,
        image: ImageSource,
        texts: Sequence[str],
        threshold: float | None = ...,
        **options: Unpack[Options],
    ) -> list[Segmentation]: ...

    def segment(
        self,
        image: ImageSource,
        texts: str | Sequence[str],
        threshold: float | None = None,
        *,
        tile: Tile = "auto",
        overlap: float = 0.25,
        scales: Sequence[float] = (1.0,),
        keep_probability: bool | None = None,
        keep: ObjectFilter | None = None,
        batch: int | None = None,
        progress: Progress = silent,
    ) -> Segmentation | list[Segmentation]:
        """Finds what sentences name in an image.

        A large scene is processed in overlapping tiles, whose probabilities are blended smoothly; a tile sees only
        itself, so words that relate to the whole scene ("the northernmost …") mean the tile. Tiles without data are
        skipped. A GeoTIFF is read tile by tile and memory grows with one row of tiles and one mask per sentence.

        Args:
            image: a path, an array [H, W] or [H, W, C], a Pillow image, or a `Scene`.
            texts: a sentence, or several; the image is encoded once for all.
            threshold: probability above which a pixel is taken, 0…1; None takes the model's own.
            tile: "whole" resizes the image to the model's size; a number cuts it into tiles of that many pixels; "auto"
                cuts a scene larger than the images that the model has learned from into tiles of their size.
            overlap: the minimum overlap of neighbouring tiles, as a fraction of the tile, 0 to 0.5.
            scales: at which the scene is looked at; at 0.5 a tile covers twice as much and is shown as small, so that
                objects are found that are larger than a tile. A pixel's probability is the largest of all scales.
            keep_probability: whether results carry the probability map; None keeps it except for tiled scenes.
            keep: which of the masks' objects the results give; None drops those smaller than `cell_area`.
            batch: how many tiles the model is given at once; None takes `Runner.usual_batch`.
            progress: called after every tile.

        Returns:
            One segmentation for one sentence, a list for a sequence.

        Raises:
            InputError: an image that cannot be read, a sentence that is empty.
            UsageError: a threshold, tile or overlap out of range.

        Examples:
            >>> segmenter = Segmenter.open("tiny.bundle")
            >>> found = segmenter.segment("squares.png", "the red square")
            >>> found.box, found.area, f"{found.score:.2f}"
            ((10, 5, 20, 15), 100, '1.00')
            >>> found.save("red.png")
        """
        sentences = [texts] if isinstance(texts, str) else list(texts)
        if not sentences:
            raise UsageError("no sentence: say what to look for")
        limit = self.spec.threshold if threshold is None else threshold
        check_range("threshold", limit, 0, 1)
        scene = open_scene(image, self.spec.image)
        try:
            self.tell_unknown_words(sentences)
            encoded = self._features.encode_sentences(sentences)
            grids = plan_scene(scene, self.spec.image, tile, overlap, scales)
            keep_all = len(grids[0]) == 1 if keep_probability is None else keep_probability
            found_at = []
            for grid in grids:
                found_at.append([MaskAccumulator(*grid.size, limit, keep_all or len(grids) > 1) for _ in sentences])
                tiles = tiles_of(scene, grid, self.spec.image, tile, progress)
                self._run_tiles(found_at[-1], grid, tiles, encoded, self.checked_batch(batch))
            accumulators = [largest(each, keep_all) for each in zip(*found_at, strict=True)]
        finally:
            scene.close()
        found = [
            Segmentation(
                text,
                each.mask,
                each.score,
                limit,
                each.probability,
                scene.georeference,
                scene,
                np.concatenate(each.inside),
                keep or ObjectFilter(min_area=self.cell_area(grids)),
                self.judge(grids),
            )
            for text, each in zip(sentences, accumulators, strict=True)
        ]
        return found[0] if isinstance(texts, str) else found

    def judge(self, grids: Sequence[Grid]) -> Judge | None:
        """What says whether an object is what the sentence names; None where the bundle was not calibrated.

        Args:
            grids: as for `cell_area`.
        """
        presence = self.manifest.presence
        return None if presence is None else Judge(presence, self.cell_area(grids))

    def cell_area(self, grids: Sequence[Grid]) -> float:
        """Pixels of the scene that one value of the model's own mask stands for: what is smaller, it cannot tell.

        Args:
            grids: the scene's tiles at each scale, of which the smallest count.
        """
        sides = self.spec.final_outputs[MASK].shape[-2:]
        tile = min((grid.rows.extent, grid.columns.extent) for grid in grids)
        return math.prod(
            max(1.0, length / side) if isinstance(side, int) else 1.0 for length, side in zip(tile, sides, strict=True)
        )

    def _run_tiles(
        self,
        accumulators: Sequence[MaskAccumulator],
        grid: Grid,
        tiles: Iterable[TileView],
        sentences: Sequence[dict[str, Any]],
        batch: int,
    ) -> None:
        """Runs tile after tile; each row of tiles finalizes the rows of the masks that it ends."""
        for tile, seen in self.look_at(tiles, sentences, batch):
            weight = grid.weight(tile.row, tile.column)
            for accumulator in accumulators:
                probability = next(seen, None)
                if probability is not None:
                    accumulator.add(tile.window, probability, weight)
                if grid.ends_row(tile.column):  # at once: no more than one sentence's row of floats is kept untiled
                    accumulator.finalize_rows(grid.final_rows(tile.row))

    def look(self, tile: TileView, sentences: Iterable[dict[str, Any]]) -> Iterator[np.ndarray]:
        """What a tile shows of each sentence.

        Args:
            tile: a part of a scene.
            sentences: the sentences' features.

        Returns:
            Probabilities float32 [h, w] over the tile's window, one after the other; none of a tile without data.
        """
        if tile.pixels is not None:
            for logits in self._logits([tile], sentences):
                yield self._probability(tile, logits[0, 0])

    def look_at(
        self, tiles: Iterable[TileView], sentences: Sequence[dict[str, Any]], batch: int = 1
    ) -> Iterator[tuple[TileView, Iterator[np.ndarray]]]:
        """The same for many tiles, of which the model is given `batch` at once.

        Returns:
            Each tile with its probabilities, as from `look`.
        """
        for some in batches(tiles, batch):
            shown = [tile for tile in some if tile.pixels is not None]
            if len(shown) == 1:
                yield from ((tile, self.look(tile, sentences)) for tile in some)
                continue
            logits = list(self._logits(shown, sentences))
            number = {id(tile): i for i, tile in enumerate(shown)}
            yield from ((tile, self._probabilities(tile, logits, number.get(id(tile)))) for tile in some)

    def _logits(self, tiles: Sequence[TileView], sentences: Iterable[dict[str, Any]]) -> Iterator[np.ndarray]:
        """The model's logits [N, 1, h, w] of tiles with data, sentence by sentence."""
        pixels = [tile.pixels for tile in tiles if tile.pixels is not None]
        if pixels:
            images = self._features.encode_images(pixels, self.spec.image)
            for sentence in sentences:
                yield self._features.run_head({**images, **repeated(sentence, len(pixels))}, MASK)[0]

    def _probabilities(self, tile: TileView, logits: list[np.ndarray], number: int | None) -> Iterator[np.ndarray]:
        """One tile's probabilities from the logits of several; none where it has no number among them."""
        if number is not None:
            for each in logits:
                yield self._probability(tile, each[number, 0])

    def _probability(self, tile: TileView, logits: np.ndarray) -> np.ndarray:
        """What one tile shows of a sentence, float32 [h, w] over its window, 0 where there is no data."""
        assert tile.pixels is not None
        shown = logits_at(logits, tile.pixels.shape[:2], self.spec)
        probability = _sigmoid_in_place(shown[tile.inner.slices])
        return probability if tile.valid is None else probability * tile.valid


def _sigmoid_in_place(logits: np.ndarray) -> np.ndarray:
    probability = np.clip(-logits, -60, 60)  # in place from here: a scene's tile has no need of four copies
    np.exp(probability, out=probability)
    probability += 1
    return np.reciprocal(probability, out=probability)


def logits_at(logits: np.ndarray, shape: tuple[int, ...], spec: ModelSpec) -> np.ndarray:
    """A model's logits at the pixels of the image that it was shown, without a letterbox's border.

    Args:
        logits: [h, w], of the model's whole square input.
        shape: the image's [H, W].
        spec: the model's declaration.

    Returns:
        float32 [H, W], bilinear as in PyTorch's `interpolate`.
    """
    logits = np.ascontiguousarray(logits, np.float32)
    height, width = shape[:2]
    box = placement(height, width, spec.image).in_map(len(logits), spec.align_corners)
    if logits.shape == shape and box == (0, 0, width, height):
        return logits
    return np.asarray(Image.fromarray(logits).resize((width, height), Image.Resampling.BILINEAR, box))


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The minimum IoU of the masks that counts, and the relative difference of their logits."""
    cut, _ = mask_cut(expected[MASK], spec.threshold)
    _, minimum = mask_ious(expected[MASK], actual[MASK], cut)
    return (
        Measure("mask IoU", minimum, allowed(MIN_IOU, precision), at_least=True),
        Measure(
            "relative logit difference",
            relative_difference(expected[MASK], actual[MASK]),
            allowed(RELATIVE, precision),
        ),
    )


def coverage(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> Coverage:
    """What `differing` says, and the share of pixels in the masks."""
    found = differing(spec, expected)
    cut = math.log(spec.threshold / (1 - spec.threshold))
    inside = int((expected[MASK] > cut).sum())
    lack = found.lack
    if not lack and inside in (0, expected[MASK].size):
        lack = f"the masks are all {'foreground' if inside else 'background'}, only logits were compared"
    return Coverage({**found.values, "foreground": inside / expected[MASK].size}, lack)


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """Largest where the mask covers half of the image: an empty mask would agree with almost anything."""
    cut, _ = mask_cut(expected[MASK], spec.threshold)
    return -np.abs((expected[MASK] > cut).mean(axis=(1, 2, 3)) - 0.5)


def mask_cut(logits: np.ndarray, threshold: float) -> tuple[float, str]:
    """The logit at which masks are cut, and which it is, ``threshold`` or ``median``: see the module's docstring.

    Args:
        logits: reference logits [N, 1, h, w].
        threshold: probability in (0, 1).
    """
    cut = math.log(threshold / (1 - threshold))
    inside = int((logits > cut).sum())
    if min(inside, logits.size - inside) >= MIN_PIXELS:
        return cut, "threshold"
    return float(np.median(logits)), "median"


def mask_ious(expected: np.ndarray, actual: np.ndarray, cut: float) -> tuple[np.ndarray, float]:
    """Agreement of the masks ``logits > cut`` of two arrays of logits [N, 1, h, w].

    Returns:
        Each sample's intersection over union, float64 [N], 1 where both masks are empty; and the minimum that counts:
        over the samples with `MIN_PIXELS` or more, and over all samples taken as one mask.
    """
    a, b = ((logits > cut).reshape(len(logits), -1) for logits in (expected, actual))
    both, either = (a & b).sum(axis=1), (a | b).sum(axis=1)
    ious = np.where(either == 0, 1.0, both / np.maximum(either, 1))
    together = both.sum() / either.sum() if either.any() else 1.0
    return ious, float(min([together, *ious[either >= MIN_PIXELS]]))
