"""A letterbox: sizes, borders and boxes worked out by hand; pixels against OpenCV's resize."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rsvl.runtime.images.letterbox import placement
from rsvl.runtime.images.preprocess import preprocess, resize_cubic, resize_linear
from rsvl.runtime.manifest import ImageSpec

SPEC = ImageSpec(640, (0.0,) * 3, (1.0,) * 3, resize="linear", letterbox=114)
RNG = np.random.default_rng(0)


# r = min(640 / h, 640 / w); sides round(side · r); the border before is round((640 - side) / 2 - 0.1).
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((800, 800), (0, 0, 640, 640)),
        ((600, 800), (0, 80, 640, 480)),  # r 0.8; 160 rows left over
        ((480, 320), (106, 0, 427, 640)),  # r 4/3: 426.67 columns, 213 left over, 106 before and 107 after
        ((101, 64), (117, 0, 406, 640)),  # r 6.3366: 405.54 columns, 234 left over
        ((10, 2000), (0, 318, 640, 3)),  # r 0.32: 3.2 rows, 637 left over: 318.4 before
        ((1, 5000), (0, 319, 640, 1)),  # never less than a pixel
    ],
)
def test_image_lies_in_the_middle_of_the_square(shape: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert placement(*shape, SPEC)[:4] == expected


def test_border_is_gray_and_the_image_whole() -> None:
    image = RNG.integers(0, 256, (320, 640, 3), np.uint8)
    found = preprocess(image, SPEC).transpose(1, 2, 0) * 255
    np.testing.assert_allclose(found[160:480], image, atol=1e-3)
    np.testing.assert_allclose(found[[0, 159, 480, 639]], 114, atol=1e-3)


def test_border_can_have_a_colour() -> None:
    found = preprocess(np.zeros((320, 640, 3), np.uint8), replace(SPEC, letterbox=(123, 117, 104)))
    np.testing.assert_allclose(found[:, [0, 639], 5] * 255, np.array([[123, 117, 104]] * 2).T, atol=1e-3)
    assert not found[:, 160:480].any()


def test_boxes_come_back_without_the_border_and_clipped() -> None:
    # 600 × 800: r = 0.8, 80 rows above. (64, 160, 320, 400) in the square is (80, 100, 400, 400) in the image.
    boxes = np.array([[64, 160, 320, 400], [-6.4, 16, 800, 620]]) / 640
    found = placement(600, 800, SPEC).to_image(boxes)
    np.testing.assert_allclose(found, [[80, 100, 400, 400], [0, 0, 800, 600]], atol=1e-9)


@pytest.mark.parametrize("letterbox", [None, 114])
def test_to_square_is_the_inverse(letterbox: int | None) -> None:
    place = placement(300, 500, replace(SPEC, letterbox=letterbox))
    boxes = np.array([[10.0, 20.0, 480.0, 300.0], [0.0, 0.0, 1.0, 7.5]])
    np.testing.assert_allclose(place.to_image(place.to_square(boxes)), boxes, atol=1e-9)


def test_stretched_image_fills_the_square() -> None:
    place = placement(300, 500, replace(SPEC, letterbox=None))
    assert place[:4] == (0, 0, 640, 640)
    np.testing.assert_allclose(place.to_image(np.array([[0, 0.5, 0.25, 1]])), [[0, 150, 125, 300]], atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "cubic"])
@pytest.mark.parametrize("shape", [(30, 40), (200, 133), (1, 7), (64, 64)], ids=str)
def test_resizing_is_opencvs_to_a_255th(shape: tuple[int, int], name: str) -> None:
    cv2 = pytest.importorskip("cv2")
    image = RNG.integers(0, 256, (*shape, 3), np.uint8)
    resize, kind = {"linear": (resize_linear, cv2.INTER_LINEAR), "cubic": (resize_cubic, cv2.INTER_CUBIC)}[name]
    expected = cv2.resize(image, (57, 48), interpolation=kind)
    assert np.abs(resize(image, 48, 57).astype(int) - expected).max() <= 1
