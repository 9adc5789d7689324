"""Comparing exported graphs with PyTorch: the cut, the IoU, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rsvl.export.verify import compare, mask_cut, mask_ious, run_pytorch
from rsvl.runtime.errors import VerificationError

HALF = math.log(0.4 / 0.6)


@pytest.mark.parametrize(
    ("inside", "cut", "name"),
    [(0.5, HALF, "threshold"), (0.001, -2.0, "median"), (0.0, -2.0, "median"), (1.0, 3.0, "median")],
)
def test_mask_cut_is_the_threshold_where_masks_there_say_something(inside: float, cut: float, name: str) -> None:
    values = np.full(20_000, -2.0, np.float32)
    values[: round(inside * len(values))] = 3.0
    assert mask_cut(values.reshape(2, 1, 100, 100), 0.4) == (pytest.approx(cut), name)


def masks(*pixels: slice) -> np.ndarray:
    """Logits [N, 1, 100, 100] that are positive in a range of pixels of each sample."""
    values = np.full((len(pixels), 10_000), -1.0, np.float32)
    for row, inside in zip(values, pixels, strict=True):
        row[inside] = 1.0
    return values.reshape(-1, 1, 100, 100)


@pytest.mark.parametrize(
    ("expected", "actual", "ious", "least"),
    [
        ([slice(0, 4000)], [slice(0, 2000)], [0.5], 0.5),
        ([slice(0, 0), slice(0, 4000)], [slice(0, 0), slice(0, 4000)], [1.0, 1.0], 1.0),
        ([slice(0, 2), slice(0, 4000)], [slice(0, 1), slice(0, 4000)], [0.5, 1.0], 4001 / 4002),
        ([slice(0, 2000), slice(0, 8000)], [slice(0, 1980), slice(0, 8000)], [0.99, 1.0], 0.99),
        ([slice(0, 9), slice(0, 9)], [slice(9, 18), slice(0, 9)], [0.0, 1.0], 9 / 27),
        ([slice(0, 0)], [slice(0, 0)], [1.0], 1.0),
    ],
)
def test_mask_ious_of_each_sample_and_the_least_that_counts(
    expected: list[slice], actual: list[slice], ious: list[float], least: float
) -> None:
    found, found_least = mask_ious(masks(*expected), masks(*actual), 0.0)
    assert found == pytest.approx(ious)
    assert found_least == pytest.approx(least)


def test_compare_measures_the_largest_difference_of_each_output(toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    actual = {**expected, "sentence": expected["sentence"] + np.float32(0.25)}
    found = compare(toy.spec, expected, actual, "fp32")
    assert found.largest_difference == pytest.approx({"layers": 0.0, "sentence": 0.25, "mask_logits": 0.0}, abs=1e-6)
    assert (found.iou_min, found.iou_mean, found.inputs, found.batches) == (1.0, 1.0, 8, (1, 3, 4))


def flip(masks: np.ndarray, share: float) -> np.ndarray:
    """Logits whose mask lacks that share of one sample's mask."""
    flipped = masks.copy()
    inside = np.flatnonzero(masks[5].ravel() > HALF)
    flipped[5].ravel()[inside[: round(share * len(inside))]] = -9.0
    return flipped


@pytest.mark.parametrize(
    ("precision", "share", "refused"),
    [("fp32", 0.0, False), ("fp32", 0.008, True), ("fp16", 0.008, False), ("fp16", 0.02, True)],
)
def test_compare_refuses_when_one_sample_agrees_too_little(precision: str, share: float, refused: bool, toy) -> None:
    spec = toy.spec
    rng = np.random.default_rng(0)
    expected = {t.name: np.zeros((8, 1), np.float32) for graph in spec.graphs for t in graph.outputs}
    expected["mask_logits"] = rng.normal(size=(8, 1, 64, 64)).astype(np.float32)
    actual = {**expected, "mask_logits": flip(expected["mask_logits"], share)}
    if not refused:
        assert compare(spec, expected, actual, precision).iou_min == pytest.approx(1 - share, abs=1e-3)
        return
    with pytest.raises(VerificationError, match="agree only to IoU"):
        compare(spec, expected, actual, precision)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_compare_refuses_values_that_are_not_finite(value: float, toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    actual = {name: array.copy() for name, array in expected.items()}
    actual["layers"][3, 0, 0, 0, 0] = value
    with pytest.raises(VerificationError, match=r"output layers of the exported graph has values that are not finite"):
        compare(toy.spec, expected, actual, "fp32")


def test_compare_refuses_another_shape(toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    with pytest.raises(VerificationError, match=r"mask_logits .* \[8, 1, 16, 8\]"):
        compare(toy.spec, expected, {**expected, "mask_logits": expected["mask_logits"][..., :8]}, "fp32")


def test_run_pytorch_equals_the_model_on_all_samples_at_once(toy, samples) -> None:
    import torch

    with torch.no_grad():
        whole = toy(torch.from_numpy(samples["image"]), torch.from_numpy(samples["tokens"])).numpy()
    np.testing.assert_allclose(run_pytorch(toy, toy.spec, samples)["mask_logits"], whole, atol=1e-5)
