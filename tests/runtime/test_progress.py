"""The progress of parts, as that of the whole."""

import pytest

from rsvl.runtime.progress import part, silent


@pytest.mark.parametrize(
    ("index", "count", "done", "total", "expected"),
    [(0, 4, 0, 8, 0.0), (1, 4, 4, 8, 1.5), (3, 4, 8, 8, 4.0), (2, 3, 0, 0, 2.0)],
)
def test_part_of_a_work_reports_as_the_whole(
    index: int, count: int, done: float, total: float, expected: float
) -> None:
    calls: list[tuple] = []
    part(lambda *now: calls.append(now), index, count)(done, total, "stage", "detail")
    assert calls == [(expected, count, "stage", "detail")]


def test_parts_of_parts_report_as_the_whole() -> None:
    calls: list[tuple] = []
    half = part(lambda *now: calls.append(now), 1, 2)
    part(half, 3, 4)(1, 2)
    assert calls == [(1 + 3.5 / 4, 2, "", "")] and silent(1, 2) is None
