"""Grounding metrics against hand-computed boxes and another library's IoU."""

import json
import math

import numpy as np
import pytest
from pycocotools import mask as coco

from rsvl.metrics import GroundingMetrics
from rsvl.metrics.grounding import overlap

TRUE = (10, 10, 30, 20)  # 200 square pixels


@pytest.mark.parametrize(
    ("pred", "intersection", "union"),
    [
        ((10, 10, 30, 20), 200, 200),
        ((10, 10, 20, 20), 100, 200),
        ((20, 15, 40, 25), 50, 350),
        ((30, 10, 50, 20), 0, 400),
        ((100, 100, 110, 110), 0, 300),
        ((12.5, 10, 30, 20), 175, 200),
        ((30, 20, 10, 10), 0, 200),
    ],
)
def test_overlap_is_computed_by_hand(pred: tuple[float, ...], intersection: float, union: float) -> None:
    assert overlap(np.array(pred, float), np.array(TRUE, float)) == (intersection, union)


def test_iou_is_cocos() -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 100, (60, 2, 2)), axis=1).reshape(60, 4)
    sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    expected = coco.iou(sized[:30], sized[30:], np.zeros(30, np.uint8)).diagonal()
    found = [a / b for a, b in (overlap(p, t) for p, t in zip(corners[:30], corners[30:], strict=True))]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_metrics_are_those_computed_by_hand() -> None:
    metrics = GroundingMetrics()
    metrics.update((10, 10, 30, 20), TRUE, "ship", "optical")  # IoU 1
    metrics.update((10, 10, 20, 20), TRUE, "ship", "sar")  # IoU 100 / 200
    metrics.update((20, 15, 40, 25), TRUE, "dam", "sar")  # IoU 50 / 350
    metrics.update((0, 0, 80, 100), (0, 0, 100, 100), "", "sar")  # IoU 8000 / 10000
    metrics.update(None, (0, 0, 40, 40), "dam", "optical")  # nothing found: 0 / 1600
    metrics.update(None, None)
    metrics.update((0, 0, 1, 1), None, "dam")
    report = metrics.compute()
    assert report.overall.count == 5
    assert report.overall.miou == pytest.approx((1 + 0.5 + 1 / 7 + 0.8 + 0) / 5, abs=1e-15)
    assert report.overall.oiou == pytest.approx((200 + 100 + 50 + 8000) / (200 + 200 + 350 + 10000 + 1600), abs=1e-15)
    assert report.overall.precision == {0.5: 3 / 5, 0.6: 2 / 5, 0.7: 2 / 5, 0.8: 2 / 5, 0.9: 1 / 5}
    assert report.pr50 == 0.6
    assert {name: group.count for name, group in report.by_area.items()} == {"small": 3, "medium": 1, "large": 1}
    assert {name: group.precision[0.5] for name, group in report.by_sensor.items()} == {"optical": 1 / 2, "sar": 2 / 3}
    assert {name: group.count for name, group in report.by_category.items()} == {"dam": 2, "ship": 2}
    assert (report.no_target_count, report.n_acc, report.t_acc) == (2, 0.5, 0.8)


def test_parts_put_together_are_the_whole() -> None:
    rng = np.random.default_rng(1)
    boxes = np.sort(rng.uniform(0, 200, (40, 2, 2, 2)), axis=2).reshape(40, 2, 4)
    whole, parts = GroundingMetrics(), [GroundingMetrics() for _ in range(3)]
    for i, (pred, target) in enumerate(boxes):
        sample = (None if i % 7 == 0 else pred, None if i % 5 == 0 else target, ("ship", "dam", "")[i % 3], "os"[i % 2])
        whole.update(*sample)
        parts[i % 3].update(*sample)
    for part in parts[1:]:
        parts[0].merge(part)
    found, expected = parts[0].compute(), whole.compute()
    assert (found.n_acc, found.t_acc, found.no_target_count) == (expected.n_acc, expected.t_acc, 8)
    for name in ("by_area", "by_category", "by_sensor"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert ours.keys() == theirs.keys()
        for key, group in ours.items():
            assert group.precision == theirs[key].precision
            assert group.miou == pytest.approx(theirs[key].miou, rel=1e-12)


def test_dict_has_the_papers_names_and_no_nan() -> None:
    empty = GroundingMetrics().compute()
    assert math.isnan(empty.pr50)
    values = json.loads(json.dumps(empty.to_dict(), allow_nan=False))
    assert values["Pr@0.5"] is values["meanIoU"] is values["cumIoU"] is values["N-acc"] is None
    assert set(values["by_area"]) == {"small", "medium", "large"}


@pytest.mark.parametrize(
    ("pred", "target", "message"),
    [
        ((1, 2, 3), TRUE, "a box is x1, y1, x2, y2"),
        ((1, 2, 3, math.nan), TRUE, "a box is"),
        (TRUE, (1, 1, 1, 5), "without area"),
        (TRUE, (5, 5, 1, 1), "without area"),
    ],
)
def test_what_is_no_box_is_refused(pred: tuple[float, ...], target: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GroundingMetrics().update(pred, target)
