"""Every model exported and its TensorRT engines built, by the commands: the record of what the tests have no time for.

python -m rsvl.benchmarks.laboratory.engine_builds lavt-tiny lavt --precision fp16

Needs no GPU: engines are built by TensorRT for RTX. Each command runs in a process of its own, so that its processor
time and its memory are its own, and a model too large for the machine does not end the others. Bundles are deleted once
measured.
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
"""Of each precision, the options of `rsvl export`."""

_RSVL = (sys.executable, "-c", "import sys; from rsvl.cli import main; sys.exit(main())")


@dataclass(frozen=True)
class Used:
    """What a command used of the machine: seconds of all its threads on a processor, and the most memory it held."""

    processor_s: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True)
class GraphEngine:
    """One graph's engine: layers of the network as parsed, bytes, seconds by the clock that building took."""

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
        weights: the file whose weights it has, or ``random``.
        bundle_mb: megabytes of the bundle.
        export: what exporting and verifying it used.
        engines: of each graph, in the bundle's order.
        build: what building all of them used.
        failure: why it stopped, in the command's own line; empty where it did not.
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
    """All that one machine built with one version of the library."""

    hardware: str
    library: str
    builds: tuple[Build, ...] = ()

    def with_build(self, build: Build) -> Record:
        """The record with a build in place of an earlier one of the same model and precision."""
        others = [b for b in self.builds if (b.model, b.precision) != (build.model, build.precision)]
        return replace(self, builds=tuple(sorted([*others, build], key=lambda b: (b.model, b.precision))))


def measure(model: str, precision: str, folder: Path) -> Build:
    """Exports a model and builds its engines; a failure is part of the result.

    Args:
        model: its name in the registry; the weights are those that ship with it, else random ones.
        precision: a key of `PRECISIONS`.
        folder: an empty folder for the bundle.
    """
    bundle = folder / "measured.bundle"
    exported = _run("export", "--model", model, *PRECISIONS[precision], "-o", str(bundle))
    found = Build(model, precision, export=exported.used, failure=exported.failure)
    if found.failure:
        return found
    said = exported.said
    found = replace(found, weights=said["source"]["weights"], bundle_mb=round(said["bytes"] / 1e6, 1))
    built = _run("engine", str(bundle), "--backend", RTX)
    engines = (GraphEngine(e["graph"], e["layers"], e["bytes"], e["seconds"]) for e in built.said.get("engines", ()))
    return replace(found, engines=tuple(engines), build=built.used, failure=built.failure)


@dataclass(frozen=True)
class _Done:
    """A command that has ended: its JSON object, or why it failed, and what it used."""

    said: dict[str, Any]
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
        lines = errors.read().strip().splitlines() or ["it said nothing"]
        return _Done({}, f"{command} ended with {process.returncode}, {lines[-1]}", used)


def markdown(record: Record) -> str:
    """The record as a page: a table of what was built, a list of what was not."""
    done = [build for build in record.builds if not build.failure]
    columns = ["layers", "engines, MB", "build, processor s", "build, peak MB", "export, processor s", "bundle, MB"]
    parts = [
        f"# Engines built by {record.library} on {record.hardware}, without a GPU",
        "For any GPU that the library knows, batches of 1 to 8. Layers are those of the parsed network. Seconds are a "
        "processor's, of all threads, from a command's start to its end; an export's include its verification.",
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
        f"{build.build.processor_s:.1f}",
        f"{build.build.peak_mb:.0f}",
        f"{build.export.processor_s:.1f}",
        f"{build.bundle_mb:.1f}",
    ]


def recorded(record: Record, folder: Path) -> Record:
    """What is kept already of the same machine and library; else the record itself.

    Raises:
        InputError: a file of that name that is no record.
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
    """Keeps the record (`rsvl.benchmarks.records`); returns the JSON file's path."""
    return keep(asdict(record), markdown(record), folder, _stem(record))


def _stem(record: Record) -> str:
    return file_stem(record.hardware, "engines", record.library)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures model after model and keeps each result at once, beside those of earlier runs."""
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
