"""Masks of a model that sees images in a letterbox: to the image and back, against OpenCV and formulas."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rsvl.models.cris import PRESETS
from rsvl.runtime.manifest import SEGMENTATION, GraphSpec, ImageSpec, ModelSpec, TensorSpec
from rsvl.runtime.tasks.segmentation import logits_at
from rsvl.tasks.segmentation.training import target

SQUARE, SIDE = 64, 16


def spec_of(
    align_corners: bool, letterbox: int | None = 0, side: int = SIDE, image: ImageSpec | None = None
) -> ModelSpec:
    image = image or ImageSpec(4 * side, (0.5,) * 3, (0.25,) * 3, letterbox=letterbox)
    head = GraphSpec("head", (), (TensorSpec("mask_logits", ("batch", 1, side, side)),))
    return ModelSpec("m", SEGMENTATION, "", (image,), None, (head,), align_corners=align_corners)


def ellipse(height: int, width: int) -> np.ndarray:
    """An ellipse in the upper left quarter, float32 0 or 1."""
    y, x = np.mgrid[:height, :width]
    inside = ((x - 0.3 * width) / (0.2 * width)) ** 2 + ((y - 0.35 * height) / (0.22 * height)) ** 2 < 1
    return inside.astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("shape", [(64, 64), (48, 128), (300, 100)], ids=str)
def test_logits_at_a_pixel_are_those_between_its_four_neighbours(shape: tuple[int, int], align_corners: bool) -> None:
    height, width = shape
    logits = np.random.default_rng(0).normal(size=(SIDE, SIDE))
    found = logits_at(logits, shape, spec_of(align_corners))
    scale = SQUARE / max(shape)
    top, left = round((SQUARE - height * scale) / 2 - 0.1), round((SQUARE - width * scale) / 2 - 0.1)
    scales = round(height * scale) / height, round(width * scale) / width
    step = (SQUARE - 1) / (SIDE - 1) if align_corners else SQUARE / SIDE
    for row, column in [(0, 0), (height // 3, width // 2), (height - 1, width - 1)]:
        square = (row + 0.5) * scales[0] + top - 0.5, (column + 0.5) * scales[1] + left - 0.5
        y, x = (p / step if align_corners else (p + 0.5) / step - 0.5 for p in square)
        y, x = (min(max(p, 0), SIDE - 1) for p in (y, x))
        i, j = min(int(y), SIDE - 2), min(int(x), SIDE - 2)
        v, u = y - i, x - j
        expected = (1 - v) * ((1 - u) * logits[i, j] + u * logits[i, j + 1])
        expected += v * ((1 - u) * logits[i + 1, j] + u * logits[i + 1, j + 1])
        assert found.shape == shape and found[row, column] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_without_a_letterbox_are_pytorchs_interpolation(align_corners: bool) -> None:
    logits = np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32)
    found = logits_at(logits, (SQUARE, SQUARE), spec_of(align_corners, letterbox=None))
    expected = F.interpolate(torch.tensor(logits)[None, None], SQUARE, mode="bilinear", align_corners=align_corners)
    np.testing.assert_allclose(found, expected[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("shape", [(200, 200), (150, 400), (333, 127)], ids=str)
def test_training_target_of_a_mask_comes_back_as_the_mask(shape: tuple[int, int], align_corners: bool) -> None:
    mask, spec = ellipse(*shape), spec_of(align_corners, side=64)
    wanted = target(mask, spec)
    assert wanted.shape == (64, 64) and wanted.dtype == np.float32
    found = logits_at(wanted - 0.5, shape, spec) > 0
    shift = np.argwhere(found).mean(0) - np.argwhere(mask > 0).mean(0)
    assert (found & (mask > 0)).sum() / (found | (mask > 0)).sum() > 0.85
    assert np.abs(shift).max() < 0.15 * max(shape) / 64  # of a cell


def test_target_of_points_is_the_mask_at_them_and_nothing_in_the_border() -> None:
    mask = np.ones((32, 64), np.float32)
    mask[:, :32] = 0
    # 64 × 64 with 16 rows of border above and below: points at 4.2 n, so the rows 4 to 11 and the columns 8 to 15.
    expected = np.zeros((SIDE, SIDE), np.float32)
    expected[4:12, 8:] = 1
    np.testing.assert_array_equal(target(mask, spec_of(align_corners=True)), expected)


@pytest.mark.parametrize("shape", [(480, 640), (800, 800), (700, 333)], ids=str)
def test_criss_masks_on_the_image_are_its_authors(shape: tuple[int, int]) -> None:
    preset = PRESETS["cris"]
    spec = replace(spec_of(preset.align_corners, image=preset.image), threshold=0.35)
    size, side = preset.image.size, 4 * preset.side
    y, x = np.mgrid[:side, :side] / (side - 1)
    inner = np.hypot((x - 0.45) / 0.2, (y - 0.5) / 0.13)
    logits = (6 * (1 - inner)).astype(np.float32)  # a soft ellipse
    # Theirs: probabilities, bicubic with aligned corners, warped back by the matrix of the letterbox's inverse.
    probability = torch.tensor(logits)[None, None].sigmoid()
    square = F.interpolate(probability, size, mode="bicubic", align_corners=True)[0, 0].numpy()
    scale = min(size / shape[0], size / shape[1])
    shift = [(size - scale * shape[1]) / 2, (size - scale * shape[0]) / 2]
    matrix = np.array([[1 / scale, 0, -shift[0] / scale], [0, 1 / scale, -shift[1] / scale]])
    theirs = cv2.warpAffine(square, matrix, (shape[1], shape[0]), flags=cv2.INTER_CUBIC) > spec.threshold
    ours = logits_at(logits, shape, spec) > np.log(spec.threshold / (1 - spec.threshold))
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.99
    # Their matrix scales indices of pixels, ours places: their image is shifted by that much on its way in, too.
    moved = np.argwhere(ours).mean(0) - np.argwhere(theirs).mean(0)
    np.testing.assert_allclose(moved, (1 / scale - 1) / 2, atol=0.15)
