"""Evaluations show a model what `rsvl run` does: the bands and the stretch that it declares for the record's sensor."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

from rsvl.data import ImageRecord
from rsvl.runtime.errors import UsageError
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import GROUNDING, SEGMENTATION, ImageSpec, ModelSpec
from rsvl.tasks import evaluation_of, training_of
from rsvl.tasks.sentences import read_record_image
from tests.support.toy_learners import ToyMatcher

SIZE = 16
STRETCH = (10.0, 60.0)
SPEC = ImageSpec(SIZE, (0.0,) * 3, (1.0,) * 3, bands=(4, 1, 2), stretch=STRETCH)

pytestmark = pytest.mark.filterwarnings("ignore:.*stretched to 8 bits:UserWarning")


@pytest.fixture
def values() -> np.ndarray:
    """Four bands of 16 bits, uint16 [4, S, S], that differ in level and spread."""
    levels = np.array([200, 900, 3000, 500])[:, None, None]
    noise = np.random.default_rng(3).exponential(1, (4, SIZE, SIZE))
    return (levels * (1 + noise)).astype(np.uint16)


@pytest.fixture
def raster(values: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 4, "height": SIZE, "width": SIZE, "dtype": "uint16", "crs": "EPSG:32618"}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)) as file:
        file.write(values)
    return path


def shown(values: np.ndarray) -> np.ndarray:
    """The declared bands stretched between the declared percentiles of them all, in float64."""
    bands = values[[3, 0, 1]].transpose(1, 2, 0).astype(np.float64)
    low, high = np.percentile(bands, STRETCH)
    return np.rint(np.clip((bands - low) / (high - low), 0, 1) * 255)


def test_image_has_the_declared_bands_and_stretch(values: np.ndarray, raster: Path) -> None:
    spec = ModelSpec("declared", SEGMENTATION, "none", (SPEC,), None, ())
    seen = read_record_image(ImageRecord(raster, SIZE, SIZE, ()), spec)
    assert np.abs(seen - shown(values)).max() <= 1


@pytest.mark.parametrize("task", [SEGMENTATION, GROUNDING])
def test_loaded_bundle_is_shown_what_it_declares(task: str, values: np.ndarray, raster: Path) -> None:
    seen: list[np.ndarray] = []
    answer = SimpleNamespace(mask=np.zeros((SIZE, SIZE), bool), box=(0, 0, 1, 1))

    def look(image: np.ndarray, texts: list[str], *_: object, **__: object) -> list[SimpleNamespace]:
        seen.append(image)
        return [answer]

    runner = SimpleNamespace(spec=ModelSpec("declared", task, "none", (SPEC,), None, ()), segment=look, ground=look)
    evaluation_of(task).runner_predictor(runner)(ImageRecord(raster, SIZE, SIZE, ()), ["red"])
    assert np.abs(seen[0] - shown(values)).max() <= 1


def test_sensor_that_the_model_does_not_take_is_refused(raster: Path) -> None:
    spec = ModelSpec("declared", SEGMENTATION, "none", (SPEC,), None, ())
    with pytest.raises(UsageError, match="declared takes optical images, not sar"):
        read_record_image(ImageRecord(raster, SIZE, SIZE, (), sensor="sar"), spec)


def test_pytorch_matcher_is_shown_what_it_declares(values: np.ndarray, raster: Path) -> None:
    model = ToyMatcher()
    model.spec = ModelSpec("declared", model.spec.task, "none", (SPEC,), model.spec.text, ())
    seen: list[np.ndarray] = []
    model.encode_image = lambda image: seen.append(image.numpy()) or (image.mean((2, 3)),)  # type: ignore[assignment]
    training_of(model.spec.task).torch_predictor(model).embed_images([raster])
    assert np.abs(seen[0][0] - preprocess(shown(values).astype(np.uint8), SPEC)).max() <= 1.01 / 255
