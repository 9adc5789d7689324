"""The papers' tables as data, counting of parameters and FLOPs, measuring of speed, reports.

Counting and the comparison with PyTorch need the `train` and `export` extras; measuring a bundle needs neither.

Examples:
    >>> import rsvl.benchmarks
    >>> "cd2fsan" in rsvl.benchmarks.tables()
    True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rsvl.benchmarks.papers.published import tables

if TYPE_CHECKING:
    from rsvl.benchmarks.papers.report import table

__all__ = ["table", "tables"]


def __getattr__(name: str) -> Any:
    # Imported on first use: counting needs PyTorch, measuring a bundle must not.
    if name == "table":
        from rsvl.benchmarks.papers.report import table

        return table
    raise AttributeError(f"module 'rsvl.benchmarks' has no attribute {name!r}")
