"""Load time and main memory of a bundle, measured in separate processes.

python -m rsvl.benchmarks.bundle.footprint tiny.bundle --threads 2
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rsvl.benchmarks.bundle.subprocess_json import run_json
from rsvl.runtime.backends.onnxruntime.providers import onnxruntime
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import RsvlError
from rsvl.runtime.loading import load

MB = 1e6
RUNS = 3
_IMPORTING = (
    "import time; start = time.perf_counter(); import rsvl.runtime.loading; "
    "from rsvl.runtime.backends.onnxruntime.providers import onnxruntime; onnxruntime(); "
    "print(time.perf_counter() - start)"
)


@dataclass(frozen=True)
class Footprint:
    """What a fresh process needs.

    Attributes:
        import_s: seconds to import the runtime and its backend.
        read_s: seconds to read the bundle's files and compare their hashes with the manifest.
        start_s: seconds from there to sessions that can run.
        imported_mb: megabytes of main memory before the bundle is loaded.
        peak_mb: peak main memory of the process over the first `RUNS` runs; None if the system does not report it.
        weights_mb: megabytes of the graph files.
    """

    import_s: float
    read_s: float
    start_s: float
    imported_mb: float | None
    peak_mb: float | None
    weights_mb: float

    @property
    def of_weights(self) -> float | None:
        """What loading and running add to the process, as a multiple of the weights."""
        if self.peak_mb is None or self.imported_mb is None:
            return None
        return (self.peak_mb - self.imported_mb) / self.weights_mb


def footprint(bundle: str | Path, provider: str | None = None, threads: int | None = None) -> Footprint:
    """Loads a bundle in a separate process and runs the first golden sample there, `RUNS` times.

    Raises:
        RsvlError: that process failed; the message is its last line, the class follows its exit code.
    """
    arguments = ["-m", __name__, str(bundle)]
    arguments += ["--provider", provider] if provider else []
    arguments += ["--threads", str(threads)] if threads else []
    import_s = run_json(["-c", _IMPORTING], "the runtime cannot be imported in a separate process")
    return Footprint(import_s, **run_json(arguments, f"{bundle} cannot be loaded in a separate process"))


def _measure(bundle: str, provider: str | None, threads: int | None) -> dict[str, float | None]:
    """Everything but the import time, which has passed when this module runs."""
    onnxruntime()
    imported_mb, began = peak_mb(), time.perf_counter()
    opened = Bundle(bundle, check=True)
    read = time.perf_counter()
    runner = load(opened, provider, threads)
    started = time.perf_counter()
    inputs, _ = read_golden(opened)
    for _ in range(RUNS):
        runner.run(**{name: array[:1] for name, array in inputs.items()})
    return {
        "read_s": read - began,
        "start_s": started - read,
        "imported_mb": imported_mb,
        "peak_mb": peak_mb(),
        "weights_mb": weights_bytes(opened) / MB,
    }


def weights_bytes(bundle: Bundle) -> int:
    """Bytes of a bundle's graphs in their standard form and of the weights beside them."""
    names = [name for graph in bundle.manifest.model.graphs for name in graph.files]
    return sum(bundle.path(name).stat().st_size for name in names if name in bundle.manifest.files)


def peak_mb() -> float | None:
    """Peak main memory of this process, in megabytes; None on systems other than Linux."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    return None if found is None else int(found.group(1)) * 1024 / MB


def main() -> int:
    """Prints one JSON object; a failure is one line on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--provider")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    try:
        print(json.dumps(_measure(given.bundle, given.provider, given.threads)))
    except RsvlError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
