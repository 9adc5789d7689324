"""Losses of matching against formulas, on right answers, and on hand-made negatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rsvl.models.optisar.boxes import box_coverage
from rsvl.models.optisar.region_matching import (
    Targets,
    candidate_losses,
    mask_loss,
    match_losses,
    quality_focal_loss,
    region_contrast,
    sentence_contrast,
)

BOXES = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])


def targets() -> Targets:
    """Three sentences, the last without a target, about two images of six regions; each box is two regions'."""
    quality = torch.tensor([[1.0, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
    present = torch.tensor([True, True, False])
    return Targets(BOXES, present, torch.tensor([0, 0, 1]), quality > 0, quality == 0, quality)


def test_quality_focal_loss_is_its_formula() -> None:
    logits = torch.tensor([-3.0, 0.0, 2.0, 1.0])
    quality = torch.tensor([0.0, 1.0, 0.3, 0.9])
    p, q = 1 / (1 + np.exp(-logits.double().numpy())), quality.double().numpy()
    expected = (q - p) ** 2 * -(q * np.log(p) + (1 - q) * np.log(1 - p))
    np.testing.assert_allclose(quality_focal_loss(logits, quality), expected, rtol=1e-5)


def test_region_contrast_is_with_the_highest_rated_negatives_only() -> None:
    logits = torch.tensor([[2.0, 5.0, 1.0, -1.0, 4.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    quality = torch.tensor([[1.0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    negative = torch.tensor([[False, False, True, True, True], [True] * 5])
    expected = -math.log(math.exp(2) / (math.exp(2) + math.exp(4) + math.exp(1)))  # not the 5 (its own), nor the -1
    assert region_contrast(logits, quality, negative, hardest=2).tolist() == pytest.approx([expected, 0])


def test_sentence_contrast_is_with_the_other_sentences_claims_on_the_region() -> None:
    logits = torch.tensor([[3.0, 0.0], [1.0, 2.0], [9.0, 9.0]])
    negative = torch.tensor([[False, True, False], [True, False, False], [False, False, False]])
    found = sentence_contrast(logits, torch.tensor([0, 1, 1]), negative)
    expected = [math.log(1 + math.exp(1 - 3)), math.log(1 + math.exp(0 - 2)), 0]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_contrast_without_any_negative_has_no_loss_and_a_finite_gradient() -> None:
    logits = torch.zeros(1, 3, requires_grad=True)
    loss = region_contrast(logits, torch.ones(1, 3), torch.zeros(1, 3).bool(), hardest=2)
    loss.sum().backward()
    assert loss.item() == 0 and torch.isfinite(logits.grad).all()


def test_right_matches_have_no_loss_and_wrong_ones_do() -> None:
    goal = targets()
    right = torch.where(goal.chosen, 12.0, -12.0)
    assert max(match_losses(right, right, goal).values()) < 1e-3
    wrong = match_losses(-right, -right, goal)
    assert min(wrong.values()) > 1


def test_other_sentences_are_negatives_only_for_another_thing_in_the_same_image() -> None:
    goal = targets()
    goal.boxes = BOXES[[0, 0, 2]]  # two sentences about one thing
    goal.quality = goal.quality[[0, 0, 2]]
    goal.false = goal.quality == 0
    claimed_by_both = torch.where(goal.quality > 0, 12.0, -12.0)
    claimed_by_both[2] = 12  # a sentence about the other image; nothing is known of it and this one's regions
    assert match_losses(claimed_by_both, claimed_by_both, goal)["contrast"] < 1e-3
    goal.image = torch.tensor([0, 0, 0])  # now it has no target in this very image
    assert match_losses(claimed_by_both, claimed_by_both, goal)["contrast"] > 0.5


def test_right_candidates_have_no_loss() -> None:
    goal = targets()
    found = torch.stack([BOXES, BOXES + 0.6, BOXES - 0.7], dim=1).repeat(1, 2, 1)[:, :4]  # the first and last are right
    scores = torch.tensor([[12.0, -12, -12, 12]]).repeat(3, 1)
    scores[2] = -12
    losses = candidate_losses(scores, found, goal)
    assert losses["candidates"] < 1e-3 and losses["refined"] < 1e-6
    assert losses["best"].item() == pytest.approx(math.log(2), abs=1e-3)  # two equally right: either will do
    assert candidate_losses(-scores, found, goal)["best"] > 10


def test_candidates_learn_boxes_that_are_near_only() -> None:
    found = torch.tensor([[[0.0, 0.0, 0.5, 0.4], [0.8, 0.8, 0.9, 0.9]]]).repeat(3, 1, 1).requires_grad_()
    candidate_losses(torch.zeros(3, 2), found, targets())["refined"].backward()
    assert found.grad[0, 0].abs().max() > 0 and not found.grad[0, 1].any() and not found.grad[2].any()


def test_right_mask_has_no_loss() -> None:
    goal = targets()
    mask = box_coverage(BOXES, 8).unsqueeze(1) * 40 - 20
    assert mask_loss(mask, goal) < 1e-3
    assert mask_loss(-mask, goal) > 1
