"""A tile that fails is tried again, then skipped and reported; its pixels hold no data, and the rest is what it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError, RsvlError, VerificationError
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import GROUNDING
from rsvl.runtime.scenes import work
from rsvl.runtime.scenes.plan import Plan, hashes_of
from rsvl.runtime.scenes.scene_run import SceneFiles, ground_scene, run_scene
from rsvl.runtime.tasks.grounding import Grounder
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_tasks import write_task_bundle

pytestmark = needs("rasterio")
TILE, SIDE = 32, 160


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A gray scene in a raster of its own tiles, with red squares all over."""
    pixels = np.full((SIDE, SIDE, 3), 128, np.uint8)
    for row in range(4, SIDE, 20):
        for column in range(4, SIDE, 20):
            pixels[row : row + 10, column : column + 10] = (255, 0, 0)
    options = {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate", "interleave": "pixel"}
    return write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618", **options)


def masks(scene: Path, segmenter: Segmenter, folder: Path) -> tuple[np.ndarray, list[dict]]:
    """The masks of a scene of several blocks, and the tiles that were skipped."""
    import rasterio

    folder.mkdir()
    plan = plan_of(scene, segmenter)
    opened = work.open_planned(plan, segmenter)
    run_scene(plan, segmenter, opened, SceneFiles(folder / "parts", folder / "masks.tif"))
    with rasterio.open(folder / "masks.tif") as file:
        return file.read(1), opened.reading.skipped


def plan_of(scene: Path, runner: Segmenter | Grounder) -> Plan:
    hashes = hashes_of(scene, runner.bundle)
    return Plan(scene, runner.bundle.source, "cpu", 1, ("red",), 0.5, TILE, 0.25, block_pixels=110 * 110, hashes=hashes)


def failing(look: Callable, at: tuple[int, int], times: int, error: RsvlError) -> Callable:
    """`look` that fails the first times that it is shown one tile."""
    left = [times]

    def fails(self: object, view: object, *rest: object) -> object:
        if (view.row, view.column) == at and left[0] > 0:
            left[0] -= 1
            raise error
        return look(self, view, *rest)

    return fails


@pytest.mark.parametrize("at", [(0, 0), (2, 3), (5, 2)])
def test_tile_that_fails_is_no_data_and_the_rest_is_as_it_was(
    scene: Path, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: tuple[int, int]
) -> None:
    whole, none = masks(scene, segmenter, tmp_path / "whole")
    monkeypatch.setattr(Segmenter, "look", failing(Segmenter.look, at, 2, VerificationError("not finite")))
    with pytest.warns(UserWarning, match="a tile failed and count"):
        found, skipped = masks(scene, segmenter, tmp_path / "damaged")
    (about,) = skipped
    row, column, height, width = about["window"]
    expected = whole.copy()
    expected[row : row + height, column : column + width] = 255
    assert none == [] and about["reason"] == "not finite" and (height, width) == (TILE, TILE)
    assert np.array_equal(found, expected) and (found == 1).any()


def test_tile_that_fails_once_is_done_at_the_second_attempt(
    scene: Path, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = masks(scene, segmenter, tmp_path / "whole")
    monkeypatch.setattr(Segmenter, "look", failing(Segmenter.look, (2, 3), 1, RsvlError("a hiccup")))
    found, skipped = masks(scene, segmenter, tmp_path / "again")
    assert skipped == [] and np.array_equal(found, whole)


def test_device_that_fails_always_fails_the_scene(
    scene: Path, segmenter: Segmenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise VerificationError("not finite")

    monkeypatch.setattr(Segmenter, "look", fails)
    with pytest.raises(VerificationError, match="not finite"):
        masks(scene, segmenter, tmp_path / "out")


def test_damaged_piece_of_a_raster_costs_the_tiles_over_it(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    import rasterio

    whole, _ = masks(scene, segmenter, tmp_path / "whole")
    with rasterio.open(scene) as file:
        offset = int(file.get_tag_item("BLOCK_OFFSET_3_4", "TIFF", bidx=1))  # column and row of the raster's own tiles
    data = bytearray(scene.read_bytes())
    data[offset : offset + 8] = b"\xff" * 8
    scene.write_bytes(data)
    with pytest.warns(UserWarning, match="tiles failed and count"):
        found, skipped = masks(scene, segmenter, tmp_path / "damaged")
    void = np.zeros(whole.shape, bool)
    for about in skipped:
        row, column, height, width = about["window"]
        void[row : row + height, column : column + width] = True
    assert void[64:80, 48:64].all() and void.mean() < 0.25
    assert np.array_equal(found[~void], whole[~void]) and (found[void] == 255).all()


def test_cut_off_raster_fails(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    data = scene.read_bytes()
    scene.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError):
        masks(scene, segmenter, tmp_path / "out")


def test_boxes_of_a_tile_that_fails_are_missing_and_told(
    scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grounder = load(write_task_bundle(tmp_path / "grounder", GROUNDING), "cpu", 1)
    plan = plan_of(scene, grounder)
    whole = ground_scene(plan, grounder, work.open_planned(plan, grounder), tmp_path / "parts")
    monkeypatch.setattr(Grounder, "look", failing(Grounder.look, (3, 3), 2, VerificationError("not finite")))
    opened = work.open_planned(plan, grounder)
    with pytest.warns(UserWarning, match="a tile failed"):
        found = ground_scene(plan, grounder, opened, tmp_path / "parts")
    assert [each["reason"] for each in opened.reading.skipped] == ["not finite"]
    assert 0 < len(found[0].boxes) <= len(whole[0].boxes)
