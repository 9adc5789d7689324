"""`rsvl run` and `eval` for every task: toy bundles, what is printed and written, what does not go together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.manifest import CLASSIFICATION, GROUNDING, MATCHING, VQA
from tests.support.installed import needs
from tests.support.outcome import Rsvl
from tests.support.rasters import write_raster
from tests.support.toy_tasks import write_task_bundle


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The toy bundle of each task; read only."""
    folder = tmp_path_factory.mktemp("tasks")
    return {
        task: write_task_bundle(folder / task, task) for task in (CLASSIFICATION, GROUNDING, VQA, MATCHING, "doubling")
    }


@pytest.fixture
def red(tmp_path: Path) -> Path:
    """A black picture of the toys' own 8×8 pixels whose upper left quarter is red."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4, :4] = (255, 0, 0)
    path = tmp_path / "red.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def radar(tmp_path: Path) -> Path:
    """A bright SAR picture of the same size."""
    path = tmp_path / "radar.png"
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(path)
    return path


def test_run_of_a_grounder_writes_the_boxes(rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    outcome = rsvl("run", bundles[GROUNDING], red, "-t", "the red square", "-t", "blue", "--geojson", "-o", out)
    assert outcome.code == 0 and "1.00  the red square: x 0–4, y 0–4" in outcome.out
    assert "not found  blue" in outcome.out and "8 × 8" in outcome.out
    assert sorted(path.name for path in out.iterdir()) == ["red-boxes.json", "red-overlay.png"]
    (found,) = json.loads((out / "red-boxes.json").read_text())["objects"]
    assert found["text"] == "the red square" and [4, 4] in found["polygons"][0][0]


def test_limit_says_how_many_boxes_it_left_out(rsvl: Rsvl, bundles: dict[str, Path], tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, :4, 0], pixels[:, 4:, 2] = 255, 255
    Image.fromarray(pixels).save(tmp_path / "halves.png")
    command = ("run", bundles[GROUNDING], tmp_path / "halves.png", "-t", "red", "-o", tmp_path / "out")
    assert "and 1 more\n" in rsvl(*command).out
    assert "(1 left out by the limit)" in rsvl(*command, "--limit", 1).out
    (found,) = rsvl(*command, "--limit", 1, "--json").json["images"][0]["found"]
    assert len(found["boxes"]) == 1 and found["left_out"] == 1


def test_georeferenced_scene_gives_its_boxes_on_the_map(
    rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path
) -> None:
    rasterio = pytest.importorskip("rasterio")
    scene, transform = tmp_path / "scene.tif", rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    profile = {"driver": "GTiff", "count": 3, "height": 8, "width": 8, "dtype": "uint8"}
    with rasterio.open(scene, "w", crs="EPSG:32618", transform=transform, **profile) as file:
        file.write(np.moveaxis(np.asarray(Image.open(red)), 2, 0))
    answer = rsvl("run", bundles[GROUNDING], scene, "-t", "red", "-o", tmp_path / "out", "--json").json["images"][0]
    assert answer["found"][0]["box"] == [0, 0, 4, 4] and answer["found"][0]["crs"] == "EPSG:32618"
    (feature,) = json.loads((tmp_path / "out" / "scene-boxes.geojson").read_text())["features"]
    assert feature["properties"]["area"] == pytest.approx(1600 / 0.9996**2, rel=1e-5)
    everywhere, elsewhere = "-75.01,36,-74.9,36.2", "-74.99955,36,-74.9,36.2"  # the second begins between the quarters
    for area, count in ((everywhere, 1), (elsewhere, 0)):
        command = ("run", bundles[GROUNDING], scene, "-t", "red", "-o", tmp_path / "out", "--aoi", area, "--json")
        assert len(rsvl(*command).json["images"][0]["found"][0]["boxes"]) == count


def test_run_of_an_answerer_takes_a_pair_or_one_of_it(
    rsvl: Rsvl, bundles: dict[str, Path], red: Path, radar: Path, tmp_path: Path
) -> None:
    common = ("-t", "blue", "-o", tmp_path / "out")
    pair = rsvl("run", bundles[VQA], red, "--sar", radar, *common, "--json").json["images"][0]
    assert (pair["image"], pair["sar"], pair["files"]) == (str(red), str(radar), [])
    assert (pair["found"][0]["answer"], pair["found"][0]["sensors"]) == ("bright", ["optical", "sar"])
    alone = rsvl("run", bundles[VQA], "--sar", radar, *common)
    assert alone.code == 0 and "1.00  blue bright" in alone.out
    assert "no optical image: answered from sar alone" in alone.out


def test_run_of_a_matcher_tells_labels_apart(rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundles[MATCHING], red, "-t", "red", "-t", "blue", "-o", tmp_path / "out")
    assert outcome.code == 0 and [line.split() for line in outcome.out.splitlines()[1:]] == [
        ["1.00", "red"],
        ["0.00", "blue"],
    ]


def test_run_of_another_task_takes_raw_inputs(rsvl: Rsvl, bundles: dict[str, Path], tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.array([[1, 2]], np.float32))
    outcome = rsvl("run", bundles["doubling"], tmp_path / "in.npz", "-o", tmp_path / "out")
    assert outcome.code == 0 and "y [1, 2]" in outcome.out
    assert np.load(tmp_path / "out" / "in-outputs.npz")["y"].tolist() == [[2, 4]]


WRONG = {
    "a pair for a grounder": ((GROUNDING, "RED", "--sar", "RADAR", "-t", "red"), "one image at a time"),
    "a GeoTIFF of boxes": pytest.param(
        (GROUNDING, "RED", "-t", "red", "--geotiff"), "leave --geotiff out", marks=needs("rasterio")
    ),
    "a SAR image for a matcher of optical ones": ((MATCHING, "--sar", "RADAR", "-t", "red"), "optical images, not sar"),
    "overlapping tiles for an answerer": ((VQA, "RED", "-t", "red", "--overlap", "0.1"), "leave --overlap out"),
    "a limit for an answerer": ((VQA, "RED", "-t", "red", "--limit", "2"), "leave --limit out"),
    "no question": ((VQA, "RED"), "--text"),
    "no image": ((VQA, "-t", "red"), "no image"),
    "more images than SAR images": ((VQA, "RED", "RADAR", "--sar", "RADAR", "-t", "red"), "one --sar for each"),
    "a sentence for raw inputs": (("doubling", "RED", "-t", "red"), "leave --text out"),
    "a picture for raw inputs": (("doubling", "RED"), "takes a .npz file of x"),
}


@pytest.mark.parametrize(("arguments", "says"), WRONG.values(), ids=WRONG.keys())
def test_what_does_not_go_together_exits_2(
    rsvl: Rsvl,
    bundles: dict[str, Path],
    red: Path,
    radar: Path,
    tmp_path: Path,
    arguments: tuple[str, ...],
    says: str,
) -> None:
    task, *rest = arguments
    places = {"RED": red, "RADAR": radar}
    outcome = rsvl("run", bundles[task], *(places.get(each, each) for each in rest), "-o", tmp_path)
    assert outcome.code == 2 and says in outcome.error


def test_pair_of_different_sizes_exits_2(rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 9)).save(tmp_path / "other.png")
    outcome = rsvl("run", bundles[VQA], red, "--sar", tmp_path / "other.png", "-t", "red", "-o", tmp_path)
    assert outcome.code == 2 and "optical 8x8, sar 8x9" in outcome.error


def test_data_set_of_another_task_exits_2(rsvl: Rsvl, bundles: dict[str, Path], dataset: Path) -> None:
    outcome = rsvl("eval", bundles[VQA], "--data", "rrsis-d", "--root", dataset)
    assert outcome.code == 2 and "osvqa" in outcome.error
    assert rsvl("eval", bundles["doubling"], "--data", "rrsis-d", "--root", dataset).code == 2


def test_segmenter_of_optical_images_refuses_sar(rsvl: Rsvl, bundle: Path, radar: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, "--sar", radar, "-t", "red", "-o", tmp_path)
    assert outcome.code == 2 and "takes optical images, not sar" in outcome.error


def test_run_of_a_classifier_prints_its_classes(
    rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path
) -> None:
    outcome = rsvl("run", bundles[CLASSIFICATION], red, "-o", tmp_path, "--limit", 2)
    assert outcome.code == 0 and [line.split()[-1] for line in outcome.out.splitlines()[1:]] == ["red", "green"]
    (found,) = rsvl("run", bundles[CLASSIFICATION], red, "-o", tmp_path, "--json").json["images"][0]["found"]
    assert found["label"] == "red" and sum(found["probabilities"].values()) == pytest.approx(1)
    assert "leave --text out" in rsvl("run", bundles[CLASSIFICATION], red, "-t", "red", "-o", tmp_path).error
    assert "leave --mask out" in rsvl("run", bundles[CLASSIFICATION], red, "--mask", "-o", tmp_path).error


def test_run_of_a_classifier_on_a_scene_is_a_line_per_tile(
    rsvl: Rsvl, bundles: dict[str, Path], tmp_path: Path
) -> None:
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:, :16, 2] = pixels[:, 16:, 1] = 250
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    shown = rsvl("run", bundles[CLASSIFICATION], tmp_path / "scene.png", "-o", tmp_path, "--tile", 16).out
    assert "x 0–16, y 0–16: 1.00  blue\n  x 16–32, y 0–16: 1.00  green" in shown


def test_classes_are_named_at_export(rsvl: Rsvl, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from rsvl import registry
    from rsvl.cli.class_names import name_classes

    names = _written(tmp_path / "names.txt", "\n".join(f"kind {index}" for index in range(10)) + "\n\n")
    network = registry.create("bamta-tiny")
    with pytest.warns(UserWarning, match=r"class 0, class 1 …; name them with --classes FILE"):
        name_classes(network, None)
    name_classes(network, names)
    assert network.spec.classes[1:3] == ("kind 1", "kind 2")
    export = ("export", "-m", "bamta-tiny", "--weights", "random", "-o", tmp_path / "b.bundle", "--classes")
    assert "class names for the 10 classes" in rsvl(*export, _written(tmp_path / "few.txt", "a\nb")).error
    assert "cannot be read" in rsvl(*export, tmp_path / "none.txt").error
    other = ("export", "-m", "clip-tiny", "--weights", "random", "-o", tmp_path / "b.bundle", "--classes", names)
    assert "leave --classes out" in rsvl(*other).error and not (tmp_path / "b.bundle").exists()


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@needs("rasterio")
@pytest.mark.parametrize(
    ("task", "texts", "labels"),
    [
        (VQA, ("-t", "the red square"), {"yes", "bright", "no"}),
        (MATCHING, ("-t", "red", "-t", "blue"), {"red", "blue"}),
        (CLASSIFICATION, (), None),
    ],
)
def test_tiles_give_a_table_a_map_and_a_raster(
    rsvl: Rsvl, bundles: dict[str, Path], tmp_path: Path, task: str, texts: tuple[str, ...], labels: set | None
) -> None:
    import rasterio

    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[:8, :8], pixels[16:, 24:] = (255, 0, 0), (0, 0, 255)
    image, out = write_raster(tmp_path / "scene.tif", pixels, "EPSG:32618"), tmp_path / "o"
    outcome = rsvl("run", bundles[task], image, *texts, "--tile", 16, "--geoparquet", "-o", out, "--json")
    found = outcome.json["images"][0]["found"]
    names = ("labels.tif", "labels.tif.aux.xml", "tiles.csv", "tiles.geojson", "tiles.parquet")
    assert sorted(path.name for path in out.iterdir()) == [f"scene-{name}" for name in names]
    assert [each["box"] for each in found] == [[x, y, x + 16, y + 16] for y in (0, 8) for x in (0, 16)]
    features = json.loads((out / "scene-tiles.geojson").read_text())["features"]
    given = [each["properties"]["label"] for each in features]
    assert labels is None or set(given) <= labels
    with rasterio.open(out / "scene-labels.tif") as file:
        assert file.shape == (24, 32) and file.nodata == 255 and (file.read(1) < 255).all()


@needs("pyogrio")
def test_files_of_tiles_need_tiles(rsvl: Rsvl, bundles: dict[str, Path], red: Path, tmp_path: Path) -> None:
    for options, says in ((("--geojson",), "--tile, too"), (("--tile", "16", "--gpkg"), "leave --gpkg")):
        outcome = rsvl("run", bundles[VQA], red, "-t", "red", "-o", tmp_path / "o", *options)
        assert outcome.code == 2 and says in outcome.error and not (tmp_path / "o").exists()
