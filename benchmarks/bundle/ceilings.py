"""The ceilings of this machine, measured: large matrix products by number type, and a large copy in main memory.

    python -m rsvl.benchmarks.bundle.ceilings 2

measures the copy, in a process of its own. Each library multiplies in one of its own, too
(`rsvl.benchmarks.bundle.matrix_products`); the fastest of them is the ceiling.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from rsvl.benchmarks.bundle.matrix_products import LIBRARIES, SIDE, best
from rsvl.benchmarks.bundle.subprocess_json import run_json
from rsvl.runtime.hardware import cpu_features

COPIED = 256 * 2**20
"""Bytes copied; more than any cache holds."""
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_SLOWED = ("OPENBLAS_CORETYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA")
"""Variables that keep a library from the CPU's own instructions: a ceiling is measured without them."""

#: Number type → the instructions that multiply it, the widest first, as `rsvl doctor` names them.
_INSTRUCTIONS = {
    "fp32": ("AVX-512", "AVX2", "NEON"),
    "bf16": ("AMX", "BF16"),
    "int8": ("AMX", "VNNI (int8)", "I8MM (int8)"),
}


@dataclass(frozen=True)
class Product:
    """The fastest matrix product of a number type.

    Attributes:
        gflops: billions of multiplications and additions per second.
        library: the one that reached them.
        instructions: the widest that the CPU has for the type; empty where none is known.
        others: what the other libraries reached.
    """

    gflops: float
    library: str
    instructions: str = ""
    others: dict[str, float] | None = None


@dataclass(frozen=True)
class Ceilings:
    """The best of several rounds.

    Attributes:
        products: by number type, ``fp32``, ``bf16`` and ``int8``; those that a library here can multiply.
        copy_gb_s: gigabytes per second read and written, in main memory or in GPU memory.
        where: the library that copied.
    """

    products: dict[str, Product]
    copy_gb_s: float
    where: str


def cpu_ceilings(threads: int) -> Ceilings:
    """The CPU's, on `threads` threads.

    Raises:
        RsvlError: a measuring process failed, for example out of memory.
    """
    environment = dict.fromkeys(_THREAD_VARIABLES, str(threads))
    measured: dict[str, dict[str, float]] = {}
    for library in LIBRARIES:
        command = ["-m", "rsvl.benchmarks.bundle.matrix_products", library, str(threads)]
        found = run_json(command, f"{library} multiplies no matrices here", environment, _SLOWED)
        measured |= {name: measured.get(name, {}) | {library: rate} for name, rate in found.items()}
    failed = "the machine's copy cannot be measured (is there memory for it?)"
    copy = run_json(["-m", __name__, str(threads)], failed, environment)
    return Ceilings(fastest(measured, cpu_features()), copy, f"NumPy {np.__version__}")


def fastest(measured: dict[str, dict[str, float]], features: list[str]) -> dict[str, Product]:
    """The ceiling of each number type.

    Args:
        measured: type → library → billions of operations per second.
        features: the CPU's, as `rsvl.runtime.hardware.cpu_features` names them.
    """
    found = {}
    for name, rates in measured.items():
        library = max(rates, key=lambda each: rates[each])
        known = [each for each in _INSTRUCTIONS.get(name, ()) if each in features]
        others = {each: rate for each, rate in rates.items() if each != library}
        found[name] = Product(rates[library], library, known[0] if known else "", others)
    return found


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

        return best(finished)

    product, copy = timed(lambda: a @ b), timed(lambda: target.copy_(source))
    where = f"PyTorch {torch.__version__}, CUDA"
    products = {"fp32": Product(2 * side**3 / product / 1e9, where)}
    return Ceilings(products, 2 * source.numel() / copy / 1e9, where)


def measure_copy(threads: int) -> float:
    """Gigabytes per second read and written by a copy in main memory, on `threads` threads."""
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    parts = [slice(start, start + COPIED // threads) for start in range(0, COPIED, COPIED // threads)]
    with ThreadPoolExecutor(threads) as pool:  # NumPy releases the GIL while it copies
        seconds = best(lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), parts)))
    return 2 * COPIED / seconds / 1e9


if __name__ == "__main__":
    print(json.dumps(measure_copy(int(sys.argv[1]))))
