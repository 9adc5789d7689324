"""Boxes against formulas written out for one pair, cell or side at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsvl.models.optisar.box_distribution import BoxDistribution, small_first
from rsvl.models.optisar.boxes import box_coverage, box_iou, complete_iou

PAIRS = {  # two boxes, their IoU
    "equal": ([1, 2, 5, 4], [1, 2, 5, 4], 1.0),
    "apart": ([0, 0, 1, 1], [2, 2, 3, 3], 0.0),
    "touching": ([0, 0, 1, 1], [1, 0, 2, 1], 0.0),
    "half covered": ([0, 0, 4, 2], [0, 0, 2, 2], 0.5),
    "crossing": ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7),
    "inside": ([0, 0, 4, 4], [1, 1, 2, 3], 2 / 16),
    "one of no size": ([0, 0, 4, 4], [1, 1, 1, 1], 0.0),
}


def complete(a: list[float], b: list[float], iou: float) -> float:
    """CIoU as its paper writes it."""
    apart = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    angles = [math.atan2(box[2] - box[0], box[3] - box[1]) for box in (a, b)]
    v = 4 / math.pi**2 * (angles[1] - angles[0]) ** 2
    return iou - apart / diagonal - (v * v / (1 - iou + v) if v else 0)


@pytest.mark.parametrize(("a", "b", "iou"), PAIRS.values(), ids=PAIRS)
def test_overlap_of_two_boxes_is_the_formula_and_symmetric(a: list[float], b: list[float], iou: float) -> None:
    one, other = (torch.tensor(box, dtype=torch.float64) for box in (a, b))
    for pair in ((one, other), (other, one)):
        assert box_iou(*pair).item() == pytest.approx(iou, abs=1e-9)
    if iou or "size" not in str(b):
        assert complete_iou(one, other).item() == pytest.approx(complete(a, b, iou), abs=1e-9)


def test_overlaps_of_all_pairs_broadcast() -> None:
    a, b = (torch.tensor([pair[i] for pair in PAIRS.values()], dtype=torch.float64) for i in (0, 1))
    both = box_iou(a[:, None], b)
    assert both.shape == (len(PAIRS), len(PAIRS))
    assert both.diagonal().tolist() == pytest.approx([iou for *_, iou in PAIRS.values()], abs=1e-9)


def test_gradient_of_complete_iou_pulls_boxes_together_even_apart() -> None:
    box = torch.tensor([0.1, 0.1, 0.2, 0.2], requires_grad=True)
    complete_iou(box, torch.tensor([0.6, 0.6, 0.8, 0.9])).backward()
    assert torch.isfinite(box.grad).all()
    assert (box.grad[:2] + box.grad[2:] > 0).all()


def test_coverage_is_the_share_of_each_cell_inside_the_box() -> None:
    boxes = torch.tensor([[0.1, 0.25, 0.6, 0.9], [0, 0, 1, 1], [0.3, 0.3, 0.3, 0.3]], dtype=torch.float64)
    side, fine = 4, 40
    points = (np.arange(fine) + 0.5) / fine
    for box, cover in zip(boxes.numpy(), box_coverage(boxes, side).numpy(), strict=True):
        rows, columns = ((points > low) & (points < high) for low, high in ((box[1], box[3]), (box[0], box[2])))
        mask = np.outer(rows, columns).reshape(side, fine // side, side, fine // side).mean(axis=(1, 3))
        np.testing.assert_allclose(cover, mask, atol=1e-9)


def test_cells_are_numbered_level_by_level_row_by_row() -> None:
    decode = BoxDistribution(8, (2, 4), bins=3)
    expected = [[(c + 0.5) / 4, (r + 0.5) / 4] for r in range(4) for c in range(4)]
    expected += [[(c + 0.5) / 2, (r + 0.5) / 2] for r in range(2) for c in range(2)]
    assert decode.centres.tolist() == expected
    assert decode.strides.flatten().tolist() == [0.25] * 16 + [0.5] * 4


def test_box_is_each_sides_mean_distance_in_strides() -> None:
    decode, generator = BoxDistribution(8, (2, 4), bins=3), torch.Generator().manual_seed(0)
    logits = torch.randn(2, 20, 12, generator=generator)
    boxes = decode(logits)
    for image, cell in ((0, 0), (1, 7), (1, 19)):
        mean = []
        for side in range(4):
            weight = np.exp(logits[image, cell, 3 * side : 3 * side + 3].double().numpy())
            mean.append((weight * [0, 1, 2]).sum() / weight.sum() * decode.strides[cell].item())
        x, y = decode.centres[cell].tolist()
        expected = [x - mean[0], y - mean[1], x + mean[2], y + mean[3]]
        assert boxes[image, cell].tolist() == pytest.approx(expected, abs=1e-6)


def test_distribution_loss_is_cross_entropy_with_both_neighbours() -> None:
    decode, generator = BoxDistribution(8, (2, 4), bins=4), torch.Generator().manual_seed(1)
    logits, cells = torch.randn(2, 16, generator=generator), torch.tensor([5, 17])
    distances = [[0.25, 1.0, 2.5, 3.0], [0.0, 1.75, 9.0, 0.5]]  # in strides; 9 is beyond the last bin
    boxes = []
    for cell, (left, top, right, bottom) in zip(cells, distances, strict=True):
        (x, y), stride = decode.centres[cell].tolist(), decode.strides[cell].item()
        boxes.append([x - left * stride, y - top * stride, x + right * stride, y + bottom * stride])
    found = decode.loss(logits, cells, torch.tensor(boxes))
    for row, wanted, loss in zip(logits.double().numpy(), distances, found.tolist(), strict=True):
        entropies = []
        for side, distance in enumerate(wanted):
            log_p = row[4 * side : 4 * side + 4] - np.log(np.exp(row[4 * side : 4 * side + 4]).sum())
            distance = min(distance, 3)
            entropies.append(-sum(max(0, 1 - abs(distance - k)) * log_p[k] for k in range(4)))
        assert loss == pytest.approx(np.mean(entropies), rel=1e-5)


def test_distribution_that_is_the_distance_has_no_loss() -> None:
    decode = BoxDistribution(8, (2,), bins=4)
    box = decode.centres[5].repeat(2) + torch.tensor([-1, -2, 3, 1]) * 0.25
    logits = torch.full((4, 4), -20.0)
    logits[range(4), [1, 2, 3, 1]] = 20
    assert decode.loss(logits.flatten()[None], torch.tensor([5]), box[None]).item() < 1e-6


def test_fresh_boxes_are_about_three_strides_wide() -> None:
    decode = BoxDistribution(64, (8,), bins=16)
    box = decode(small_first(16).expand(1, 64, 64))[0, 0]
    assert 2.5 < ((box[2] - box[0]) / decode.strides[0]).item() < 3.5
