"""The SAR twin of a scene: speckle as theory has it, and what is bright and dark as in a radar image."""

import cv2
import numpy as np
import pytest
from scipy import stats

from rsvl.data.synth import generate
from rsvl.data.synth.sar import LOOKS, speckled


def test_speckle_of_an_even_surface_is_gamma_of_its_looks() -> None:
    power = speckled(np.random.default_rng(0), np.full((256, 256), 3.0, np.float32))
    assert power.mean() == pytest.approx(3.0, rel=0.01)
    assert power.std() / power.mean() == pytest.approx(LOOKS**-0.5, rel=0.02)
    assert stats.kstest(power.ravel()[::16] / 3.0, stats.gamma(LOOKS, scale=1 / LOOKS).cdf).pvalue > 0.01


@pytest.fixture(scope="module", params=[75, 88, 172])  # seeds that show nothing but water and ships
def water(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """SAR image, pixels of the ships, and pixels of open water well away from everything."""
    scene = generate(request.param, with_sar=True)
    assert scene.setting == "open water" and scene.sar is not None
    ships = np.any([thing.mask for thing in scene.objects], axis=0)
    return scene.sar, ships, cv2.dilate(ships.astype(np.uint8), np.ones((31, 31))) == 0


def test_water_speckle_has_the_looks_that_are_stated(water: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    sar, _, open_water = water
    intensity = (sar[open_water].astype(float) + 0.5) ** 2  # the image is an amplitude, rounded down
    assert intensity.std() / intensity.mean() == pytest.approx(LOOKS**-0.5, rel=0.05)


def test_ships_stand_bright_out_of_dark_water(water: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    sar, ships, open_water = water
    assert sar[ships].mean() > 5 * sar[open_water].mean()


def test_corners_saturate() -> None:
    scene = generate((0, 0), with_sar=True)
    built = [o for o in scene.objects if o.category in ("building", "storage tank")]
    assert built and scene.sar is not None
    assert all((scene.sar[thing.mask] == 255).any() for thing in built)


def test_sar_is_no_gray_copy_of_the_optical_image() -> None:
    correlations = []
    for k in range(10):
        scene = generate((2, k), 128, with_sar=True)
        assert scene.sar is not None
        correlations.append(np.corrcoef(scene.image.mean(-1).ravel(), scene.sar.ravel())[0, 1])
    assert np.mean(np.abs(correlations)) < 0.6
