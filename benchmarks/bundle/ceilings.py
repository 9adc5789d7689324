"""The ceilings of this machine, measured: a large float32 matrix product and a large copy in main memory.

    python -m rsvl.benchmarks.bundle.ceilings 2

They run in a separate process, because NumPy reads its number of threads from the environment when it starts.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rsvl.benchmarks.bundle.subprocess_json import run_json

SIDE = 2048
COPIED = 256 * 2**20
"""Bytes copied; more than any cache holds."""
_ROUNDS = 5
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True)
class Ceilings:
    """The best of several rounds.

    Attributes:
        matrix_gflops: billions of multiplications and additions per second, float32.
        copy_gb_s: gigabytes per second read and written, in main memory or in GPU memory.
        where: the library that measured them.
    """

    matrix_gflops: float
    copy_gb_s: float
    where: str


def cpu_ceilings(threads: int) -> Ceilings:
    """The CPU's, measured with NumPy on `threads` threads.

    Raises:
        RsvlError: the measuring process failed, for example out of memory.
    """
    failed = "the machine's ceilings cannot be measured (is there memory for them?)"
    environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    return Ceilings(**run_json(["-m", __name__, str(threads)], failed, environment))


def gpu_ceilings() -> Ceilings | None:
    """The GPU's, measured with PyTorch in float32 at its default (TF32 off); None if PyTorch sees no GPU."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    side = 4 * SIDE
    a, b = (torch.randn(side, side, device="cuda") for _ in range(2))
    source = torch.empty(4 * COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)

    def timed(work: Callable[[], Any]) -> float:
        def finished() -> None:
            work()
            torch.cuda.synchronize()

        return _best(finished)

    product, copy = timed(lambda: a @ b), timed(lambda: target.copy_(source))
    return Ceilings(2 * side**3 / product / 1e9, 2 * source.numel() / copy / 1e9, f"PyTorch {torch.__version__}, CUDA")


def _measure(threads: int) -> Ceilings:
    a, b = (np.random.default_rng(seed).random((SIDE, SIDE), np.float32) for seed in (0, 1))
    product = _best(lambda: a @ b)
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    parts = [slice(start, start + COPIED // threads) for start in range(0, COPIED, COPIED // threads)]
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the GIL while it copies
        copy = _best(lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), parts)))
    return Ceilings(2 * SIDE**3 / product / 1e9, 2 * COPIED / copy / 1e9, f"NumPy {np.__version__}")


def _best(work: Callable[[], Any]) -> float:
    """Seconds of the fastest round, after one to warm up."""
    work()
    seconds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(int(sys.argv[1])))))
