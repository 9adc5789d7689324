"""The papers' tables as data, counting of parameters and FLOPs, measuring of latency, reports.

Example::

    print(rsvl.benchmarks.table("cd2fsan").to_markdown())
"""

from rsvl.runtime.errors import MissingComponentError

try:
    import torch  # noqa: F401
except ImportError as error:
    raise MissingComponentError(f"benchmarks need {error.name}: pip install 'rsvl[train]'") from error

from rsvl.benchmarks.count import Count, ModelCount, MultiplyAdds, count
from rsvl.benchmarks.report import Row, Table, table, tables

__all__ = ["Count", "ModelCount", "MultiplyAdds", "Row", "Table", "count", "table", "tables"]
