"""What a grounder finds of a class in real images: which boxes are right, and the shares."""

import numpy as np
import pytest

from rsvl.benchmarks.laboratory.class_boxes import Detections, matched, precision, recall

TRUE = np.array([[0, 0, 10, 10], [20, 0, 30, 10.0]])


@pytest.mark.parametrize(
    ("boxes", "right"),
    [
        ([[0, 0, 10, 10], [20, 0, 30, 10]], [True, True]),
        ([[0, 0, 10, 9], [0, 0, 10, 10]], [True, False]),  # an object counts once, for the better score
        ([[0, 0, 10, 4.9], [0, 0, 10, 5]], [False, True]),
        ([[40, 40, 50, 50]], [False]),
        (np.zeros((0, 4)), []),
    ],
)
def test_each_object_has_one_box_at_most(boxes: list[list[float]], right: list[bool]) -> None:
    assert matched(np.array(boxes, np.float64), TRUE).tolist() == right


def test_nothing_is_right_where_nothing_is_labelled() -> None:
    assert matched(TRUE, np.zeros((0, 4))).tolist() == [False, False]


def test_recall_and_precision_are_over_all_images_above_the_threshold() -> None:
    found = [
        Detections(np.array([0.9, 0.6, 0.2]), np.array([True, False, True]), 4),
        Detections(np.array([0.5]), np.array([False]), 0),
    ]
    assert (recall(found), precision(found)) == (2 / 4, 2 / 4)
    above = [each.above(0.5) for each in found]
    assert (recall(above), precision(above)) == (1 / 4, 1 / 2)
    assert np.isnan(precision([each.above(0.95) for each in found]))
