"""Comparing exported graphs with PyTorch: what is measured, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rsvl.export.pytorch_reference import run_pytorch
from rsvl.export.verify import Reference, Tensors, Verification, compare
from rsvl.runtime.errors import VerificationError
from rsvl.runtime.manifest import ModelSpec

HALF = math.log(0.4 / 0.6)


def compared(spec: ModelSpec, expected: Tensors, actual: Tensors, precision: str) -> Verification:
    return compare(spec, Reference("PyTorch", expected), actual, precision)


def test_compare_measures_the_largest_difference_of_each_output(toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    actual = {**expected, "sentence": expected["sentence"] + np.float32(0.25)}
    found = compared(toy.spec, expected, actual, "fp32")
    assert found.largest_difference == pytest.approx({"layers": 0.0, "sentence": 0.25, "mask_logits": 0.0}, abs=1e-6)
    assert (found.measures[0].value, found.inputs, found.batches) == (1.0, 8, (1, 3, 4))


def flip(masks: np.ndarray, share: float) -> np.ndarray:
    """Logits whose mask lacks that share of one sample's mask: the pixels that were in it by the least."""
    flipped = masks.copy()
    inside = np.flatnonzero(masks[5].ravel() > HALF)
    inside = inside[np.argsort(masks[5].ravel()[inside])]
    flipped[5].ravel()[inside[: round(share * len(inside))]] = HALF - 0.01
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
        assert compared(spec, expected, actual, precision).measures[0].value == pytest.approx(1 - share, abs=1e-3)
        return
    with pytest.raises(VerificationError, match=r"mask IoU 0\.9"):
        compared(spec, expected, actual, precision)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_compare_refuses_values_that_are_not_finite(value: float, toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    actual = {name: array.copy() for name, array in expected.items()}
    actual["layers"][3, 0, 0, 0, 0] = value
    with pytest.raises(VerificationError, match=r"output layers of the exported graph has values that are not finite"):
        compared(toy.spec, expected, actual, "fp32")


def test_compare_refuses_another_shape(toy, samples) -> None:
    expected = run_pytorch(toy, toy.spec, samples)
    with pytest.raises(VerificationError, match=r"mask_logits .* \[8, 1, 16, 8\]"):
        compared(toy.spec, expected, {**expected, "mask_logits": expected["mask_logits"][..., :8]}, "fp32")


def test_run_pytorch_equals_the_model_on_all_samples_at_once(toy, samples) -> None:
    import torch

    with torch.no_grad():
        whole = toy(torch.from_numpy(samples["image"]), torch.from_numpy(samples["tokens"])).numpy()
    np.testing.assert_allclose(run_pytorch(toy, toy.spec, samples)["mask_logits"], whole, atol=1e-5)
