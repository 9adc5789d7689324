"""Figures of images whose values are known."""

import cv2
import numpy as np
import pytest

from rsvl.benchmarks.laboratory.image_statistics import object_sizes, statistics
from rsvl.data.records import ImageRecord, Referring


def test_figures_of_two_flat_halves() -> None:
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, :128] = 30
    image[:, 128:] = 130
    found = statistics(image)
    assert found["brightness"] == pytest.approx(80) and found["contrast"] == pytest.approx(50)
    assert found["saturation"] == 0 and found["dark"] == pytest.approx(0.5)
    # The darkest within 15 pixels: the bright half less seven columns at its edge.
    assert found["haze"] == pytest.approx((30 * 135 + 130 * 121) / 256)


def test_saturation_is_that_of_the_pure_colour() -> None:
    assert statistics(np.full((32, 32, 3), (200, 100, 100), np.uint8))["saturation"] == pytest.approx(0.5, abs=0.01)


def test_blocks_are_seen_after_strong_compression() -> None:
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3)).astype(np.float32), (0, 0), 3)
    image = np.clip((image - 128) * 6 + 128, 0, 255).astype(np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 5])
    assert statistics(image)["blocks"] == pytest.approx(1, abs=0.05)
    assert statistics(cv2.imdecode(data, cv2.IMREAD_COLOR))["blocks"] > 1.5


def test_detail_is_what_a_blur_removes() -> None:
    noise = np.random.default_rng(0).normal(128, 10, (256, 256, 1)).clip(0, 255).astype(np.uint8).repeat(3, axis=2)
    # A Gaussian of 1 pixel keeps 1/(4π) of white noise's variance, and 1/(2π) of its product with the noise.
    assert statistics(noise)["detail"] == pytest.approx(10 * np.sqrt(1 + 1 / (4 * np.pi) - 2 / (2 * np.pi)), rel=0.03)


def test_sizes_are_in_pixels_of_the_small_image_each_object_once() -> None:
    refs = (
        Referring(1, ("a",), bbox=(0, 0, 16, 4)),
        Referring(2, ("b",), bbox=(0, 0, 16, 4)),
        Referring(3, ("c",), bbox=(0, 0, 99, 99), boxes=((0, 0, 16, 4), (8, 8, 32, 32))),
        Referring(4, ("d",), no_target=True),
    )
    assert sorted(object_sizes(ImageRecord(None, 512, 256, refs))) == [4, 16]  # type: ignore[arg-type]
