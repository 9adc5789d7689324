"""Visual grounding: the boxes of what sentences name, in an image or in a scene of any size.

Two outputs agree by the IoU of the best box and by its probability. Two candidates of almost the same score may change
places: the expected best box is looked for among all candidates whose probability is within the limit of the best
one's. All other candidates count by the IoU with what stands for them in the other output, weighted by probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np

from rsvl.runtime.backends.session import to_numpy
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.area import AreaScene
from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.scene import ImageSource, Scene, open_scene
from rsvl.runtime.images.tiling import Tile, Window, check_range
from rsvl.runtime.manifest import ImageSpec, ModelSpec
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.results.grounding import Grounding
from rsvl.runtime.tasks.agreement import MEAN_BOX_DIFFERENCE, Measure, allowed, cosine_measure
from rsvl.runtime.tasks.boxes import pairwise_iou, suppress
from rsvl.runtime.tasks.features import repeated
from rsvl.runtime.tasks.probabilities import sigmoid
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.runner import Runner
from rsvl.runtime.tasks.tiles import TileView, batches, plan_scene, tiles_of

if TYPE_CHECKING:  # from 3.11 on it is in typing
    from typing_extensions import Unpack

SCORES, BOXES = "scores", "found_boxes"
MIN_IOU = {"fp32": 0.99, "fp16": 0.97, "bf16": 0.95, "int8": 0.9}
MAX_DIFFERENCE = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}
MIN_CANDIDATES_IOU = {"fp32": 0.98, "fp16": 0.9, "bf16": 0.8, "int8": 0.6}
_COMPARED = 256
"""Candidates of a sample that are compared, the best ones."""

REGIONS, REGION_BOXES, SENTENCE = "regions", "boxes", "sentence"

#: Two boxes of one sentence with more than this IoU are one object.
SAME_IOU = 0.5
#: In a tiled scene so are two of which the smaller lies in the other by more than this: a tile sees a part of what its
#: neighbour sees whole.
SAME_PART = 0.7
#: A box this near to a tile's inner edge, in pixels of the model's input, is taken to be cut by it.
EDGE = 2.0

Candidates = tuple[np.ndarray, np.ndarray]
"""Boxes [K, 4] in 0…1 of what the model is given, and their scores [K]."""

TilesFn = Callable[[list[np.ndarray], list[dict[str, Any]]], list[list[Candidates]]]
"""From the pixels of windows, uint8 [h, w, 3], and the sentences' features to each window's candidates by sentence."""


class Options(TypedDict, total=False):
    """The keyword arguments of `Grounder.ground` and `match`, described there."""

    sensor: str
    limit: int | None
    tile: Tile
    overlap: float
    scales: Sequence[float]
    batch: int | None
    progress: Progress


class Grounder(Runner):
    """A loaded visual grounder. It keeps the last image's features, so that asking again about it is quick."""

    gives = (SCORES, BOXES)
    options = frozenset(
        {
            "threshold",
            "limit",
            "tile",
            "overlap",
            "scales",
            "gsd",
            "batch",
            "geojson",
            "projected",
            "gpkg",
            "geoparquet",
            "aoi",
            "workers",
            "ray",
        }
    )
    purpose = "gives boxes and no masks"

    def ask(self, query: Query) -> list[Grounding]:
        """See `Runner.ask`; one grounding per sentence."""
        sensor, _ = query.only_image
        sentences, scene = query.sentences, query.open(sensor, self.image_for(sensor))
        options: Options = {"sensor": sensor, "limit": query.limit, "tile": query.tile, "progress": query.progress}
        options |= {"overlap": query.overlap, "scales": query.scales, "batch": query.batch}
        return self.ground(scene, sentences, query.threshold, **options)

    @overload
    def ground(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too
        self, image: ImageSource, texts: str, threshold: float | None = ..., **options: Unpack[Options]
    ) -> Grounding: ...
    @overload
    def ground(
        self,
        image: ImageSource,
        texts: Sequence[str],
        threshold: float | None = ...,
        **options: Unpack[Options],
    ) -> list[Grounding]: ...
    def ground(
        self,
        image: ImageSource,
        texts: str | Sequence[str],
        threshold: float | None = None,
        *,
        sensor: str = "optical",
        limit: int | None = None,
        tile: Tile = "auto",
        overlap: float = 0.25,
        scales: Sequence[float] = (1.0,),
        batch: int | None = None,
        progress: Progress = silent,
    ) -> Grounding | list[Grounding]:
        """Finds the boxes of what sentences name, each sentence by the model's own refinement.

        A large scene is processed in overlapping tiles, whose boxes are merged; a tile sees only itself, so words that
        relate to the whole scene mean the tile. Tiles without data are skipped.

        Args:
            image: a path, an array [H, W] or [H, W, C], a Pillow image, or a `Scene`.
            texts: a sentence, or several; the image is encoded once for all.
            threshold: probability that a box must exceed, 0…1; None takes the model's own.
            sensor: ``optical`` or ``sar``: what made the image.
            limit: the most boxes that a sentence gives, the best ones; None gives all. `Grounding.left_out` counts
                the others.
            tile: see `rsvl.runtime.images.tiling.plan_tiles`.
            overlap: see there; larger than the largest object is best.
            scales: at which the scene is looked at, see `rsvl.runtime.images.tiling.plan_scales`; the boxes of all are
                merged as those of tiles are.
            batch: how many tiles the model is given at once; None takes `Runner.usual_batch`.
            progress: called after every tile.

        Returns:
            One result for one sentence, a list for a sequence.

        Raises:
            InputError: an image that cannot be read, a sentence that is empty.
            UsageError: an option out of range, or a sensor that the model does not know.

        Examples:
            >>> grounder = Grounder.open("grounder.bundle")
            >>> grounder.ground("quarters.png", "the red square").box
            (0.0, 0.0, 8.0, 8.0)
        """
        spec, threshold = self.image_for(sensor), self.spec.threshold if threshold is None else threshold
        check_range("threshold", threshold, 0, 1)
        candidates = self._refined(spec)
        return self._search(
            image, texts, threshold, spec, sensor, limit, tile, overlap, scales, batch, progress, candidates
        )

    @overload
    def match(  # type: ignore[overload-overlap]
        self, image: ImageSource, texts: str, threshold: float = ..., **options: Unpack[Options]
    ) -> Grounding: ...
    @overload
    def match(
        self, image: ImageSource, texts: Sequence[str], threshold: float = ..., **options: Unpack[Options]
    ) -> list[Grounding]: ...
    def match(
        self,
        image: ImageSource,
        texts: str | Sequence[str],
        threshold: float = 0.0,
        *,
        sensor: str = "optical",
        limit: int | None = None,
        tile: Tile = "auto",
        overlap: float = 0.25,
        scales: Sequence[float] = (1.0,),
        batch: int | None = None,
        progress: Progress = silent,
    ) -> Grounding | list[Grounding]:
        """Compares a whole vocabulary of sentences with every region at once: one matrix product, no refinement.

        Args:
            image: as for `ground`.
            texts: a sentence, or as many as you like.
            threshold: the cosine similarity that a box must exceed, -1…1.
            sensor: as for `ground`.
            limit: as for `ground`.
            tile: as for `ground`.
            overlap: as for `ground`.
            scales: as for `ground`.
            batch: as for `ground`.
            progress: as for `ground`.

        Returns:
            As `ground`, the scores being cosine similarities.

        Raises:
            InputError: as `ground`.
            UsageError: as `ground`; or the model fuses image and sentence too early for it.

        Examples:
            >>> grounder = Grounder.open("grounder.bundle")
            >>> for found in grounder.match("quarters.png", ["the red square", "the blue square"], threshold=0.9):
            ...     print(found.text, found.box)
            the red square (0.0, 0.0, 8.0, 8.0)
            the blue square (8.0, 8.0, 16.0, 16.0)
        """
        spec = self.image_for(sensor)
        check_range("threshold", threshold, -1, 1)

        def candidates(pixels: list[np.ndarray], sentences: list[dict[str, Any]]) -> list[list[Candidates]]:
            features = self._features.encode_images(pixels, spec)
            if REGIONS not in features or any(SENTENCE not in sentence for sentence in sentences):
                raise UsageError(f"{self.spec.name} has no embeddings to match: ask it with ground")
            wanted = np.concatenate([sentence[SENTENCE] for sentence in sentences]).T
            shown = zip(to_numpy(features[REGIONS]), to_numpy(features[REGION_BOXES]), strict=True)
            return [[(boxes, column.astype(np.float64)) for column in (regions @ wanted).T] for regions, boxes in shown]

        return self._search(
            image, texts, threshold, spec, sensor, limit, tile, overlap, scales, batch, progress, candidates
        )

    def _search(
        self,
        image: ImageSource,
        texts: str | Sequence[str],
        threshold: float,
        spec: ImageSpec,
        sensor: str,
        limit: int | None,
        tile: Tile,
        overlap: float,
        scales: Sequence[float],
        batch: int | None,
        progress: Progress,
        candidates: TilesFn,
    ) -> Grounding | list[Grounding]:
        """Runs tile after tile and merges each sentence's boxes."""
        sentences = [texts] if isinstance(texts, str) else list(texts)
        if not sentences or (limit is not None and limit < 1):
            raise UsageError("nothing to look for: give a sentence, and a limit of 1 or more")
        size, scene = self.checked_batch(batch), open_scene(image, spec, ReadOptions(sensor=sensor))
        try:
            self.tell_unknown_words(sentences)
            encoded = self._features.encode_sentences(sentences)
            grids = plan_scene(scene, spec, tile, overlap, scales)
            views = chain.from_iterable(tiles_of(scene, grid, spec, tile, progress) for grid in grids)
            found: list[list[np.ndarray]] = [[np.zeros((0, 6))] for _ in sentences]
            for some in batches(views, size):
                for seen in _rows(some, encoded, candidates, threshold, scene, spec):
                    for kept, rows in zip(found, seen, strict=True):
                        kept.append(rows)
        finally:
            scene.close()
        tiled = sum(map(len, grids)) > 1
        results = [
            self.merged(text, np.concatenate(kept), threshold, limit, tiled, scene)
            for text, kept in zip(sentences, found, strict=True)
        ]
        return results[0] if isinstance(texts, str) else results

    def look(
        self, tile: TileView, sentences: list[dict[str, Any]], threshold: float, scene: Scene, sensor: str
    ) -> Iterator[np.ndarray]:
        """What a tile shows of each sentence.

        Args:
            tile: a part of a scene.
            sentences: the sentences' features.
            threshold: probability that a box must exceed.
            scene: the scene.
            sensor: ``optical`` or ``sar``.

        Returns:
            Rows (x1, y1, x2, y2, score, whole?) float64 [K, 6] in pixels of the scene, as `merged` takes them; none of
            a tile without data.
        """
        spec = self.image_for(sensor)
        for seen in _rows([tile], sentences, self._refined(spec), threshold, scene, spec):
            yield from seen

    def look_at(
        self,
        tiles: Iterable[TileView],
        sentences: list[dict[str, Any]],
        threshold: float,
        scene: Scene,
        sensor: str,
        batch: int = 1,
    ) -> Iterator[list[np.ndarray]]:
        """The same for many tiles, of which the model is given `batch` at once.

        Returns:
            The rows of each tile that holds data, as from `look`, by sentence.
        """
        spec = self.image_for(sensor)
        for some in batches((tile for tile in tiles if tile.pixels is not None), batch):
            if len(some) == 1:
                yield list(self.look(some[0], sentences, threshold, scene, sensor))
            else:
                yield from _rows(some, sentences, self._refined(spec), threshold, scene, spec)

    def _refined(self, spec: ImageSpec) -> TilesFn:
        """The candidates by the model's own refinement."""

        def candidates(pixels: list[np.ndarray], sentences: list[dict[str, Any]]) -> list[list[Candidates]]:
            features, count = self._features.encode_images(pixels, spec), len(pixels)
            answers = [
                self._features.run_head({**features, **repeated(sentence, count)}, SCORES, BOXES)
                for sentence in sentences
            ]
            return [[(boxes[i], sigmoid(scores[i])) for scores, boxes in answers] for i in range(count)]

        return candidates

    def merged(
        self, text: str, rows: np.ndarray, threshold: float, limit: int | None, tiled: bool, scene: Scene
    ) -> Grounding:
        """One sentence's result from rows (x1, y1, x2, y2, score, whole?) of all tiles."""
        rows = rows[np.lexsort(rows.T)]  # of equal boxes and scores none depends on which tile came first
        boxes, scores, whole = rows[:, :4], rows[:, 4], rows[:, 5]
        # A box that a tile's edge cuts yields to any that is whole, whatever their scores.
        kept = suppress(boxes, scores + 2 * whole, SAME_IOU, SAME_PART if tiled else None)
        ranked = kept[np.argsort(-scores[kept], kind="stable")]
        kept = ranked[:limit]
        size = scene.height, scene.width
        left_out = len(ranked) - len(kept)
        return Grounding(text, boxes[kept], scores[kept], size, threshold, scene.georeference, scene, left_out)


def _rows(
    views: Sequence[TileView],
    sentences: list[dict[str, Any]],
    candidates: TilesFn,
    threshold: float,
    scene: Scene,
    spec: ImageSpec,
) -> Iterator[list[np.ndarray]]:
    """Each sentence's rows of every tile with data, as `Grounder.look` gives them; the model is given all at once."""
    shown = [view for view in views if view.pixels is not None]
    found = candidates([view.pixels for view in shown if view.pixels is not None], sentences) if shown else []
    for view, by_sentence in zip(shown, found, strict=True):
        rows = [
            _in_scene(_in_window(boxes, view), scores, threshold, view.window, scene, spec)
            for boxes, scores in by_sentence
        ]
        yield [_in_area(each, scene, view.window) for each in rows]


def _in_window(boxes: np.ndarray, view: TileView) -> np.ndarray:
    """Boxes in 0…1 of what the model was shown, as boxes in 0…1 of the tile's window."""
    assert view.pixels is not None
    height, width = view.pixels.shape[:2]
    inner = view.inner
    shown = np.array([width, height] * 2, np.float64)
    return (boxes * shown - np.array([inner.column, inner.row] * 2)) / np.array([inner.width, inner.height] * 2)


def _in_scene(
    boxes: np.ndarray, scores: np.ndarray, threshold: float, window: Window, scene: Scene, spec: ImageSpec
) -> np.ndarray:
    """A tile's boxes above the score as rows (x1, y1, x2, y2, score, whole?) in pixels of the scene."""
    good = scores > threshold
    place = placement(window.height, window.width, spec)
    local, end = place.to_image(boxes[good]), np.array([window.width, window.height])
    offset = np.array([window.column, window.row] * 2, np.float64)
    margin = EDGE / np.array(place.scale)
    inner = np.array(  # which of the window's edges lie inside the scene
        [
            window.column > 0,
            window.row > 0,
            window.column + window.width < scene.width,
            window.row + window.height < scene.height,
        ]
    )
    at_edge = np.concatenate([local[:, :2] <= margin, local[:, 2:] >= end - margin], axis=1)
    whole = ~(at_edge & inner).any(axis=1)
    return np.concatenate([local + offset, scores[good, None], whole[:, None]], axis=1)


def _in_area(rows: np.ndarray, scene: Scene, window: Window) -> np.ndarray:
    """Of a tile's rows those whose boxes have their centres in the scene's area, if it is limited to one."""
    if not isinstance(scene, AreaScene):
        return rows
    columns, lines = ((rows[:, i] + rows[:, i + 2]) / 2 for i in (0, 1))
    x = np.clip(columns - window.column, 0, window.width - 1).astype(np.int64)
    y = np.clip(lines - window.row, 0, window.height - 1).astype(np.int64)
    return rows[scene.inside(window)[y, x]]


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The minimum IoU of the best boxes and of all candidates, and the maximum difference of the best probabilities."""
    limit = allowed(MAX_DIFFERENCE, precision)
    ious, differences, others = [], [], []
    for row in range(len(expected[SCORES])):
        best, found = sigmoid(expected[SCORES][row]).max(), sigmoid(actual[SCORES][row])
        box = expected[BOXES][row, expected[SCORES][row].argmax()]
        near = found >= found.max() - limit
        ious.append(pairwise_iou(box[None], actual[BOXES][row, near]).max())
        differences.append(abs(best - found.max()))
        wanted, given = ((each[BOXES][row], sigmoid(each[SCORES][row])) for each in (expected, actual))
        others.append(_candidates_iou(wanted, given, limit))
    return (
        Measure("box IoU", float(min(ious)), allowed(MIN_IOU, precision), at_least=True),
        Measure("score difference", float(max(differences)), limit),
        Measure("candidates' IoU", float(min(others)), allowed(MIN_CANDIDATES_IOU, precision), at_least=True),
        *_vocabulary_measures(expected, actual, precision),
    )


def _candidates_iou(expected: Candidates, actual: Candidates, limit: float) -> float:
    """The mean IoU, weighted by probability, of a sample's candidates with those of almost the same probability."""
    (boxes, scores), (others, found) = (_best(*each, count) for each, count in ((expected, 1), (actual, 2)))
    iou = pairwise_iou(boxes, others)
    iou[(boxes[:, None] == others[None]).all(axis=2)] = 1  # of two that are empty it would be 0
    iou[np.abs(scores[:, None] - found[None]) > limit] = 0
    return float((iou.max(axis=1) * scores).sum() / max(scores.sum(), 1e-9))


def _best(boxes: np.ndarray, scores: np.ndarray, factor: int) -> Candidates:
    order = np.argsort(-scores, kind="stable")[: factor * _COMPARED]
    return boxes[order], scores[order]


def _vocabulary_measures(
    expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> Iterator[Measure]:
    """What `Grounder.match` uses, where the model gives it."""
    for name in (REGIONS, SENTENCE):
        if name in expected:
            yield cosine_measure(name, expected[name], actual[name], precision)
    if REGION_BOXES in expected:
        difference = float(np.abs(expected[REGION_BOXES].astype(np.float64) - actual[REGION_BOXES]).mean())
        yield Measure("region boxes' mean difference", difference, allowed(MEAN_BOX_DIFFERENCE, precision))


def margin(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The best candidate's lead over the second."""
    ordered = np.sort(sigmoid(expected[SCORES]), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else ordered[:, -1]
