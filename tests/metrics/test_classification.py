"""Classification metrics against their definitions in float64, and temperature scaling against SciPy."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from rsvl.metrics import ClassificationMetrics
from rsvl.metrics.calibration import fit_temperature

CLASSES = ("farm", "port", "river", "road", "forest", "airport", "beach")
BINS = 15


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    """Probabilities [400, 7], right about half of the time, and labels; nobody ever takes anything for a beach."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 400)
    logits = rng.normal(size=(400, 7)) + 1.5 * np.eye(7)[labels]
    logits[:, 6] = -5
    exp = np.exp(logits)
    return exp / exp.sum(1, keepdims=True), labels


def test_metrics_are_their_definitions(images: tuple[np.ndarray, np.ndarray]) -> None:
    found, labels = images
    metrics, half = ClassificationMetrics(CLASSES), ClassificationMetrics(CLASSES)
    for i, (row, label) in enumerate(zip(found, labels, strict=True)):
        (metrics if i % 2 else half).update(row, CLASSES[label])
    metrics.merge(half)
    report, taken = metrics.compute(), found.argmax(1)
    assert report.count == 400 and report.top1 == pytest.approx(np.mean(taken == labels), abs=1e-12)
    five = np.argsort(-found, axis=1)[:, :5]
    assert report.top5 == pytest.approx(np.mean([label in row for label, row in zip(labels, five, strict=True)]))
    chance = sum(np.mean(labels == c) * np.mean(taken == c) for c in range(7))
    assert report.kappa == pytest.approx((np.mean(taken == labels) - chance) / (1 - chance), abs=1e-12)
    scores = []
    for c, name in enumerate(CLASSES):
        right = np.sum((labels == c) & (taken == c))
        precision = right / np.sum(taken == c) if np.any(taken == c) else math.nan
        recall = right / np.sum(labels == c)
        scores.append(0.0 if right == 0 else 2 * precision * recall / (precision + recall))
        each = report.by_class[name]
        assert each.count == np.sum(labels == c)
        assert [each.precision, each.recall, each.f1] == pytest.approx([precision, recall, scores[-1]], nan_ok=True)
    assert report.mean_f1 == pytest.approx(np.mean(scores), abs=1e-12)
    wanted = np.zeros((7, 7), int)
    np.add.at(wanted, (labels, taken), 1)
    assert np.array_equal(report.confusion, wanted)


def test_calibration_error_is_the_mean_gap_over_the_bins(images: tuple[np.ndarray, np.ndarray]) -> None:
    found, labels = images
    metrics = ClassificationMetrics(CLASSES)
    for row, label in zip(found, labels, strict=True):
        metrics.update(row, CLASSES[label])
    sure, right = found.max(1), found.argmax(1) == labels
    expected = 0.0
    for m in range(1, BINS + 1):
        inside = (sure > (m - 1) / BINS) & (sure <= m / BINS)
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert metrics.compute().ece == pytest.approx(expected, abs=1e-12)
    assert metrics.compute().confidence == pytest.approx(sure.mean(), abs=1e-12)


def test_nothing_and_one_class_alone_have_no_kappa() -> None:
    metrics = ClassificationMetrics(CLASSES)
    assert json.loads(json.dumps(metrics.compute().to_dict(), allow_nan=False))["top-1"] is None
    metrics.update(np.eye(7)[1], "port")
    assert metrics.compute().top1 == 1 and math.isnan(metrics.compute().kappa) and metrics.compute().ece == 0


@pytest.mark.parametrize(
    ("row", "label"), [([0.5] * 6, "farm"), ([0.1] * 7, "moon"), ([np.nan] * 7, "farm"), ([2.0] * 7, "farm")]
)
def test_probabilities_that_do_not_fit_are_refused(row: list[float], label: str) -> None:
    with pytest.raises(ValueError, match="classes"):
        ClassificationMetrics(CLASSES).update(np.array(row), label)


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_temperature_minimises_the_negative_log_likelihood(factor: float) -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 300)
    logits = factor * (rng.normal(size=(300, 5)) + 2 * np.eye(5)[labels])

    def loss(temperature: float) -> float:
        scaled = logits / temperature
        return float(np.mean(np.log(np.exp(scaled).sum(1)) - scaled[np.arange(300), labels]))

    best = minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
    assert fit_temperature(logits, labels) == pytest.approx(best, rel=1e-4)


def test_temperature_of_no_images_is_one() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1
