"""How long a bundle takes to load and how much main memory it needs, measured in processes of their own.

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

from rsvl.benchmarks.bundle.subprocess_json import answer
from rsvl.runtime.backends.onnxruntime.providers import onnxruntime
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import RsvlError
from rsvl.runtime.loading import load

MB = 1e6
RUNS = 3
_IMPORTING = (
    "import time; start = time.perf_counter(); import rsvl.runtime; "
    "from rsvl.runtime.backends.onnxruntime.providers import onnxruntime; onnxruntime(); "
    "print(time.perf_counter() - start)"
)


@dataclass(frozen=True)
class Footprint:
    """What fresh processes needed.

    Attributes:
        import_s: seconds to import the runtime and its backend.
        read_s: seconds to read the bundle's files and compare their hashes with the manifest.
        start_s: seconds from there to sessions that can run.
        imported_mb: megabytes of main memory before the bundle was loaded.
        peak_mb: the most that the process held at any time, the first runs included (the second may allocate anew what
            the first one did); None where the system does not tell.
        weights_mb: megabytes of the graphs' files.
    """

    import_s: float
    read_s: float
    start_s: float
    imported_mb: float | None
    peak_mb: float | None
    weights_mb: float

    @property
    def of_weights(self) -> float | None:
        """What loading and running added to the process, as a multiple of the weights."""
        if self.peak_mb is None or self.imported_mb is None:
            return None
        return (self.peak_mb - self.imported_mb) / self.weights_mb


def footprint(bundle: str | Path, provider: str | None = None, threads: int | None = None) -> Footprint:
    """Loads a bundle in a process of its own and runs its golden inputs' first sample there, `RUNS` times.

    Raises:
        RsvlError: that process failed; its last line says why, and the class is that of its exit code.
    """
    arguments = ["-m", __name__, str(bundle)]
    arguments += ["--provider", provider] if provider else []
    arguments += ["--threads", str(threads)] if threads else []
    import_s = answer(["-c", _IMPORTING], "the runtime cannot be imported in a process of its own")
    return Footprint(import_s, **answer(arguments, f"{bundle} cannot be loaded in a process of its own"))


def _measure(bundle: str, provider: str | None, threads: int | None) -> dict[str, float | None]:
    """All but the time of importing, which is over when this module runs."""
    onnxruntime()
    imported_mb, began = _peak_mb(), time.perf_counter()
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
        "peak_mb": _peak_mb(),
        "weights_mb": weights_bytes(opened) / MB,
    }


def weights_bytes(bundle: Bundle) -> int:
    """Bytes of a bundle's graphs and of the weights beside them."""
    names = [name for graph in bundle.manifest.model.graphs for name in graph.files]
    return sum(bundle.path(name).stat().st_size for name in names if name in bundle.manifest.files)


def _peak_mb() -> float | None:
    """The most main memory that this process ever held. Linux keeps it by process; others are not asked."""
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
