"""A verdict as rows for a table, as GitHub-flavoured Markdown, and as JUnit XML for a continuous integration."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from rsvl.benchmarks.markdown import markdown_table
from rsvl.gate.verdict import Line, Status, Verdict
from rsvl.runtime.errors import OutputError

COLUMNS = ("what", "images", "samples", "baseline", "this", "worse by", "95 % interval", "at most", "verdict")


def row(line: Line) -> list[str]:
    """The cells of a line, in the order of `COLUMNS`; of a score the change is its drop, of other values a ratio."""
    interval = (
        "–" if line.low is None or line.high is None else f"{_change(line, line.low)} … {_change(line, line.high)}"
    )
    limit = "–" if line.limit is None else _change(line, line.limit)
    counts = [str(count) if count else "–" for count in (line.images, line.samples)]
    values = [f"{value:.4f}" if not line.unit else f"{value:.1f} {line.unit}" for value in (line.baseline, line.value)]
    return [line.title, *counts, *values, _change(line, line.change), interval, limit, _said(line.status)]


def summary(verdict: Verdict) -> str:
    """Markdown with the verdict, the table and the remarks."""
    mark = "🟢 passed" if verdict.passed else f"🔴 {len(verdict.red)} of {len(verdict.lines)} beyond their limits"
    conditions = ", ".join(f"{name} {value}" for name, value in verdict.conditions.items() if value is not None)
    parts = [
        f"### rsvl gate: {mark}",
        f"`{verdict.bundle}` against `{verdict.baseline}`, {verdict.figure}; {conditions}.",
        markdown_table(list(COLUMNS), [[_escaped(cell) for cell in row(line)] for line in verdict.lines]),
        *verdict.remarks,
    ]
    return "\n\n".join(parts) + "\n"


def junit(verdict: Verdict) -> str:
    """JUnit XML: one test case per line, failed where red and skipped where there are too few images."""
    few = sum(line.status is Status.FEW for line in verdict.lines)
    counts = {"tests": str(len(verdict.lines)), "failures": str(len(verdict.red)), "errors": "0", "skipped": str(few)}
    name = f"rsvl gate {verdict.conditions['model']}"
    root = ElementTree.Element("testsuites", {"name": "rsvl gate", **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": name, **counts})
    for line in verdict.lines:
        case = ElementTree.SubElement(suite, "testcase", classname=name, name=line.title)
        said = ", ".join(f"{what} {cell}" for what, cell in zip(COLUMNS[1:], row(line)[1:], strict=True))
        if line.status is Status.RED:
            ElementTree.SubElement(case, "failure", message=said, type="regression")
        elif line.status is Status.FEW:
            ElementTree.SubElement(case, "skipped", message=said)
        else:
            ElementTree.SubElement(case, "system-out").text = said
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def append(text: str, path: Path) -> None:
    """Adds a report to the end of a file, as GitHub's step summaries grow.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}): check the path") from error


def _change(line: Line, value: float) -> str:
    return f"{value:.2f} ×" if line.unit else f"{round(value, 4) + 0.0:+.4f}"  # no -0.0000


def _said(status: Status) -> str:
    return "RED" if status is Status.RED else status.value


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|")
