"""Task-aligned assignment on cases small enough to decide by hand."""

from __future__ import annotations

import pytest
import torch

from rsvl.models.optisar.assignment import centres_inside, task_aligned

CENTRES = torch.tensor([[(x + 0.5) / 4, (y + 0.5) / 4] for y in range(4) for x in range(4)])  # 16 cells


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ([0.0, 0.0, 0.5, 0.5], [0, 1, 4, 5]),
        ([0.3, 0.3, 0.45, 0.95], [5, 9, 13]),
        ([0.4, 0.4, 0.42, 0.42], [5]),  # narrower than the least width, which reaches the centre at 0.375
        ([0.0, 0.0, 1.0, 1.0], list(range(16))),
    ],
)
def test_centres_inside_are_those_in_the_box_or_in_its_least_width(box: list[float], cells: list[int]) -> None:
    inside = centres_inside(CENTRES, torch.tensor([box]), least=0.25)
    assert inside[0].nonzero().flatten().tolist() == cells


def test_best_aligned_cells_inside_are_chosen_and_graded() -> None:
    score = torch.tensor([[0.25, 1.0, 1.0, 0.25, 1.0]])
    overlap = torch.tensor([[1.0, 0.5, 1.0, 0.8, 0.9]])
    inside = torch.tensor([[True, True, False, True, True]])
    chosen, quality = task_aligned(score, overlap, inside, top=3)
    # Metrics: 0.5, 1/64, outside, 0.5·0.8^6, 0.9^6.
    assert chosen.tolist() == [[True, False, False, True, True]]
    best = 0.9**6
    assert quality[0].tolist() == pytest.approx([0.5 / best, 0, 0, 0.5 * 0.8**6 / best, 1.0], rel=1e-5)


def test_quality_of_the_best_cell_is_the_largest_overlap() -> None:
    _, quality = task_aligned(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.6, 0.7]]), torch.ones(1, 2).bool(), top=2)
    assert quality.max().item() == pytest.approx(0.7)


def test_sentence_without_cells_inside_chooses_none() -> None:
    chosen, quality = task_aligned(torch.ones(2, 5), torch.ones(2, 5), torch.zeros(2, 5).bool(), top=3)
    assert not chosen.any() and not quality.any()


def test_cells_whose_boxes_do_not_overlap_yet_are_chosen_all_the_same() -> None:
    inside = torch.tensor([[False, True, True, False]])
    chosen, quality = task_aligned(torch.rand(1, 4), torch.zeros(1, 4), inside, top=3)
    assert torch.equal(chosen, inside) and not quality.any()


def test_of_two_boxes_of_one_sentence_a_cell_has_the_one_that_it_overlaps_most() -> None:
    overlap = torch.tensor([[0.6, 0.8, 0.5], [0.7, 0.4, 0.5], [0.9, 0.9, 0.9]])
    owner, inside = torch.tensor([0, 0, 1]), torch.ones(3, 3).bool()
    chosen, quality = task_aligned(torch.ones(3, 3), overlap, inside, top=3, owner=owner)
    assert chosen.tolist() == [[False, True, True], [True, False, False], [True, True, True]]
    assert quality.amax(1).tolist() == pytest.approx([0.8, 0.7, 0.9])
