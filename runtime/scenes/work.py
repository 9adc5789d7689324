"""Doing blocks: one function that puts one block's part in place, whoever calls it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np

from rsvl.runtime.errors import InputError, OutputError, RsvlError, UsageError
from rsvl.runtime.images.area import AreaScene
from rsvl.runtime.images.preprocess import squared
from rsvl.runtime.images.scene import Scene, open_scene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.loading import load
from rsvl.runtime.scenes.blocks import Blocks, Levels, relative
from rsvl.runtime.scenes.parts import Skipped, write_boxes, write_part
from rsvl.runtime.scenes.plan import Plan
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.tiles import TileView, batches, plan_scene

_NOTHING = Window(0, 0, 0, 0)
_TRIES = 2
"""How often a tile is tried before it is skipped."""

Found = TypeVar("Found")

Located: TypeAlias = "Segmenter | Grounder"
"""What can be run block by block."""


class Pixels(NamedTuple):
    """What a block is shown of a scene.

    Attributes:
        block: which block.
        rgb: uint8 [h, w, 3], None where nothing of it holds data.
        valid: which of its pixels hold data, bool [h, w]; None when all do.
        lost: why tiles of it cannot be read, by (row, column) in the grid.
    """

    block: int
    rgb: np.ndarray | None
    valid: np.ndarray | None
    lost: Mapping[tuple[int, int], RsvlError] = MappingProxyType({})


class BlockWorker:
    """A loaded bundle and an open scene, to do blocks of.

    Attributes:
        blocks: the scene's.
    """

    def __init__(self, plan: Plan, folder: Path, runner: Located | None = None, scene: Scene | None = None) -> None:
        """Opens what is not opened yet.

        Args:
            plan: what is asked.
            folder: where the parts go.
            runner: the plan's bundle.
            scene: the plan's scene.
        """
        self._plan, self._folder = plan, folder
        self._runner: Located = runner or load(plan.bundle, plan.provider, plan.threads)
        self._spec = self._runner.image_for(plan.sensor)
        self._scene = scene or open_planned(plan, self._runner)
        self.blocks = blocks_of(plan, self._scene, self._runner)
        self._encoded = self._runner.encode_sentences(plan.sentences)

    def do(self, pixels: Pixels) -> int:
        """Runs a block's tiles for all sentences and puts its part in place. Doing it again gives the same file.

        A tile that fails is tried again, then skipped; the part says which and why. Its pixels hold no data.

        Returns:
            How many tiles it has.

        Raises:
            OutputError: the part cannot be written.
            RsvlError: all of its tiles failed: the first one's error.
        """
        if isinstance(self._runner, Segmenter):
            self._do_masks(pixels, self._runner)
        else:
            self._do_boxes(pixels, self._runner)
        return self.blocks.tile_count(pixels.block)

    def _do_masks(self, pixels: Pixels, runner: Segmenter) -> None:
        window, grid = self.blocks.window(pixels.block), self.blocks.find(pixels.block)[0].grid
        sums = np.zeros((len(self._encoded), window.height, window.width), np.float32)
        valid, tried = pixels.valid, _Tried(pixels)

        def look(views: list[TileView]) -> list[list[np.ndarray]]:
            return [list(seen) for _, seen in runner.look_at(views, self._encoded, len(views))]

        for view, seen in tried.look_at(self._views(pixels, window), look, self._plan.batch):
            inside = relative(view.window, window)
            if seen is None:
                valid = np.ones((window.height, window.width), bool) if valid is None else valid.copy()
                valid[inside] = False
                continue
            weight = grid.weight(view.row, view.column)
            for total, probability in zip(sums, seen, strict=True):
                total[inside] += probability * weight
        path, own = part_path(self._folder, pixels.block), own_window(self._plan, self.blocks, pixels.block)
        write_part(path, sums, valid, window, own, self._plan.threshold, tried.looked_at, tried.skipped())

    def _do_boxes(self, pixels: Pixels, runner: Grounder) -> None:
        plan, tried = self._plan, _Tried(pixels)
        found: list[list[np.ndarray]] = [[np.zeros((0, 6))] for _ in self._encoded]

        def look(views: list[TileView]) -> list[list[np.ndarray]]:
            asked = self._encoded, plan.threshold, self._scene, plan.sensor, len(views)
            return list(runner.look_at(views, *asked))

        for _, seen in tried.look_at(self._views(pixels, self.blocks.window(pixels.block)), look, plan.batch):
            for rows, more in zip(found, seen or (), strict=False):
                rows.append(more)
        path, rows = part_path(self._folder, pixels.block), [np.concatenate(each) for each in found]
        write_boxes(path, rows, tried.looked_at, tried.skipped())

    def pixels(self, blocks: Sequence[int]) -> Iterator[Pixels]:
        """Reads one block after the other, each while the one before it is run."""
        return _ahead(self.read(block) for block in blocks)

    def read(self, block: int) -> Pixels:
        """What a block is shown. Where the scene is damaged, it is read tile by tile."""
        window = self.blocks.window(block)
        try:
            rgb, valid = self._read(window)
            lost: dict[tuple[int, int], RsvlError] = {}
        except InputError:
            rgb, valid, lost = self._read_tiles(block, window)
        return Pixels(block, rgb, None if valid is None or valid.all() else valid, lost)

    def _read(self, window: Window) -> tuple[np.ndarray | None, np.ndarray | None]:
        valid = self._scene.valid(window)
        return None if valid is not None and not valid.any() else self._scene.read(window), valid

    def _read_tiles(
        self, block: int, window: Window
    ) -> tuple[np.ndarray, np.ndarray, dict[tuple[int, int], RsvlError]]:
        """A block's tiles, each read alone, and why some of them cannot be."""
        shape, lost = (window.height, window.width), dict[tuple[int, int], RsvlError]()
        rgb, valid = np.zeros((*shape, 3), np.uint8), np.ones(shape, bool)
        blocks, number = self.blocks.find(block)
        for place in blocks.tiles(number):
            tile = blocks.grid.window(*place)
            inside = relative(tile, window)
            try:
                shown, is_valid = self._read(tile)
            except InputError as error:
                lost[place] = error
                continue
            rgb[inside] = 0 if shown is None else shown
            valid[inside] = True if is_valid is None else is_valid
        return rgb, valid, lost

    def _views(self, pixels: Pixels, window: Window) -> Iterator[TileView]:
        blocks, number = self.blocks.find(pixels.block)
        for row, column in blocks.tiles(number):
            tile = blocks.grid.window(row, column)
            inside, inner = relative(tile, window), Window(0, 0, tile.height, tile.width)
            valid = None if pixels.valid is None else pixels.valid[inside]
            if pixels.rgb is None or (valid is not None and not valid.any()):
                yield TileView(row, column, tile, None, inner, valid)
                continue
            shown = pixels.rgb[inside]
            if self._spec.keep_aspect:
                shown, inner = squared(shown, self._spec)
            yield TileView(row, column, tile, shown, inner, None if valid is None or valid.all() else valid)


class _Tried:
    """The tiles of a block that are looked at, and those that fail."""

    def __init__(self, pixels: Pixels) -> None:
        self._lost, self.looked_at = pixels.lost, 0
        self._failed: list[tuple[TileView, RsvlError]] = []

    def look_at(
        self, views: Iterable[TileView], look: Callable[[list[TileView]], list[Found]], batch: int
    ) -> Iterator[tuple[TileView, Found | None]]:
        """What tiles show that hold data, `batch` of them at once; None of one that fails alone twice.

        Args:
            views: the tiles.
            look: gives what each of several tiles with data shows.
            batch: how many are looked at together.
        """
        for some in batches((view for view in views if view.pixels is not None), batch):
            self.looked_at += len(some)
            is_good = [(view.row, view.column) not in self._lost for view in some]
            together = iter(self._together([view for view, good in zip(some, is_good, strict=True) if good], look))
            for view, good in zip(some, is_good, strict=True):
                seen = next(together, None) if good else None
                yield view, self._alone(view, look) if seen is None else seen

    def _together(self, views: list[TileView], look: Callable[[list[TileView]], list[Found]]) -> list[Found]:
        """What several tiles show; nothing where one of them fails."""
        try:
            return look(views) if len(views) > 1 else []
        except (UsageError, OutputError):
            raise
        except RsvlError:
            return []

    def _alone(self, view: TileView, look: Callable[[list[TileView]], list[Found]]) -> Found | None:
        """What a tile shows, at the second attempt where the first fails; None where that fails, too."""
        error = self._lost.get((view.row, view.column))
        for _ in range(_TRIES if error is None else 0):
            try:
                return look([view])[0]
            except (UsageError, OutputError):
                raise
            except RsvlError as raised:
                error = raised
        assert error is not None
        self._failed.append((view, error))
        return None

    def skipped(self) -> list[Skipped]:
        """The tiles that failed.

        Raises:
            RsvlError: all did.
        """
        if self._failed and len(self._failed) == self.looked_at:
            raise self._failed[0][1]
        return [Skipped(view.window, str(error)) for view, error in self._failed]


def open_planned(plan: Plan, runner: Located) -> Scene:
    """A plan's scene, in its area."""
    scene = open_scene(plan.scene, runner.image_for(plan.sensor), plan.reading)
    return scene if plan.area is None else AreaScene(scene, plan.area)


def blocks_of(plan: Plan, scene: Scene, runner: Located) -> Levels:
    """A plan's blocks."""
    grids = plan_scene(scene, runner.image_for(plan.sensor), plan.tile, plan.overlap, plan.scales)
    return Levels(tuple(Blocks.over(grid, len(plan.sentences), plan.block_pixels) for grid in grids))


def own_window(plan: Plan, blocks: Blocks | Levels, block: int) -> Window:
    """The window of a block's part in which only its mask is kept: none where every probability is wanted."""
    return _NOTHING if plan.probability else blocks.own(block)


def part_path(folder: Path, block: int) -> Path:
    """Where a block's part lies."""
    return folder / f"part-{block:06d}.npz"


def _ahead(items: Iterator[Pixels]) -> Iterator[Pixels]:
    """The items, each made by another thread while the one before it is used."""
    made: queue.Queue[Pixels | BaseException | None] = queue.Queue(1)
    stop = threading.Event()

    def make() -> None:
        try:
            for item in items:
                while not stop.is_set():
                    try:
                        made.put(item, timeout=0.1)
                        break
                    except queue.Full:
                        continue
                if stop.is_set():
                    return
            made.put(None)
        except BaseException as error:
            made.put(error)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
