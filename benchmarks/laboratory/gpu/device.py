"""The GPU in PyTorch, and timing on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from rsvl.benchmarks.timing import interleaved
from rsvl.runtime.errors import MissingComponentError

Call = Callable[[], Any]

_WARM_UP = 3
_SPAN_S = 0.005
"""Least duration of a timed block: single kernels are too short for the clock."""


def first_gpu() -> torch.device:
    """The first GPU that PyTorch sees, with TF32 off.

    Raises:
        MissingComponentError: PyTorch sees none.
    """
    if not torch.cuda.is_available():
        raise MissingComponentError(f"PyTorch {torch.__version__} sees no NVIDIA GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", 0)


def wait(device: torch.device) -> None:
    """Waits until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def captured(call: Call, device: torch.device) -> Call:
    """A call's kernels captured as a CUDA graph, which launches them without Python; the call itself on a CPU.

    Args:
        call: launches its work on the current stream, without waiting; allocates only through PyTorch.
        device: where it runs.

    Raises:
        RuntimeError: the call cannot be captured.
    """
    if device.type != "cuda":
        return call
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UP):
            call()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def milliseconds(calls: Mapping[str, Call], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Milliseconds per run of each call in each alternating round (`rsvl.benchmarks.timing.interleaved`).

    Short calls are repeated within a timed block.
    """
    repeats = {name: _repeats(call, device) for name, call in calls.items()}

    def block(name: str) -> Call:
        def run() -> None:
            for _ in range(repeats[name]):
                calls[name]()
            wait(device)

        return run

    times = interleaved({name: block(name) for name in calls}, rounds)
    return {name: [value / repeats[name] for value in values] for name, values in times.items()}


def _repeats(call: Call, device: torch.device) -> int:
    for _ in range(_WARM_UP):
        call()
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    return max(1, round(_SPAN_S / max(time.perf_counter() - started, 1e-6)))
