"""Scenes block by block: the same as at once, whatever was done before, in whatever order, by however many."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.errors import InputError, OutputError, UsageError
from rsvl.runtime.images.scene import open_scene
from rsvl.runtime.images.tiling import Axis, Grid, Window
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import GROUNDING
from rsvl.runtime.results.objects import ObjectFilter
from rsvl.runtime.scenes import executors, scene_run, work
from rsvl.runtime.scenes.blocks import Blocks, intersection
from rsvl.runtime.scenes.find import find_in_scene
from rsvl.runtime.scenes.plan import Plan, hashes_of
from rsvl.runtime.scenes.scene_run import SceneFiles, ground_scene, run_scene
from rsvl.runtime.tasks.query import Query
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.support.installed import needs
from tests.support.rasters import write_raster
from tests.support.toy_tasks import write_task_bundle

SENTENCES = ("the red square", "blue")
SIDE = 260
pytestmark = needs("rasterio")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results put together in windows that are smaller than the scene."""
    monkeypatch.setattr("rsvl.runtime.scenes.merge.REGION", 64)


@pytest.fixture
def pixels() -> np.ndarray:
    """A gray scene with red and blue rectangles, many of which cross tiles, blocks and windows."""
    rng = np.random.default_rng(5)
    image = np.full((SIDE, SIDE + 40, 3), 128, np.uint8)
    for colour in ((255, 0, 0), (0, 0, 255)) * 12:
        y, x, h, w = rng.integers((0, 0, 6, 6), (SIDE - 10, SIDE + 10, 70, 70))
        image[y : y + h, x : x + w] = colour
    return image


@pytest.fixture
def scene(tmp_path: Path, pixels: np.ndarray) -> Path:
    return write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618")


def plan_of(scene: Path, segmenter: Segmenter, **changed: object) -> Plan:
    hashes = hashes_of(scene, segmenter.bundle)
    plan = Plan(scene, segmenter.bundle.source, "cpu", 1, SENTENCES, 0.5, 32, block_pixels=60 * 60, hashes=hashes)
    return dataclasses.replace(plan, **changed)


def run(scene: Path, segmenter: Segmenter, out: Path, keep: ObjectFilter | None = None, **changed: object) -> list:
    out.mkdir(exist_ok=True)
    plan = plan_of(scene, segmenter, **changed)
    probability = out / "probability.tif" if plan.probability else None
    files = SceneFiles(out / "scene.parts", out / "masks.tif", probability)
    found = run_scene(plan, segmenter, work.open_planned(plan, segmenter), files, keep)
    found[0].save(out / "red.geojson")
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "count"),
    [(1000, 64, 16, 3), (65, 64, 32, 1), (640, 64, 32, 2), (129, 64, 0, 2), (40, 64, 9, 2)],
)
def test_every_pixel_is_some_block_s_own_or_shared(length: int, tile: int, overlap: int, count: int) -> None:
    found = Blocks(Grid(Axis(length, tile, overlap), Axis(50, 50, 0)), count, 1)
    touched, own = np.zeros(length, int), np.zeros(length, int)
    for block in range(len(found)):
        window = found.window(block)
        touched[window.row : window.row + window.height] += 1
        mine = found.own(block)
        assert intersection(mine, window) == mine or not mine.height
        own[mine.row : mine.row + mine.height] += 1
    assert (touched > 0).all() and np.array_equal(own == 1, touched == 1) and own.max() <= 1
    tiles = [tile for block in range(len(found)) for tile in found.tiles(block)]
    assert sorted(tiles) == list(found.grid) and found.touching(Window(0, 0, length, 50)) == list(range(len(found)))


def test_blocks_give_what_the_whole_gives(
    scene: Path, pixels: np.ndarray, segmenter: Segmenter, tmp_path: Path
) -> None:
    import rasterio

    ndimage = pytest.importorskip("scipy.ndimage")
    found = run(scene, segmenter, tmp_path / "out", probability=True)
    whole = segmenter.segment(pixels, list(SENTENCES), 0.5, tile=32, keep_probability=True)
    with (
        rasterio.open(tmp_path / "out" / "masks.tif") as masks,
        rasterio.open(tmp_path / "out" / "probability.tif") as p,
    ):
        assert masks.descriptions == SENTENCES and masks.nodata == 255
        for band, (one, other) in enumerate(zip(found, whole, strict=True), start=1):
            assert np.array_equal(masks.read(band), other.mask)
            assert np.abs(p.read(band) - other.probability).max() < 1e-4
            _, count = ndimage.label(other.mask)
            assert len(one.objects) == count > 2
            assert [(each.area, each.polygon.box) for each in one.objects] == [
                (each.area, each.polygon.box) for each in other.objects
            ]
            assert (one.area, one.box) == (other.area, other.box) and one.score == pytest.approx(other.score, abs=1e-4)
            assert one.oriented_box[2:4] == pytest.approx(other.oriented_box[2:4])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["masks.tif", "probability.tif", "red.geojson"]


def test_part_is_the_same_however_often_it_is_made(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    plan = plan_of(scene, segmenter)
    worker = work.BlockWorker(plan, tmp_path)
    first = [(tmp_path / f"part-{block:06d}.npz").read_bytes() for block in (0, 4) if worker.do(worker.read(block))]
    again = [worker.do(worker.read(block)) for block in (4, 0)]
    assert first == [(tmp_path / f"part-{block:06d}.npz").read_bytes() for block in (0, 4)] and all(again)


KILLED = """
import os, signal, sys
from pathlib import Path
from rsvl.runtime import load
from rsvl.runtime.scenes import merge, work
from tests.runtime.scenes.test_scene_run import run
merge.REGION = 64
done = work.BlockWorker.do
left = int(sys.argv[4])
def do(self, pixels):
    global left
    if not left:
        (self._folder / ".part-000099.0123456789abcdef.tmp.npz").write_bytes(b"half")
        os.kill(os.getpid(), getattr(signal, sys.argv[5]))
    left -= 1
    return done(self, pixels)
work.BlockWorker.do = do
run(Path(sys.argv[1]), load(sys.argv[2], "cpu", 1), Path(sys.argv[3]))
"""


def test_killed_run_goes_on_and_ends_with_the_same_bytes(
    scene: Path, segmenter: Segmenter, tmp_path: Path, runs: list[str]
) -> None:
    run(scene, segmenter, tmp_path / "whole")
    tiles = runs.count("image")
    command = [sys.executable, "-c", KILLED, scene, segmenter.bundle.source, tmp_path / "killed", "7", "SIGKILL"]
    killed = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    parts = tmp_path / "killed" / "scene.parts"
    assert len(list(parts.glob("part-*.npz"))) == 7
    (tmp_path / "killed" / ".masks.0123456789abcdef.tmp.tif").write_bytes(b"half")  # of a kill while it was written
    runs.clear()
    run(scene, segmenter, tmp_path / "killed")
    assert 0 < runs.count("image") < tiles - 7  # what was done is not done again
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_several_processes_give_the_same_bytes(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    plan, tiles = plan_of(scene, segmenter), {"here": [], "there": []}
    for name in tiles:
        (tmp_path / name).mkdir()
    worker = work.BlockWorker(plan, tmp_path / "here")
    missing = list(range(len(worker.blocks)))
    executors.do_here(worker, missing, tiles["here"].append)
    executors.Processes(2).do(plan, tmp_path / "there", missing, tiles["there"].append)
    assert sum(tiles["here"]) == sum(tiles["there"]) == len(worker.blocks.blocks[0].grid)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")


def test_another_plan_s_parts_are_not_used(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    out = tmp_path / "out"
    plan = plan_of(scene, segmenter)
    with scene_run._folder(plan, tmp_path / "scene.parts") as folder:
        (folder / "part-000000.npz").write_bytes(b"of a scene that has changed")
    with scene_run._folder(plan, tmp_path / "scene.parts") as folder:
        assert (folder / "part-000000.npz").exists()
    for changed in ({"threshold": 0.6}, {"sentences": ("red",)}, {"hashes": ("a", "b")}, {"tile": 40}):
        with scene_run._folder(dataclasses.replace(plan, **changed), tmp_path / "scene.parts") as folder:
            assert [path.name for path in folder.iterdir()] == ["plan.json"]
            (folder / "part-000000.npz").touch()
    assert plan.to_dict()["plan_sha256"] == dataclasses.replace(plan, threads=3).to_dict()["plan_sha256"]
    out.mkdir()
    (out / "scene.parts").mkdir()
    (out / "scene.parts" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"holds thesis\.txt"):
        run(scene, segmenter, out)
    assert (out / "scene.parts" / "thesis.txt").read_text() == "mine"


def test_damaged_part_is_named(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    plan = plan_of(scene, segmenter)
    with scene_run._folder(plan, tmp_path / "scene.parts") as folder:
        worker = work.BlockWorker(plan, folder, segmenter)
        for block in range(len(worker.blocks)):
            (folder / f"part-{block:06d}.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match="remove it and run the same command again"):
        run_scene(plan, segmenter, open_scene(scene), SceneFiles(tmp_path / "scene.parts"))


def test_pixels_without_data_are_nodata(pixels: np.ndarray, segmenter: Segmenter, tmp_path: Path) -> None:
    import rasterio

    pixels[:100, :90] = 0
    pixels[150:170] = 0
    scene = write_raster(tmp_path / "void.tif", pixels, "EPSG:32618", nodata=0)
    found = run(scene, segmenter, tmp_path / "out")
    with rasterio.open(tmp_path / "out" / "masks.tif") as masks:
        void = (pixels == 0).all(axis=2)
        assert np.array_equal(masks.read(1) == 255, void)
        assert np.array_equal(masks.read(1) == 1, segmenter.segment(scene, SENTENCES[0], 0.5, tile=32).mask)
    assert found[0].area == (masks_of(tmp_path) == 1).sum()
    everything = write_raster(tmp_path / "nothing.tif", np.zeros_like(pixels), "EPSG:32618", nodata=0)
    with pytest.warns(UserWarning, match="no pixel holds data"):
        (nothing, _) = run(everything, segmenter, tmp_path / "out")
    assert nothing.lines() == ["no pixel held data  the red square"]


def masks_of(folder: Path) -> np.ndarray:
    import rasterio

    with rasterio.open(folder / "out" / "masks.tif") as masks:
        return masks.read(1)


def test_filter_is_of_objects_and_counts(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    (found, _) = run(scene, segmenter, tmp_path / "out", ObjectFilter(min_area=300, limit=2))
    about = found.to_dict()
    features = json.loads((tmp_path / "out" / "red.geojson").read_text())["features"]
    assert len(features) == len(about["objects"]) == 2 and about["dropped"] == len(found.objects) - 2 > 0
    assert min(each["area"] for each in about["objects"]) >= 300


def test_boxes_of_blocks_are_those_of_the_whole(pixels: np.ndarray, tmp_path: Path) -> None:
    grounder = load(write_task_bundle(tmp_path / "grounder", GROUNDING), "cpu", 1)
    scene = write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618")
    hashes = hashes_of(scene, grounder.bundle)
    plan = Plan(scene, tmp_path / "grounder", "cpu", 1, ("red", "blue"), 0.5, 32, block_pixels=80 * 80, hashes=hashes)
    opened = work.open_planned(plan, grounder)
    parts = tmp_path / "parts"
    found = ground_scene(plan, grounder, opened, parts)
    whole = grounder.ground(pixels, ["red", "blue"], 0.5, tile=32)
    for one, other in zip(found, whole, strict=True):
        assert one.boxes.tolist() == other.boxes.tolist() and len(one.boxes) > 3
        assert one.scores.tolist() == other.scores.tolist()
    assert not parts.exists() and ground_scene(plan, grounder, opened, parts, limit=2)[0].left_out > 0


@pytest.mark.parametrize(
    ("size", "long"), [((20, 30), 1 << 26), ((512, 512), 1 << 26), ((700, 1300), 1 << 26), ((700, 1300), 1)]
)
def test_masks_are_cloud_optimized_at_every_size(
    size: tuple[int, int], long: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rasterio

    from rsvl.runtime.results.geotiff import write_masks

    monkeypatch.setattr("rsvl.runtime.results.geotiff._LONG", long)  # from here on by a process of its own
    write_masks(tmp_path / "m.tif", [np.ones(size, bool), np.zeros(size, bool)], ["a", "b"], None)
    with rasterio.open(tmp_path / "m.tif") as masks:
        assert masks.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG" and masks.block_shapes[0] == (512, 512)
        assert bool(masks.overviews(1)) == (max(size) > 512) and masks.read().sum() == size[0] * size[1]


@pytest.mark.parametrize("batch", [2, 5, 8])
def test_tiles_in_batches_give_the_same(scene: Path, segmenter: Segmenter, tmp_path: Path, batch: int) -> None:
    one = run(scene, segmenter, tmp_path / "one")
    sizes: list[int] = []
    segmenter.set_input_hook(lambda name, feeds: sizes.append(len(feeds["image"])) if name == "image" else None)
    try:
        several = run(scene, segmenter, tmp_path / "several", batch=batch)
    finally:
        segmenter.set_input_hook(None)
    assert max(sizes) == min(batch, 4)  # of which a block has no more
    assert [each.area for each in one] == [each.area for each in several]
    assert contents(tmp_path / "one") == contents(tmp_path / "several")


def test_boxes_of_batches_are_the_same(scene: Path, tmp_path: Path) -> None:
    grounder = load(write_task_bundle(tmp_path / "grounder.bundle", GROUNDING), threads=1)
    one, several = (grounder.ground(scene, list(SENTENCES), 0.5, tile=32, batch=batch) for batch in (1, 7))
    for a, b in zip(one, several, strict=True):
        assert len(a.boxes) > 1 and np.array_equal(a.boxes, b.boxes) and np.allclose(a.scores, b.scores)


def test_batch_of_a_bundle_for_one_image_is_refused(scene: Path, bundle: Path) -> None:
    fixed = load(bundle, threads=1)
    graphs = tuple(
        dataclasses.replace(graph, inputs=tuple(dataclasses.replace(t, shape=(1, *t.shape[1:])) for t in graph.inputs))
        for graph in fixed.spec.graphs
    )
    fixed.manifest = dataclasses.replace(fixed.manifest, model=dataclasses.replace(fixed.spec, graphs=graphs))
    with pytest.raises(UsageError, match="one image at a time"):
        fixed.segment(scene, "red", tile=32, batch=2)
    with pytest.raises(UsageError, match="1 or more"):
        fixed.segment(scene, "red", tile=32, batch=0)


def test_query_finds_what_the_plan_finds_and_goes_on(scene: Path, segmenter: Segmenter, tmp_path: Path) -> None:
    want = run(scene, segmenter, tmp_path / "want")
    query = Query({"optical": scene}, SENTENCES, 0.5, 32)
    found = find_in_scene(segmenter, query, tmp_path / "found" / "here", stem="s", geojson=True)
    assert [each.area for each in found.results] == [each.area for each in want]
    names = ["s-masks.tif", "s-outlines.geojson", "s-overlay.png"]
    assert (
        sorted(path.name for path in found.files)
        == names
        == sorted(path.name for path in (tmp_path / "found" / "here").iterdir())
    )
    with pytest.raises(UsageError, match="whole"):
        find_in_scene(segmenter, dataclasses.replace(query, tile="whole"), tmp_path)
    with pytest.raises(UsageError, match="a scene is a file"):
        find_in_scene(segmenter, dataclasses.replace(query, images={"optical": np.zeros((9, 9, 3))}), tmp_path)
