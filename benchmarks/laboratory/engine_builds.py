"""Exports every model and builds its TensorRT engines: the record of what takes too long for the tests.

python -m rsvl.benchmarks.laboratory.engine_builds lavt-tiny lavt --precision fp16

Needs no GPU: TensorRT for RTX builds the engines. Each command runs in its own process, so that its CPU time and memory
are measured alone, and a model too large for the machine does not stop the others. Bundles are deleted once measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.registry import names
from rsvl.runtime.backends.tensorrt import find_tensorrt
from rsvl.runtime.backends.tensorrt.tensorrt_api import RTX
from rsvl.runtime.errors import InputError

PRECISIONS = {"fp32": (), "fp16": ("--fp16",)}
"""The options of `rsvl export` by precision."""

_RSVL = (sys.executable, "-c", "import sys; from rsvl.cli import main; sys.exit(main())")


@dataclass(frozen=True)
class Used:
    """What a command used: CPU seconds of all its threads, and peak memory in megabytes."""

    cpu_s: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class GraphEngine:
    """The engine of one graph: layers of the parsed network, bytes, seconds of build time."""

    graph: str
    layers: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Build:
    """One model in one precision.

    Attributes:
        model: its name in the registry.
        precision: a key of `PRECISIONS`.
        weights: the file of its weights, or ``random``.
        bundle_mb: megabytes of the bundle.
        export: the cost of exporting and verifying it.
        engines: one per graph, in the bundle's order.
        build: the cost of building all of them.
        failure: the error line of the command that failed; empty if none did.
    """

    model: str
    precision: str
    weights: str = ""
    bundle_mb: float = 0.0
    export: Used = Used()
    engines: tuple[GraphEngine, ...] = ()
    build: Used = Used()
    failure: str = ""


@dataclass(frozen=True)
class Record:
    """Everything that one machine built with one version of the library."""

    hardware: str
    library: str
    builds: tuple[Build, ...] = ()

    def with_build(self, build: Build) -> Record:
        """The record with a build that replaces an earlier one of the same model and precision."""
        others = [b for b in self.builds if (b.model, b.precision) != (build.model, build.precision)]
        return replace(self, builds=tuple(sorted([*others, build], key=lambda b: (b.model, b.precision))))


def measure(model: str, precision: str, folder: Path) -> Build:
    """Exports a model and builds its engines; a failure is part of the result.

    Args:
        model: its name in the registry; with the shipped weights if there are any, else random ones.
        precision: a key of `PRECISIONS`.
        folder: an empty folder for the bundle.
    """
    bundle = folder / "measured.bundle"
    exported = _run("export", "--model", model, *PRECISIONS[precision], "-o", str(bundle))
    found = Build(model, precision, export=exported.used, failure=exported.failure)
    if found.failure:
        return found
    output = exported.output
    found = replace(found, weights=output["source"]["weights"], bundle_mb=round(output["bytes"] / 1e6, 1))
    built = _run("engine", str(bundle), "--backend", RTX)
    engines = (GraphEngine(e["graph"], e["layers"], e["bytes"], e["seconds"]) for e in built.output.get("engines", ()))
    return replace(found, engines=tuple(engines), build=built.used, failure=built.failure)


@dataclass(frozen=True)
class _Done:
    """A command that has ended: its JSON output or its error, and what it used."""

    output: dict[str, Any]
    failure: str
    used: Used


def _run(command: str, *arguments: str) -> _Done:
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([*_RSVL, command, *arguments, "--json"], stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        used = Used(round(usage.ru_utime + usage.ru_stime, 1), round(usage.ru_maxrss * 1024 / 1e6))
        output.seek(0)
        errors.seek(0)
        if process.returncode == 0:
            return _Done(json.load(output), "", used)
        lines = errors.read().strip().splitlines() or ["no output"]
        return _Done({}, f"{command} ended with {process.returncode}, {lines[-1]}", used)


def markdown(record: Record) -> str:
    """The record as Markdown: a table of engines, a list of failures."""
    done = [build for build in record.builds if not build.failure]
    columns = ["layers", "engines, MB", "build, CPU s", "build, peak MB", "export, CPU s", "bundle, MB"]
    parts = [
        f"# Engines built by {record.library} on {record.hardware}, without a GPU",
        "For any GPU that the library supports, batches of 1 to 8. Layers are those of the parsed network. CPU seconds "
        "are of all threads, from start to end of the command; an export includes its verification.",
        markdown_table(["model", "precision", "weights", "graphs", *columns], map(_row, done), words=4),
        *(f"Not built: {b.model} in {b.precision}: {b.failure}." for b in record.builds if b.failure),
    ]
    return "\n\n".join(parts) + "\n"


def _row(build: Build) -> list[str]:
    each = build.engines
    return [
        build.model,
        build.precision,
        "random" if build.weights == "random" else "shipped",
        " + ".join(engine.graph for engine in each),
        " + ".join(str(engine.layers) for engine in each),
        " + ".join(f"{engine.bytes / 1e6:.1f}" for engine in each),
        f"{build.build.cpu_s:.1f}",
        f"{build.build.peak_mb:.0f}",
        f"{build.export.cpu_s:.1f}",
        f"{build.bundle_mb:.1f}",
    ]


def recorded(record: Record, folder: Path) -> Record:
    """The saved record of the same machine and library; else the record itself.

    Raises:
        InputError: the file of that name is not a record.
    """
    path = folder / f"{_stem(record)}.json"
    if not path.is_file():
        return record
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return replace(record, builds=tuple(map(_build, data["builds"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a record of engines ({error!r}): move it away") from error


def _build(data: dict[str, Any]) -> Build:
    parts = {"export": Used(**data["export"]), "build": Used(**data["build"])}
    return Build(**{**data, **parts, "engines": tuple(GraphEngine(**engine) for engine in data["engines"])})


def kept(record: Record, folder: Path) -> Path:
    """Saves the record (`rsvl.benchmarks.records`); returns the path of the JSON file."""
    return keep(asdict(record), markdown(record), folder, _stem(record))


def _stem(record: Record) -> str:
    return file_stem(record.hardware, "engines", record.library)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures model after model and saves each result at once, beside those of earlier runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="names in the registry; by default all")
    parser.add_argument("--precision", action="append", choices=PRECISIONS, help="repeatable; by default all")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the record")
    given = parser.parse_args(arguments)
    tensorrt = find_tensorrt(RTX)
    empty = Record(hardware(), f"{tensorrt.backend} {tensorrt.version}")
    for model in given.models or names():
        for precision in given.precision or PRECISIONS:
            with tempfile.TemporaryDirectory() as folder:
                build = measure(model, precision, Path(folder))
            path = kept(recorded(empty, given.results).with_build(build), given.results)
            print(f"{model} in {precision}: {build.failure or 'built'}; {path}", flush=True)


if __name__ == "__main__":
    main()
