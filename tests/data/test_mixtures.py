"""Datasets in other views, and several as one."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rsvl.data import ReferringDataset, open_dataset
from rsvl.data.mixtures import Augmented, Mixture
from rsvl.data.views import random_view
from rsvl.runtime.errors import UsageError
from tests.support.coco_file import HEIGHT, WIDTH, write


@pytest.fixture
def parts(tmp_path: Path, rrsis_d: Path) -> tuple[ReferringDataset, ReferringDataset]:
    """RRSIS-D's training split, and three images of someone's own."""
    return open_dataset("rrsis-d", rrsis_d, "train"), open_dataset("coco", write(tmp_path / "own"), "all")


def test_mixture_holds_what_its_parts_do(parts) -> None:
    mixture = Mixture(parts, [1, 3])
    assert len(mixture) == sum(len(part) for part in parts)
    assert set(mixture.categories) == {*parts[0].categories, *parts[1].categories}
    alone = [(part, record) for part in parts for record in part]
    for record, (part, own) in zip(mixture, alone, strict=True):
        assert (record.path, record.referrings) == (own.path, own.referrings)
        assert mixture.categories_of(record) == part.categories
        for referring in record.referrings:
            if part is parts[0]:
                np.testing.assert_array_equal(mixture.mask(record, referring), part.mask(own, referring))


def test_parts_are_drawn_by_their_weights_whatever_their_size(parts) -> None:
    mixture = Mixture(parts, [1, 3])
    first = len(parts[0])
    assert mixture.draws[:first].sum() == pytest.approx(0.25) and mixture.draws[first:].sum() == pytest.approx(0.75)


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], []])
def test_mixture_without_a_weight_for_each_part_is_refused(parts, weights: list[float]) -> None:
    with pytest.raises(UsageError, match="as many weights above 0"):
        Mixture(parts, weights)


def test_augmented_images_vary_and_the_records_do_not(parts) -> None:
    own = Augmented(parts[1])
    views = [own.varied(0, np.random.default_rng(seed)).view for seed in range(20)]
    assert len(set(views)) == 20 and views[0] == own.varied(0, np.random.default_rng(0)).view
    assert own[0] == parts[1][0]


def test_only_the_light_varies_where_sentences_are_given(parts) -> None:
    plain, varied = parts[0][0], Augmented(parts[0]).varied(0, np.random.default_rng(3))
    assert varied.referrings == plain.referrings and (varied.width, varied.height) == (plain.width, plain.height)
    view = varied.view
    assert view is not None and view.size == (plain.width, plain.height)
    assert (view.quarter_turns, view.mirrored, view.reduction) == (0, False, 1.0) and view.gains != (1.0, 1.0, 1.0)


def test_views_are_of_every_turn_and_coarser_half_of_the_time() -> None:
    views = [random_view(np.random.default_rng(seed), (WIDTH, HEIGHT)) for seed in range(400)]
    turns = Counter((view.quarter_turns, view.mirrored) for view in views)
    assert len(turns) == 8 and min(turns.values()) > 25
    assert 0.4 < np.mean([view.reduction > 1 for view in views]) < 0.6 and max(view.reduction for view in views) <= 2.5
    for view in views:
        left, top, width, height = view.window
        assert 0 <= left <= left + width <= WIDTH and 0 <= top <= top + height <= HEIGHT and width == height >= 18


def test_view_recolours_by_its_gains() -> None:
    image = np.full((4, 4, 3), (100, 120, 250), np.uint8)
    view = random_view(np.random.default_rng(1), (4, 4))
    expected = np.clip(np.array([100, 120, 250]) * view.gains + view.offset, 0, 255)
    assert np.abs(view.pixels(image) - expected).max() <= 0.5
