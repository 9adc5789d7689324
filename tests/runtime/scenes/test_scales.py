"""Several scales: what each shows alone, by the largest probability of each pixel, in memory and block by block."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError, UsageError
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import plan_scales
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import GROUNDING, ImageSpec
from rsvl.runtime.scenes.find import find_in_scene
from rsvl.runtime.scenes.work import blocks_of, open_planned
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.segmentation import Segmenter
from rsvl.runtime.tasks.tiles import scales_of_resolutions
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_tasks import write_task_bundle

SENTENCES = ["red", "blue"]
SCALES = (2, 1, 0.5)
SPEC = ImageSpec(32, (0.0,) * 3, (1.0,) * 3)


@pytest.fixture
def pixels() -> np.ndarray:
    """A gray scene with red and blue rectangles from 1 to 90 pixels long."""
    rng = np.random.default_rng(7)
    image = np.full((180, 230, 3), 128, np.uint8)
    for colour in ((255, 0, 0), (0, 0, 255)) * 20:
        y, x, h, w = rng.integers((0, 0, 1, 1), (175, 225, 40, 90))
        image[y : y + h, x : x + w] = colour
    return image


@pytest.mark.parametrize(
    ("tile", "scales", "sides"),
    [
        ("auto", (1,), [32]),
        ("auto", (1, 0.5, 0.25), [32, 64, 128]),
        (40, (2, 1), [20, 40]),
        ("auto", (1, 0.1, 0.05), [32, 230]),  # both show all of it
        ("auto", (64,), [16]),
    ],
)
def test_tiles_cover_more_at_smaller_scales(tile: object, scales: tuple[float, ...], sides: list[int]) -> None:
    assert [grid.columns.extent for grid in plan_scales(180, 230, SPEC, tile, 0.25, None, scales)] == sides


@pytest.mark.parametrize(
    ("tile", "scales"), [("auto", ()), ("auto", (0,)), ("auto", (100,)), ("whole", (1, 0.5)), (8, (1, 0.25))]
)
def test_scales_out_of_range_are_refused(tile: object, scales: tuple[float, ...]) -> None:
    if tile == 8:
        assert plan_scales(180, 230, SPEC, tile, 0.25, None, scales)[0].rows.extent == 16  # the least there is
        return
    with pytest.raises(UsageError, match="scale"):
        plan_scales(180, 230, SPEC, tile, 0.25, None, scales)


def test_probability_is_the_largest_of_all_scales(segmenter: Segmenter, pixels: np.ndarray) -> None:
    alone = [segmenter.segment(pixels, "red", tile=round(32 / s), keep_probability=True).probability for s in SCALES]
    found = segmenter.segment(pixels, "red", tile=32, scales=SCALES, keep_probability=True)
    assert np.array_equal(found.probability, np.max(alone, axis=0))
    assert np.array_equal(found.mask, np.max(alone, axis=0) > 0.5) and not np.array_equal(alone[0], alone[2])
    assert found.score == pytest.approx(np.max(alone, axis=0)[found.mask].mean(), rel=1e-5)


@needs("rasterio")
def test_blocks_at_several_scales_give_what_memory_gives(
    segmenter: Segmenter, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rasterio

    monkeypatch.setattr("rsvl.runtime.scenes.merge.REGION", 64)
    monkeypatch.setattr("rsvl.runtime.scenes.blocks.TILES", 2)
    scene = write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618")
    query = Query({"optical": scene}, SENTENCES, 0.5, 32, scales=SCALES)
    whole = segmenter.segment(pixels, SENTENCES, 0.5, tile=32, scales=SCALES, keep_probability=True)
    for probability in (False, True):
        out = tmp_path / str(probability)
        find_in_scene(segmenter, query, out, probability=probability)
        with rasterio.open(out / "scene-masks.tif") as masks:
            for band, one in enumerate(whole, start=1):
                assert np.array_equal(masks.read(band), one.mask)
    with rasterio.open(out / "scene-probability.tif") as file:
        assert np.abs(file.read(1) - whole[0].probability).max() < 1e-4


@needs("rasterio")
def test_blocks_of_every_scale_are_numbered_through(segmenter: Segmenter, tmp_path: Path) -> None:
    from rsvl.runtime.scenes.find import plan_query

    scene = write_raster(tmp_path / "s.tif", np.zeros((180, 230, 3), np.uint8), "EPSG:32618")
    query = Query({"optical": scene}, SENTENCES, 0.5, 32, scales=SCALES)
    plan = dataclasses.replace(plan_query(segmenter, query, open_scene(scene), None, False, 1), block_pixels=70 * 70)
    levels = blocks_of(plan, open_planned(plan, segmenter), segmenter)
    assert len(levels.blocks) == 3 and len(levels) == sum(len(each) for each in levels.blocks)
    seen = [levels.find(number) for number in range(len(levels))]
    assert seen == [(each, number) for each in levels.blocks for number in range(len(each))]
    assert [levels.find(first) for first in levels.firsts()] == [(each, 0) for each in levels.blocks]
    with pytest.raises(IndexError):
        levels.find(len(levels))


@needs("rasterio")
def test_boxes_of_all_scales_are_merged(pixels: np.ndarray, tmp_path: Path) -> None:
    grounder = load(write_task_bundle(tmp_path / "grounder.bundle", GROUNDING), threads=1)
    scene = write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618")
    want = grounder.ground(scene, SENTENCES, 0.5, tile=32, scales=SCALES)
    query = Query({"optical": scene}, SENTENCES, 0.5, 32, scales=SCALES)
    for one, other in zip(want, find_in_scene(grounder, query, tmp_path / "o").results, strict=True):
        assert len(one.boxes) and np.array_equal(one.boxes, other.boxes)


@needs("rasterio")
def test_ground_resolutions_are_tiles_that_show_as_much_ground(tmp_path: Path) -> None:
    scene = open_scene(write_raster(tmp_path / "s.tif", np.zeros((90, 90, 3), np.uint8), "EPSG:32618"))  # 10 m
    tile, scales = scales_of_resolutions(scene, SPEC, (20, 5, 40))
    assert tile == 64 and scales == pytest.approx((1, 4, 0.5), rel=2e-3)
    with pytest.raises(UsageError, match="metres per pixel"):
        scales_of_resolutions(scene, SPEC, (0.0,))
    with pytest.raises(InputError, match="resolution is not known"):
        scales_of_resolutions(open_scene(np.zeros((9, 9, 3), np.uint8)), SPEC, (1.0,))
