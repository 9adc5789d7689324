"""The papers' metrics, against formulas written out in float64 over all samples at once."""

import json
import math

import numpy as np
import pytest

from rsvl.metrics import THRESHOLDS, GroupMetrics, SegmentationMetrics

H, W = 100, 120


def _blob(rng: np.random.Generator, largest: int) -> np.ndarray:
    mask = np.zeros((H, W), dtype=bool)
    h, w = rng.integers(1, min(largest, H)), rng.integers(1, min(largest, W))
    y, x = rng.integers(0, H - h + 1), rng.integers(0, W - w + 1)
    mask[y : y + h, x : x + w] = True
    return mask


def _samples(count: int = 200) -> list[tuple[np.ndarray, np.ndarray, str]]:
    rng = np.random.default_rng(0)
    samples = []
    for i in range(count):
        target = _blob(rng, (20, 60, 120)[i % 3])
        pred = target & (rng.random((H, W)) < rng.random() ** 0.3) if i % 4 else _blob(rng, 40)
        samples.append((pred, target, ("ship", "plane", "")[i % 3]))
    return samples


def _measured(samples: list[tuple[np.ndarray, np.ndarray, str]]) -> SegmentationMetrics:
    metrics = SegmentationMetrics()
    for pred, target, category in samples:
        metrics.update(pred, target, category)
    return metrics


def _assert_is(found: GroupMetrics, samples: list[tuple[np.ndarray, np.ndarray, str]]) -> None:
    """Compares a group with the definitions, from sets of pixel positions."""
    pairs = [(set(np.flatnonzero(p)), set(np.flatnonzero(t))) for p, t, _ in samples]
    ious = np.array([len(p & t) / len(p | t) for p, t in pairs])
    assert found.count == len(samples) > 0
    assert found.oiou == pytest.approx(sum(len(p & t) for p, t in pairs) / sum(len(p | t) for p, t in pairs))
    assert found.miou == pytest.approx(ious.mean())
    assert found.precision == pytest.approx({t: (ious >= t).mean() for t in THRESHOLDS})


def test_overall_metrics_match_their_definition() -> None:
    samples = _samples()
    _assert_is(_measured(samples).compute().overall, samples)


@pytest.mark.parametrize(("name", "low", "high"), [("small", 0, 0.2), ("medium", 0.2, 0.6), ("large", 0.6, 1.0)])
def test_coverage_bins_follow_rrsis(name: str, low: float, high: float) -> None:
    samples = _samples()
    _assert_is(_measured(samples).compute().by_coverage[name], [s for s in samples if low < s[1].mean() <= high])


@pytest.mark.parametrize(
    ("name", "low", "high"), [("small", 0, 32**2), ("medium", 32**2, 96**2), ("large", 96**2, 1e9)]
)
def test_area_bins_follow_coco(name: str, low: float, high: float) -> None:
    samples = [*_samples(), (np.ones((H, W), dtype=bool),) * 2 + ("",)]
    _assert_is(_measured(samples).compute().by_area[name], [s for s in samples if low <= s[1].sum() < high])


@pytest.mark.parametrize(
    ("covered", "coverage", "area"),
    [
        (2400, "small", "medium"),
        (2401, "medium", "medium"),
        (7200, "medium", "medium"),
        (7201, "large", "medium"),
        (1023, "small", "small"),
        (1024, "small", "medium"),
        (9215, "large", "medium"),
        (9216, "large", "large"),
    ],
)
def test_target_at_a_bins_limit_falls_on_its_documented_side(covered: int, coverage: str, area: str) -> None:
    target = (np.arange(H * W) < covered).reshape(H, W)
    report = _measured([(target, target, "")]).compute()
    assert [name for name, group in report.by_coverage.items() if group.count] == [coverage]
    assert [name for name, group in report.by_area.items() if group.count] == [area]


def test_categories_are_measured_apart() -> None:
    samples = _samples()
    found = _measured(samples).compute().by_category
    assert list(found) == ["plane", "ship"]
    for name, group in found.items():
        _assert_is(group, [s for s in samples if s[2] == name])


@pytest.mark.parametrize(
    ("predicted", "covered", "iou"),
    [
        pytest.param(0, 0, 0.0, id="nothing there, nothing found"),
        pytest.param(5, 0, 0.0, id="nothing there, something found"),
        pytest.param(0, 5, 0.0, id="something there, nothing found"),
        pytest.param(5, 10, 0.5, id="half found reaches 0.5"),
        pytest.param(10, 10, 1.0, id="all found"),
    ],
)
def test_iou_of_empty_and_exact_masks(predicted: int, covered: int, iou: float) -> None:
    pixels = np.arange(H * W).reshape(H, W)
    found = _measured([(pixels < predicted, pixels < covered, "")]).compute().overall
    assert (found.miou, found.oiou) == (iou, iou)
    assert found.precision == {t: float(iou >= t) for t in THRESHOLDS}


def test_sentences_that_name_nothing_count_only_for_n_acc() -> None:
    samples = _samples(20)
    metrics = _measured(samples)
    for predicted in (0, 9, 10, 4000):
        mask = (np.arange(H * W) < predicted).reshape(H, W)
        metrics.update(mask, np.zeros_like(mask), "ship", no_target=True)
    report = metrics.compute()
    assert (report.no_target_count, report.n_acc) == (4, 0.5)
    assert report.t_acc == pytest.approx(np.mean([p.sum() >= 10 for p, _, _ in samples]))
    assert report.overall == _measured(samples).compute().overall
    assert report.by_category == _measured(samples).compute().by_category


def test_merged_accumulators_equal_one() -> None:
    samples = _samples()
    parts = [_measured(samples[i::3]) for i in range(3)]
    nothing = np.zeros((H, W), dtype=bool)
    parts[2].update(nothing, nothing, no_target=True)
    whole = _measured(samples)
    whole.update(nothing, nothing, no_target=True)
    merged = SegmentationMetrics()
    for part in parts:
        merged.merge(part)
    expected, found = whole.compute(), merged.compute()
    assert found.overall.miou == pytest.approx(expected.overall.miou, rel=1e-12)
    for name in ("by_coverage", "by_area", "by_category"):
        counts = {key: group.count for key, group in getattr(expected, name).items()}
        assert {key: group.count for key, group in getattr(found, name).items()} == counts
    assert (found.n_acc, found.t_acc, found.oiou) == (expected.n_acc, expected.t_acc, expected.oiou)


def test_empty_report_is_nan_and_null_in_json() -> None:
    report = SegmentationMetrics().compute()
    assert math.isnan(report.miou)
    assert math.isnan(report.n_acc)
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (values["count"], values["mIoU"], values["Pr@0.5"], values["N-acc"]) == (0, None, None, None)


def test_json_uses_the_papers_names() -> None:
    values = json.loads(json.dumps(_measured(_samples(30)).compute().to_dict(), allow_nan=False))
    group = {"count", "oIoU", "mIoU", "Pr@0.5", "Pr@0.6", "Pr@0.7", "Pr@0.8", "Pr@0.9"}
    assert set(values["by_category"]["ship"]) == group
    assert group <= set(values)
    assert values["by_area"]["small"]["count"] > 0


@pytest.mark.parametrize(
    ("pred", "target"),
    [(np.zeros((3, 4), np.uint8), np.zeros((3, 4), bool)), (np.zeros((3, 4), bool), np.zeros((4, 3), bool))],
)
def test_masks_of_another_type_or_shape_are_refused(pred: np.ndarray, target: np.ndarray) -> None:
    with pytest.raises(ValueError, match="masks must be bool of one shape"):
        SegmentationMetrics().update(pred, target)
