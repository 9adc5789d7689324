"""Two measurements group by group: what is red, what chance explains, what is too small to tell, what is not alike."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rsvl.gate import Limits, Status, compare
from rsvl.gate.comparison import MIN_IMAGES
from rsvl.gate.resources import median_interval, size_line
from rsvl.gate.verdict import Line, judge
from rsvl.metrics.drop import Drop
from rsvl.runtime.errors import InputError, UsageError
from tests.support.made_up import CONDITIONS, agreement, measurement

Rows = list[tuple[str, str, float]]


def lines(before: Rows, after: Rows, limits: Limits | None = None) -> dict[str, Line]:
    found = compare(measurement(before), measurement(after), agreement, limits or Limits())
    return {line.title: line for line in found}


def scene(images: int, name: str, score: float, start: int = 0) -> Rows:
    """One sample of a class in each of `images` images."""
    return [(f"{start + k}.png", name, score) for k in range(images)]


def test_equal_measurements_are_ok_everywhere() -> None:
    rows = scene(20, "ship", 0.7) + scene(20, "car", 0.4)
    found = lines(rows, rows)
    assert list(found) == ["all", "agreement", "class: car", "class: ship"]
    assert {line.status for line in found.values()} == {Status.OK}
    assert (found["all"].baseline, found["all"].change, found["agreement"].value) == (pytest.approx(0.55), 0.0, 1.0)
    assert (found["class: ship"].images, found["all"].samples) == (20, 40)


def test_loss_in_one_small_class_is_red_though_the_mean_hides_it() -> None:
    rng = np.random.default_rng(0)
    buildings = [(f"{k}.png", "building", float(rng.uniform(0.4, 0.9))) for k in range(300) for _ in range(4)]
    ships = [(f"{k}.png", "ship", float(rng.uniform(0.4, 0.9))) for k in range(12)]
    noise = [(image, name, float(np.clip(score + rng.normal(0, 0.01), 0, 1))) for image, name, score in buildings]
    found = lines(buildings + ships, noise + [(image, name, 0.0) for image, name, _ in ships])
    assert {title for title, line in found.items() if line.status is Status.RED} == {"class: ship"}
    assert abs(found["all"].change) < 0.01 * found["all"].baseline + 0.005


def test_one_unlucky_image_is_not_red_but_strictly_it_is() -> None:
    before = scene(12, "ship", 0.8)
    after = [("0.png", "ship", 0.0), *before[1:]]
    found = lines(before, after)
    assert found["all"].change > found["all"].limit and found["all"].status is Status.UNSURE
    assert lines(before, after, Limits(strict=True))["all"].status is Status.RED


def test_rare_classes_are_judged_together() -> None:
    common = scene(40, "building", 0.8)
    rare = [row for k, name in enumerate(("airport", "dam", "ship")) for row in scene(5, name, 0.8, start=5 * k)]
    found = lines(common + rare, common + [(image, name, 0.1) for image, name, _ in rare])
    together = found[f"class: all 3 of fewer than {MIN_IMAGES} images"]
    assert (together.status, together.images, together.samples) == (Status.RED, 15, 15)
    assert {found[f"class: {name}"].status for name in ("airport", "dam", "ship")} == {Status.FEW}
    assert found["class: dam"].low is None and found["class: building"].status is Status.OK


def test_strictly_even_a_class_of_one_image_is_red() -> None:
    common, rare = scene(12, "building", 0.8), scene(1, "dam", 0.8)
    found = lines(common + rare, common + scene(1, "dam", 0.7), Limits(strict=True))
    assert (found["class: dam"].status, found["class: building"].status) == (Status.RED, Status.OK)


LIMITS = {
    "a relative drop that is allowed": (Limits(Drop(0.06), Drop(0.06)), 0.76, Status.OK),
    "a relative drop that is not": (Limits(Drop(0.04), Drop(0.04)), 0.76, Status.RED),
    "points that are allowed": (Limits(Drop(0.05, False), Drop(0.05, False)), 0.76, Status.OK),
    "points that are not": (Limits(Drop(0.03, False), Drop(0.03, False)), 0.76, Status.RED),
    "a gain": (Limits(Drop(0.0), Drop(0.0)), 0.9, Status.OK),
}


@pytest.mark.parametrize(("limits", "after", "status"), LIMITS.values(), ids=LIMITS.keys())
def test_limits_are_relative_or_points(limits: Limits, after: float, status: Status) -> None:
    found = lines(scene(15, "ship", 0.8), scene(15, "ship", after), limits)
    assert found["all"].status is found["class: ship"].status is status


def test_answers_that_disagree_are_red_even_where_the_metric_stays() -> None:
    before = scene(10, "ship", 0.9) + scene(10, "car", 0.1, start=10)
    after = scene(10, "ship", 0.1) + scene(10, "car", 0.9, start=10)
    limits = Limits(group_drop=Drop(1.0), agreement=0.5)
    found = lines(before, after, limits)
    assert (found["all"].status, found["agreement"].status) == (Status.OK, Status.RED)
    assert found["agreement"].value == pytest.approx(0.2)


def test_weights_count() -> None:
    before, after = measurement(scene(12, "ship", 0.8)), measurement(scene(12, "ship", 0.8))
    heavy = [
        dataclasses.replace(seen, sample=dataclasses.replace(seen.sample, score=0.2, weight=3.0))
        for seen in after.samples[:6]
    ]
    light = [
        dataclasses.replace(seen, sample=dataclasses.replace(seen.sample, weight=3.0)) for seen in before.samples[:6]
    ]
    before = dataclasses.replace(before, samples=(*light, *before.samples[6:]))
    after = dataclasses.replace(after, samples=(*heavy, *after.samples[6:]))
    (line, *_) = compare(before, after, agreement, Limits())
    assert line.value == pytest.approx((3 * 6 * 0.2 + 6 * 0.8) / 24)


@pytest.mark.parametrize("images", [0, MIN_IMAGES - 1])
def test_too_few_images_are_refused(images: int) -> None:
    rows = scene(images, "ship", 0.8)
    with pytest.raises(InputError, match=f"{images} images are too few"):
        lines(rows, rows)


OTHERS = {
    "model": "of model other, this of toy",
    "task": "of task other, this of referring-segmentation",
    "data": "of data other, this of rrsis-d",
    "split": "of split other, this of test",
    "sensor": "of sensor other, this of all",
}


@pytest.mark.parametrize(("field", "says"), OTHERS.items())
def test_baseline_of_other_conditions_is_refused(field: str, says: str) -> None:
    rows = scene(12, "ship", 0.8)
    conditions = dataclasses.replace(CONDITIONS, **{field: "other"})
    with pytest.raises(UsageError, match=says):
        compare(measurement(rows, conditions), measurement(rows), agreement, Limits())


def test_baseline_of_other_images_is_refused() -> None:
    with pytest.raises(UsageError, match="asked other questions or shown other images of rrsis-d"):
        lines(scene(12, "ship", 0.8), scene(12, "ship", 0.8, start=1))


@pytest.mark.parametrize(("text", "expected"), [("1%", Drop(0.01)), ("0.5", Drop(0.005, False)), (" 0% ", Drop(0.0))])
def test_drop_is_a_share_or_points(text: str, expected: Drop) -> None:
    assert Drop.parse(text, "--max-drop") == expected


@pytest.mark.parametrize("text", ["", "%", "much", "-1", "101%", "nan", "inf"])
def test_wrong_drop_names_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--max-drop is 1%"):
        Drop.parse(text, "--max-drop")


RULE = {
    "a drop beyond the limit that is certain": (0.12, 0.01, 0.035, 0.0, Status.RED),
    "a drop beyond the limit that may be chance": (0.12, -0.01, 0.035, 0.0, Status.UNSURE),
    "a certain drop within the limit": (0.02, 0.01, 0.035, 0.0, Status.OK),
    "no limit": (0.5, 0.4, None, 0.0, Status.OK),
    "too few images": (0.5, None, 0.035, 0.0, Status.FEW),
    "a certain slowdown beyond the limit": (1.3, 1.05, 1.2, 1.0, Status.RED),
    "a slowdown that may be chance": (1.3, 0.95, 1.2, 1.0, Status.UNSURE),
    "a speedup that is certainly less than asked for": (0.8, 0.7, 0.6, 1.0, Status.RED),
    "a speedup that may be as much as asked for": (0.8, 0.5, 0.6, 1.0, Status.UNSURE),
}


@pytest.mark.parametrize(("change", "low", "limit", "unchanged", "status"), RULE.values(), ids=RULE.keys())
def test_red_is_beyond_the_limit_and_no_chance(
    change: float, low: float | None, limit: float | None, unchanged: float, status: Status
) -> None:
    assert judge(change, low, limit, strict=False, unchanged=unchanged) is status
    beyond = limit is not None and change > limit
    assert judge(change, low, limit, strict=True, unchanged=unchanged) is (Status.RED if beyond else Status.OK)


@pytest.mark.parametrize(("limit", "status"), [(None, Status.OK), (0.6, Status.OK), (0.4, Status.RED)])
def test_size_is_held_to_its_ratio(limit: float | None, status: Status) -> None:
    line = size_line(2_000_000, 1_000_000, limit, strict=False)
    assert (line.change, line.status, line.unit) == (0.5, status, "MB")


def test_median_is_between_order_statistics_that_hold_it_95_times_in_100() -> None:
    rng = np.random.default_rng(4)
    held = sum(low <= 1.0 <= high for low, _, high in (median_interval(rng.lognormal(0, 1, 21)) for _ in range(1000)))
    assert 930 <= held <= 995
