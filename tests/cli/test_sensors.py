"""Images of other sensors and of many bands on the command line, and the synthetic datasets of each task."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rsvl.data import DATASETS, open_dataset
from tests.support.installed import needs
from tests.support.outcome import Rsvl


@pytest.fixture
def six_bands(image: Path, tmp_path: Path) -> Path:
    """The red square in a raster whose bands 6, 1 and 3 are its red, green and blue."""
    rasterio = pytest.importorskip("rasterio")
    rgb = np.asarray(Image.open(image))
    cube = np.full((6, *rgb.shape[:2]), 77, np.uint8)
    cube[[5, 0, 2]] = rgb.transpose(2, 0, 1)
    path = tmp_path / "six.tif"
    transform = rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)
    profile = {"driver": "GTiff", "count": 6, "height": 32, "width": 32, "dtype": "uint8", "crs": "EPSG:32618"}
    with rasterio.open(path, "w", **profile, transform=transform) as dataset:
        dataset.write(cube)
        dataset.set_band_description(6, "deep red")
    return path


def test_raster_of_unknown_bands_is_one_line(rsvl: Rsvl, bundle: Path, six_bands: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, six_bands, "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert "six.tif has 6 bands and does not say which are red, green and blue" in outcome.err


@pytest.mark.parametrize("bands", ["6,1,3", "deep red, 1, 3"])
def test_bands_are_chosen_by_number_and_name(
    rsvl: Rsvl, bundle: Path, six_bands: Path, tmp_path: Path, bands: str
) -> None:
    outcome = rsvl("run", bundle, six_bands, "-t", "the red square", "--bands", bands, "-o", tmp_path / "out")
    assert outcome.code == 0 and "100 px in x 10–20, y 5–15" in outcome.out


@pytest.mark.parametrize(("bands", "message"), [("6,1", "2 bands: name three"), ("6,1,nir", "no band 'nir'")])
def test_wrong_bands_are_one_line(
    rsvl: Rsvl, bundle: Path, six_bands: Path, tmp_path: Path, bands: str, message: str
) -> None:
    outcome = rsvl("run", bundle, six_bands, "-t", "red", "--bands", bands, "-o", tmp_path / "out")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1 and message in outcome.err


def test_sar_told_to_an_optical_model_is_one_line(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    outcome = rsvl("run", bundle, "--sar", image, "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert "takes optical images, not sar" in outcome.err


def test_one_band_is_answered_with_a_warning(rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path) -> None:
    Image.open(image).convert("L").save(tmp_path / "gray.png")
    outcome = rsvl("run", bundle, tmp_path / "gray.png", "-t", "red", "-o", tmp_path / "out")
    assert outcome.code == 0 and "one band is shown, as gray" in outcome.err


@pytest.mark.parametrize(
    ("dtype", "nodata", "code", "line"),
    [
        ("uint16", None, 0, "wide.tif: bands 1, 2, 3 are shown as red, green, blue by the order of three bands"),
        ("uint16", None, 0, "uint16 that holds 8-bit values, 0…255"),
        ("float32", 0, 0, "; no pixel holds data"),
        ("complex64", None, 0, "the amplitude of complex values is shown"),
    ],
)
def test_values_other_than_8_bits_are_told_of(
    rsvl: Rsvl, bundle: Path, image: Path, tmp_path: Path, dtype: str, nodata: float | None, code: int, line: str
) -> None:
    rasterio = pytest.importorskip("rasterio")
    values = np.asarray(Image.open(image)).transpose(2, 0, 1).astype(dtype)
    profile = {"driver": "GTiff", "count": 3, "height": 32, "width": 32, "dtype": dtype, "nodata": nodata}
    profile |= {"crs": "EPSG:32618", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
    with rasterio.open(tmp_path / "wide.tif", "w", **profile) as f:
        f.write(values if nodata != 0 else 0 * values)
    outcome = rsvl("run", bundle, tmp_path / "wide.tif", "-t", "the red square", "-o", tmp_path / "out")
    assert outcome.code == code and line in outcome.err and len(outcome.err.splitlines()) == 1


@needs("cv2")
@pytest.mark.parametrize(
    ("task", "data", "sensor", "unit"),
    [
        ("referring-segmentation", "rrsis-d", "optical", "expressions"),
        ("grounding", "optsar-rsvg", "both", "expressions"),
        ("vqa", "osvqa", "both", "questions"),
        ("classification", "scenes", "sar", "scene labels"),
        ("captions", "rsicd", "optical", "captions"),
    ],
)
def test_synth_writes_what_the_task_s_data_set_reads(
    rsvl: Rsvl, tmp_path: Path, task: str, data: str, sensor: str, unit: str
) -> None:
    arguments = ("-n", 5, "--size", 64, "--val", 1, "--test", 0, "--task", task, "--sensor", sensor)
    found = rsvl("synth", tmp_path / "set", *arguments, "--json").json
    assert found["task"] == task and found["unit"] == unit and found["scenes"] == {"train": 4, "val": 1, "test": 0}
    train = open_dataset(data, tmp_path / "set", "train", DATASETS[data].kind)
    assert len(train) == (8 if task == "grounding" else 4) and found["labels"]["train"] > 0
    shown = rsvl("synth", tmp_path / "again", *arguments)
    assert f"{sum(found['labels'].values())} {unit}" in shown.out


@needs("cv2")
def test_sensor_that_a_task_does_not_know_is_one_line(rsvl: Rsvl, tmp_path: Path) -> None:
    outcome = rsvl("synth", tmp_path / "set", "-n", 2, "--task", "classification", "--sensor", "both")
    assert outcome.code == 2 and len(outcome.err.splitlines()) == 1
    assert "choose optical or sar" in outcome.err and not (tmp_path / "set").exists()
