"""Energy of a Jetson while some work runs, by NVIDIA's `tegrastats`, a part of JetPack.

It prints a line per interval with the milliwatts of the board's power rails, now and on average, for example
``VDD_IN 4880mW/4880mW VDD_CPU_GPU_CV 600mW/600mW VDD_SOC 1400mW/1400mW`` (an Orin NX) or, by older releases,
``POM_5V_IN 2040/2040``.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable
from statistics import fmean
from typing import Any

PROGRAM = "tegrastats"
_INTERVAL_MS = 50
_RAIL = re.compile(r"\b((?:VDD|VIN|POM)\w*) (\d+)(?:mW)?/\d+(?:mW)?")
_WHOLE = {"VDD_IN", "POM_5V_IN"}
"""Rails that feed the whole module; a board without one (AGX Orin) has a rail per part."""


def watts(line: str) -> float | None:
    """The module's power by one line, in watts; None if the line has no rails."""
    rails = {name: int(milliwatts) for name, milliwatts in _RAIL.findall(line)}
    counted = {name: value for name, value in rails.items() if name in _WHOLE} or rails
    return sum(counted.values()) / 1000 if counted else None


def joules(work: Callable[[], Any], rounds: int) -> float | None:
    """Energy of one run of `work`, in joules, including all that the module used meanwhile.

    Args:
        work: is run `rounds` times.
        rounds: enough to last some tenths of a second; shorter work falls between two lines.

    Returns:
        None if tegrastats reported no power while the work ran.
    """
    seen: list[float] = []
    with subprocess.Popen(
        [PROGRAM, "--interval", str(_INTERVAL_MS)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        reader = threading.Thread(target=_read, args=(process, seen), daemon=True)
        reader.start()
        try:
            start = time.perf_counter()
            for _ in range(rounds):
                work()
            seconds = time.perf_counter() - start
        finally:
            process.terminate()
            reader.join()
    return fmean(seen) * seconds / rounds if seen else None


def _read(process: subprocess.Popen[str], seen: list[float]) -> None:
    for line in process.stdout or ():
        power = watts(line)
        if power is not None:
            seen.append(power)
