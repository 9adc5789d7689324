"""Segmenting with the toy bundle: results at the image's own size, nothing computed twice, scenes by tiles."""

import dataclasses
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, InputError, UsageError
from rsvl.runtime.images.scene import ImageScene
from rsvl.runtime.images.tiling import Window
from rsvl.runtime.loading import load
from rsvl.runtime.tasks.segmentation import Segmenter
from tests.support.toy_bundle import FUSED, SIZE, SPLIT, write_bundle


@pytest.fixture
def scene() -> np.ndarray:
    """uint8 [200, 150, 3], gray, with a red square at x 60…100, y 70…130 that crosses tiles."""
    image = np.full((200, 150, 3), 128, np.uint8)
    image[70:130, 60:100] = (255, 0, 0)
    return image


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_image_of_the_models_size_is_segmented_exactly(segmenter: Segmenter) -> None:
    image = np.full((SIZE, SIZE, 3), 128, np.uint8)
    image[4:9, 7:20] = (255, 0, 0)
    found = segmenter.segment(image, "the red square")
    assert np.array_equal(found.mask, (image == (255, 0, 0)).all(axis=2))
    assert found.mask.dtype == bool
    assert found.box == (7, 4, 20, 9)
    assert found.score == pytest.approx(1 / (1 + np.exp(-15)), abs=1e-6)


def test_mask_has_the_images_own_size(segmenter: Segmenter, squares: np.ndarray) -> None:
    red, blue = segmenter.segment(squares, ["red", "blue"])
    assert red.mask.shape == red.probability.shape == squares.shape[:2]
    assert iou(red.mask, (squares == (255, 0, 0)).all(axis=2)) > 0.75  # the model sees it at half the size
    assert iou(blue.mask, (squares == (0, 0, 255)).all(axis=2)) > 0.85


def test_result_is_one_for_a_string_and_a_list_for_a_list(segmenter: Segmenter, squares: np.ndarray) -> None:
    one = segmenter.segment(squares, "red")
    (same,) = segmenter.segment(squares, ["red"])
    assert one.text == same.text == "red"
    assert np.array_equal(one.mask, same.mask)


def test_what_is_not_there_is_an_empty_mask(segmenter: Segmenter, squares: np.ndarray) -> None:
    found = segmenter.segment(squares, "green")
    assert not found.found and not found.mask.any()
    assert (found.score, found.box, found.oriented_box, found.polygon, found.polygons, found.boxes) == (
        0.0,
        None,
        None,
        None,
        (),
        (),
    )


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.9])
def test_score_is_the_mean_probability_inside_the_mask(
    segmenter: Segmenter, squares: np.ndarray, threshold: float
) -> None:
    found = segmenter.segment(squares, "red", threshold)
    assert np.array_equal(found.mask, found.probability > threshold)
    assert found.score == pytest.approx(found.probability[found.mask].mean(dtype=np.float64), abs=1e-6)
    assert 0 <= found.score <= 1


@pytest.mark.parametrize("kind", ["png", "str", "pillow"])
def test_path_and_pillow_image_equal_the_array(
    segmenter: Segmenter, squares: np.ndarray, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(squares).save(path)
    source = {"png": path, "str": str(path), "pillow": Image.open(path)}[kind]
    assert np.array_equal(segmenter.segment(source, "red").mask, segmenter.segment(squares, "red").mask)


def test_many_sentences_encode_the_image_once(whole_bundle: Path, squares: np.ndarray, runs: list[str]) -> None:
    load(whole_bundle, threads=1).segment(squares, ["red", "green", "blue"])
    assert sorted(runs) == ["head", "head", "head", "image", "text"]


def test_same_image_and_sentence_are_not_encoded_again(
    whole_bundle: Path, squares: np.ndarray, runs: list[str]
) -> None:
    segmenter = load(whole_bundle, threads=1)
    first = segmenter.segment(squares, ["red", "blue"])[0]
    runs.clear()
    again = segmenter.segment(squares.copy(), ["green", "red"])[1]
    assert sorted(runs) == ["head", "head", "text"]
    assert np.array_equal(first.probability, again.probability)


def test_changed_image_is_encoded_again(whole_bundle: Path, squares: np.ndarray, runs: list[str]) -> None:
    segmenter = load(whole_bundle, threads=1)
    assert segmenter.segment(squares, "red").found
    squares[:] = 128
    runs.clear()
    assert not segmenter.segment(squares, "red").found
    assert runs == ["image", "head"]


def test_repeated_sentence_is_answered_twice(segmenter: Segmenter, squares: np.ndarray) -> None:
    first, second = segmenter.segment(squares, ["red", "red"])
    assert np.array_equal(first.mask, second.mask)


def test_more_sentences_than_are_kept_are_all_answered(segmenter: Segmenter, squares: np.ndarray) -> None:
    texts = [f"red {'square ' * (i % 5)}{i}" for i in range(300)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the longest is cut
        found = segmenter.segment(squares, texts)
    assert [f.text for f in found] == texts
    assert all(f.found for f in found)


def test_model_that_fuses_early_gives_the_same(segmenter: Segmenter, squares: np.ndarray, tmp_path: Path) -> None:
    fused = load(write_bundle(tmp_path / "fused", FUSED), threads=1)
    for ours, theirs in zip(
        fused.segment(squares, ["red", "blue"]), segmenter.segment(squares, ["red", "blue"]), strict=True
    ):
        np.testing.assert_allclose(ours.probability, theirs.probability, atol=1e-6)


@pytest.mark.parametrize("keep_probability", [None, True])
def test_tiles_find_what_crosses_them(segmenter: Segmenter, scene: np.ndarray, keep_probability: bool | None) -> None:
    found = segmenter.segment(scene, "red", tile=SIZE, keep_probability=keep_probability)
    assert np.array_equal(found.mask, (scene == (255, 0, 0)).all(axis=2))
    assert (found.probability is not None) == (keep_probability is True)
    assert found.score == pytest.approx(1 / (1 + np.exp(-15)), abs=1e-6)


@pytest.mark.parametrize(("tile", "overlap"), [(SIZE, 0.0), (SIZE, 0.5), (64, 0.25), (150, 0.1), (199, 0.25)])
def test_tiled_probability_agrees_with_the_whole(
    segmenter: Segmenter, scene: np.ndarray, tile: int, overlap: float
) -> None:
    found = segmenter.segment(scene, "red", tile=tile, overlap=overlap, keep_probability=True)
    truth = (scene == (255, 0, 0)).all(axis=2)
    assert iou(found.mask, truth) > 0.85
    assert np.abs(found.probability - truth)[truth | (np.arange(150) < 40)].mean() < 0.06


@pytest.mark.parametrize(
    ("shape", "tile", "images"),
    [
        ((SIZE, SIZE), "auto", 1),
        ((1, 1), "auto", 1),
        ((5, 7), "whole", 1),
        ((80, 20), "auto", 1),
        ((81, 20), "auto", 2),
        ((200, 150), "whole", 1),
        ((200, 150), 64, 12),
        ((64, 20), 64, 1),
    ],
)
def test_tile_chooses_how_many_looks_are_taken(
    whole_bundle: Path, runs: list[str], shape: tuple[int, int], tile: str | int, images: int
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    progress: list[tuple[int, int]] = []
    segmenter = load(whole_bundle, threads=1)
    segmenter.segment(noise, ["red", "blue"], tile=tile, progress=lambda *done: progress.append(done))  # type: ignore
    assert runs.count("image") == images
    assert runs.count("head") == 2 * images
    assert progress == [(i, images) for i in range(1, images + 1)]


def write_geotiff(path: Path, image: np.ndarray, nodata: int | None = None) -> Path:
    rasterio = pytest.importorskip("rasterio")
    height, width, bands = image.shape
    profile = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": "uint8"}
    georeference = {"crs": "EPSG:32618", "transform": rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)}
    with rasterio.open(path, "w", **profile, **georeference, nodata=nodata) as dataset:
        dataset.write(image.transpose(2, 0, 1))
    return path


def test_geotiff_carries_its_georeference(segmenter: Segmenter, squares: np.ndarray, tmp_path: Path) -> None:
    found = segmenter.segment(write_geotiff(tmp_path / "scene.tif", squares), "red")
    assert found.crs == "EPSG:32618"
    assert found.transform == (10, 0, 500_000, 0, -10, 4_000_000)
    assert np.array_equal(found.mask, segmenter.segment(squares, "red").mask)


@pytest.mark.parametrize("tile", ["whole", SIZE])
def test_nodata_is_never_in_the_mask_and_never_looked_at(
    whole_bundle: Path, runs: list[str], tmp_path: Path, scene: np.ndarray, tile: str | int
) -> None:
    scene[:100] = np.random.default_rng(0).integers(1, 256, (100, 150, 3))
    scene[100:] = 0
    path = write_geotiff(tmp_path / "scene.tif", scene, nodata=0)
    found = load(whole_bundle, threads=1).segment(path, "red", 0.0, tile=tile)  # type: ignore[arg-type]
    assert found.mask[:100].all() and not found.mask[100:].any()
    # Tiles of 32 with 24 apart at most: 8 rows of 6 tiles, of which the rows from 100 on see nothing.
    assert runs.count("image") == (1 if tile == "whole" else 5 * 6)


def test_large_geotiff_is_read_by_windows_only(
    segmenter: Segmenter, scene: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[Window | None] = []
    read = ImageScene.read
    monkeypatch.setattr(ImageScene, "read", lambda self, window=None: windows.append(window) or read(self, window))
    path = write_geotiff(tmp_path / "scene.tif", scene)
    found = segmenter.segment(path, "red", tile=SIZE)
    assert len(windows) > 1 and all(w is not None and w.height == w.width == SIZE for w in windows)
    assert np.array_equal(found.mask, segmenter.segment(scene, "red", tile=SIZE).mask)


@pytest.mark.parametrize("sentence", ["", "  ", ["red", ""]])
def test_empty_sentence_is_refused(segmenter: Segmenter, squares: np.ndarray, sentence: str | list[str]) -> None:
    with pytest.raises(InputError, match="sentence is empty"):
        segmenter.segment(squares, sentence)


def test_sentence_of_500_words_is_cut_with_a_warning(segmenter: Segmenter, squares: np.ndarray) -> None:
    with pytest.warns(UserWarning, match="was cut"):
        long = segmenter.segment(squares, "red " + "the " * 499)
    assert np.array_equal(long.mask, segmenter.segment(squares, "red").mask)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"threshold": float("nan")},
        {"overlap": 0.6},
        {"overlap": -0.1},
        {"tile": 0},
        {"tile": -5},
        {"tile": "tiny"},
        {"tile": 0.5},
    ],
    ids=str,
)
def test_option_out_of_range_is_refused(segmenter: Segmenter, squares: np.ndarray, options: dict) -> None:
    with pytest.raises(UsageError):
        segmenter.segment(squares, "red", **options)


def test_no_sentence_is_refused(segmenter: Segmenter, squares: np.ndarray) -> None:
    with pytest.raises(UsageError, match="no sentence"):
        segmenter.segment(squares, [])


def test_missing_image_is_refused_before_anything_runs(segmenter: Segmenter, tmp_path: Path, runs: list[str]) -> None:
    with pytest.raises(InputError, match="nowhere"):
        segmenter.segment(tmp_path / "nowhere.tif", "a sentence not seen before")
    assert runs == []


def test_model_without_a_mask_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", SPLIT[:2])
    with pytest.raises(BundleError, match="give no mask_logits"):
        Segmenter(Bundle(folder))


def test_narrow_image_is_padded_for_a_model_of_squares(whole_bundle: Path) -> None:
    segmenter = load(whole_bundle, threads=1)
    spec = dataclasses.replace(segmenter.spec.image, keep_aspect=True)
    segmenter.manifest = dataclasses.replace(
        segmenter.manifest, model=dataclasses.replace(segmenter.spec, images=(spec,))
    )
    image = np.full((20, 64, 3), 128, np.uint8)
    image[4:16, 10:30] = (255, 0, 0)
    found = segmenter.segment(image, "red")
    assert found.mask.shape == (20, 64) and iou(found.mask, (image == (255, 0, 0)).all(axis=2)) > 0.8


def test_unknown_words_are_told_once(segmenter: Segmenter, squares: np.ndarray) -> None:
    fresh = load(segmenter.bundle, "cpu", 1)
    with pytest.warns(UserWarning, match="does not know the words zeppelin, kayak"):
        fresh.segment(squares, ["the red zeppelin", "the blue kayak"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fresh.segment(squares, "the zeppelin")


def test_raw_inputs_of_unequal_number_are_an_input_error(segmenter: Segmenter) -> None:
    images, tokens = np.zeros((2, 3, SIZE, SIZE), np.float32), np.zeros((3, 8), np.int64)
    with pytest.raises(InputError, match="tokens has 3 as its batch, another has 2"):
        segmenter.run(image=images, tokens=tokens)


def test_many_sentences_are_encoded_in_bounded_batches(whole_bundle: Path, squares: np.ndarray) -> None:
    runner, batches = load(whole_bundle, "cpu", 1), []
    runner.set_input_hook(lambda graph, feeds: batches.append(len(feeds["tokens"])) if graph == "text" else None)
    found = runner.segment(squares, ["the red square" + " the" * n for n in range(70)])
    assert sum(batches) == 70 and max(batches) <= 32
    assert {each.area for each in found} == {found[0].area}
