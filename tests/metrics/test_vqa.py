"""Answer metrics against hand-counted questions, and against the definitions over all questions at once."""

import json
import math

import numpy as np
import pytest

from rsvl.metrics import VQAMetrics

ASKED = [  # given, true, type, condition
    ("yes", "yes", "presence", "clear"),
    ("yes", "no", "presence", "cloudy"),
    ("no", "no", "presence", "cloudy"),
    ("no", "no", "presence", ""),
    ("2", "2", "count", "clear"),
    ("2", "3", "count", "cloudy"),
    ("", "urban", "area", "night"),
]


def _metrics(asked: list[tuple[str, str, str, str]]) -> VQAMetrics:
    metrics = VQAMetrics()
    for question in asked:
        metrics.update(*question)
    return metrics


def test_metrics_are_those_counted_by_hand() -> None:
    report = _metrics(ASKED).compute()
    assert report.count == 7
    assert report.oa == 4 / 7
    assert report.aa == pytest.approx((3 / 4 + 1 / 2 + 0) / 3, abs=1e-15)
    assert {name: (g.count, g.accuracy, g.commonest) for name, g in report.by_type.items()} == {
        "area": (1, 0, 1), "count": (2, 0.5, 0.5), "presence": (4, 0.75, 0.75),
    }  # fmt: skip
    assert report.commonest_oa == (1 + 1 + 3) / 7
    assert report.commonest_aa == pytest.approx((1 + 0.5 + 0.75) / 3, abs=1e-15)
    assert {name: (g.count, g.accuracy) for name, g in report.by_condition.items()} == {
        "clear": (2, 1), "cloudy": (3, 1 / 3), "night": (1, 0),
    }  # fmt: skip
    assert report.by_condition["cloudy"].commonest == 1  # "no" of presence twice, "3" of count once


def test_metrics_are_the_definitions() -> None:
    rng = np.random.default_rng(0)
    types, answers = np.array(["a", "b", "c"])[rng.integers(0, 3, 400)], rng.integers(0, 4, 400).astype(str)
    given = np.where(rng.random(400) < 0.6, answers, rng.integers(0, 4, 400).astype(str))
    report = _metrics([(str(g), str(a), str(t), "") for g, a, t in zip(given, answers, types, strict=True)]).compute()
    right = (given == answers).astype(np.float64)
    by_type = [right[types == t].mean() for t in "abc"]
    assert report.oa == pytest.approx(right.mean(), abs=1e-12)
    assert report.aa == pytest.approx(np.mean(by_type), abs=1e-12)
    assert [report.by_type[t].accuracy for t in "abc"] == pytest.approx(by_type, abs=1e-12)
    guess = {t: max("0123", key=lambda a, t=t: np.sum(answers[types == t] == a)) for t in "abc"}
    assert report.commonest_oa == pytest.approx(np.mean([guess[t] == a for t, a in zip(types, answers, strict=True)]))


def test_parts_put_together_are_the_whole() -> None:
    one, other = _metrics(ASKED[::2]), _metrics(ASKED[1::2])
    one.merge(other)
    assert one.compute() == _metrics(ASKED).compute()


def test_dict_has_the_papers_names_and_no_nan() -> None:
    values = json.loads(json.dumps(VQAMetrics().compute().to_dict(), allow_nan=False))
    assert values["OA"] is values["AA"] is values["commonest OA"] is None and values["count"] == 0
    assert math.isnan(VQAMetrics().compute().oa)
