"""From all parts of a scene to its results: masks and probabilities as rasters, objects over the borders of blocks."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rsvl.runtime.errors import InputError
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.results.geotiff import NODATA, RasterWriter
from rsvl.runtime.results.objects import ONE, ObjectCollector
from rsvl.runtime.scenes.blocks import Levels, intersection, relative
from rsvl.runtime.scenes.parts import Layer, Part, Skipped
from rsvl.runtime.scenes.plan import Plan
from rsvl.runtime.scenes.work import own_window, part_path

#: Side of the windows in which results are put together, a multiple of the rasters' own tiles.
REGION = 2048
#: Longest side of the masks that overlays are drawn from.
THUMBNAIL = 2048
_KEPT = 6
"""Parts that are kept in memory: those that a window and the next one have in common."""


class Merged(NamedTuple):
    """One sentence's mask, put together.

    Attributes:
        objects: its objects and what is known of the whole.
        thumbnail: the mask thinned out, bool [h, w].
    """

    objects: ObjectCollector
    thumbnail: np.ndarray


class Region(NamedTuple):
    """A window of a sentence's result.

    Attributes:
        window: where it lies.
        sums: uint32 [h, w], probabilities in 1/65535; 0 outside of the mask where no two blocks touch.
        mask: bool [h, w].
        valid: which pixels hold data, bool [h, w]; None when all do.
    """

    window: Window
    sums: np.ndarray
    mask: np.ndarray
    valid: np.ndarray | None


class Merger:
    """All parts of a plan, in place."""

    def __init__(self, plan: Plan, folder: Path, blocks: Levels) -> None:
        self._plan, self._folder, self._blocks = plan, folder, blocks
        self._layers: OrderedDict[tuple[int, int], Layer] = OrderedDict()
        grid = blocks.blocks[0].grid
        self._height, self._width = grid.rows.length, grid.columns.length

    def looked_at(self) -> int:
        """How many tiles of the scene held data."""
        count = 0
        for block in range(len(self._blocks)):
            with self._part(block) as part:
                count += part.looked_at
        return count

    def skipped(self) -> list[Skipped]:
        """The tiles of the scene that failed."""
        found = []
        for block in range(len(self._blocks)):
            with self._part(block) as part:
                found += part.skipped
        return found

    def rows(self, sentence: int) -> np.ndarray:
        """All boxes of a sentence, of parts that have boxes."""
        found = []
        for block in range(len(self._blocks)):
            with self._part(block) as part:
                found.append(part.rows(sentence))
        return np.concatenate(found)

    def sentence(
        self, index: int, masks: RasterWriter | None, probabilities: RasterWriter | None, done: Callable[[], None]
    ) -> Merged:
        """Puts one sentence's result together.

        Args:
            index: of the sentence.
            masks: where its mask goes, as the band after `index`.
            probabilities: where its probabilities go, likewise.
            done: called after every window.
        """
        objects = ObjectCollector(self._height, self._width)
        factor = max(1.0, max(self._height, self._width) / THUMBNAIL)
        thumbnail = np.zeros((max(1, round(self._height / factor)), max(1, round(self._width / factor))), bool)
        for region in self._regions(index):
            values = np.minimum(region.sums, ONE).astype(np.uint16)
            objects.add(region.window, region.mask, values[region.mask])
            _thin(thumbnail, region, (self._height, self._width))
            if masks is not None:
                masks.write(index + 1, region.window, _with_nodata(region.mask.astype(np.uint8), region, NODATA))
            if probabilities is not None:
                probability = values.astype(np.float32) / ONE
                probabilities.write(index + 1, region.window, _with_nodata(probability, region, -1))
            done()
        return Merged(objects, thumbnail)

    @property
    def windows(self) -> list[Window]:
        """The windows in which results are put together, row by row."""
        return [
            Window(row, column, min(REGION, self._height - row), min(REGION, self._width - column))
            for row in range(0, self._height, REGION)
            for column in range(0, self._width, REGION)
        ]

    def _regions(self, sentence: int) -> Iterator[Region]:
        for window in self.windows:
            levels = [
                self._level(window, [first + block for block in blocks.touching(window)], sentence)
                for blocks, first in zip(self._blocks.blocks, self._blocks.firsts(), strict=True)
            ]
            sums = reduce(np.maximum, [sums for sums, _ in levels])
            mask = reduce(np.logical_or, [mask for _, mask in levels])
            valid = self._valid(window)
            yield Region(window, sums, mask if valid is None else mask & valid, valid)

    def _level(self, window: Window, touching: Sequence[int], sentence: int) -> tuple[np.ndarray, np.ndarray]:
        """What the blocks of one scale say of a window: `Region.sums` and `Region.mask`."""
        sums = np.zeros((window.height, window.width), np.uint32)
        mask, is_final = np.zeros(sums.shape, bool), np.zeros(sums.shape, bool)
        for block in touching:
            layer, whole = self._layer(block, sentence), self._blocks.window(block)
            both = intersection(whole, window)
            sums[relative(both, window)] += layer.sums[relative(both, whole)]
            own = own_window(self._plan, self._blocks, block)
            both = intersection(own, window)
            if both.height and both.width:
                mask[relative(both, window)] = layer.mask[relative(both, own)]
                is_final[relative(both, window)] = True
        np.copyto(mask, sums > self._plan.threshold * ONE, where=~is_final)
        return sums, mask

    def _valid(self, window: Window) -> np.ndarray | None:
        """Which pixels hold data; none where a tile failed, at whatever scale."""
        found: np.ndarray | None = None
        levels = zip(self._blocks.blocks, self._blocks.firsts(), strict=True)
        for block in (first + block for blocks, first in levels for block in blocks.touching(window)):
            with self._part(block) as part:
                valid = part.valid()
            if valid is not None:
                found = np.ones((window.height, window.width), bool) if found is None else found
                both = intersection(self._blocks.window(block), window)
                found[relative(both, window)] &= valid[relative(both, self._blocks.window(block))]
        return found

    def _layer(self, block: int, sentence: int) -> Layer:
        key = block, sentence
        if key not in self._layers:
            with self._part(block) as part:
                self._layers[key] = part.layer(sentence)
            while len(self._layers) > _KEPT * len(self._blocks.blocks):
                self._layers.popitem(last=False)
        self._layers.move_to_end(key)
        return self._layers[key]

    @contextmanager
    def _part(self, block: int) -> Iterator[Part]:
        path = part_path(self._folder, block)
        try:
            with Part(path, self._blocks.window(block), own_window(self._plan, self._blocks, block)) as part:
                yield part
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, tokenize.TokenError) as error:
            raise InputError(f"{path}: cannot be read: remove it and run the same command again") from error


def _with_nodata(values: np.ndarray, region: Region, nodata: float) -> np.ndarray:
    if region.valid is not None:
        values[~region.valid] = nodata
    return values


def _thin(thumbnail: np.ndarray, region: Region, size: tuple[int, int]) -> None:
    """Puts the pixels of a window into the thinned-out mask that lie in the middles of its pixels."""
    picks = []
    for length, short, start, count in zip(size, thumbnail.shape, region.window[:2], region.window[2:], strict=True):
        middles = ((np.arange(short) + 0.5) * length / short).astype(np.int64)
        first, last = np.searchsorted(middles, (start, start + count))
        picks.append((slice(first, last), middles[first:last] - start))
    (rows, from_rows), (columns, from_columns) = picks
    thumbnail[rows, columns] = region.mask[np.ix_(from_rows, from_columns)]
