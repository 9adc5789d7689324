"""Whether a bundle is as good as another: the same questions asked of both, compared sample by sample.

    measurement.py  what one model answered and how each sample counts; recorded as JSON
    limits.py       how much worse a bundle may be
    intervals.py    what chance explains of a difference
    comparison.py   two measurements, group by group
    resources.py    size and latency side by side
    verdict.py      all of it as lines, with the verdict
    reports.py      the verdict as Markdown and as JUnit XML
    gate.py         the whole, from two bundles to the verdict

No PyTorch is needed.
"""

from rsvl.gate.comparison import compare
from rsvl.gate.gate import GateConfig, gate
from rsvl.gate.limits import Limits
from rsvl.gate.measurement import Conditions, Measurement, read_record, write_record
from rsvl.gate.verdict import Line, Status, Verdict

__all__ = [
    "Conditions",
    "GateConfig",
    "Limits",
    "Line",
    "Measurement",
    "Status",
    "Verdict",
    "compare",
    "gate",
    "read_record",
    "write_record",
]
