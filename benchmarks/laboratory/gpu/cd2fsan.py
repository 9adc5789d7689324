"""The parts ``eager`` and ``compile``: CD2FSAN in PyTorch, random weights, tensors on the GPU before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsvl.benchmarks.bundle.whole_model import Whole
from rsvl.benchmarks.laboratory.gpu.device import Call, first_gpu, milliseconds, wait
from rsvl.benchmarks.laboratory.gpu.record import Row
from rsvl.benchmarks.laboratory.kernel_cases import error
from rsvl.benchmarks.timing import Percentiles
from rsvl.registry import create
from rsvl.runtime.tasks.features import TOKENS
from rsvl.runtime.tasks.tokenizer import Tokenizer

MODEL, ROUNDS = "cd2fsan", 20
SENTENCE = "the white ship left of the long pier"
COMPILED = (("float16", "default"), ("float16", "reduce-overhead"), ("float32", "default"))
"""Dtype and mode of torch.compile."""

Precisions = dict[str, Callable[[], AbstractContextManager[Any]]]


def eager(scratch: Path) -> Iterator[Row]:
    """Every precision, one image and eight.

    Raises:
        MissingComponentError: no GPU.
    """
    device = first_gpu()
    model = build(MODEL, device)
    for batch in (1, 8):
        yield from measure(model, batch, device, precisions(device), ROUNDS)


def compiled(scratch: Path) -> Iterator[Row]:
    """torch.compile beside eager PyTorch in the same precision, one image.

    Raises:
        MissingComponentError: no GPU.
        RuntimeError: torch.compile fails.
    """
    device = first_gpu()
    model = build(MODEL, device)
    for dtype, mode in COMPILED:
        yield from beside_eager(model, dtype, mode, device, ROUNDS)


def build(name: str, device: torch.device) -> Any:
    """A model with the same random weights every time."""
    torch.manual_seed(0)
    return create(name).eval().to(device)


def precisions(device: torch.device) -> Precisions:
    """The context of each precision; weights stay float32, autocast casts inputs."""
    return {
        "float32": nullcontext,
        "TF32": _tf32,
        "float16": partial(torch.autocast, device.type, torch.float16),
        "bfloat16": partial(torch.autocast, device.type, torch.bfloat16),
    }


def measure(model: Any, batch: int, device: torch.device, contexts: Precisions, rounds: int) -> Iterator[Row]:
    """A row per precision; the first is the one that the others' outputs are compared with."""
    raw, whole = inputs(model, batch, device), Whole(model)
    calls = {name: _call(whole, context, raw) for name, context in contexts.items()}
    reference = next(iter(calls.values()))()
    errors = {name: error(call().float().cpu(), reference.double().cpu()) for name, call in calls.items()}
    times = milliseconds(calls, device, rounds)
    for name in calls:
        found = Percentiles.of(times[name])
        yield {
            "precision": name,
            "batch": batch,
            "p50 ms": found.p50,
            "p90 ms": found.p90,
            "images per second": batch * found.per_second,
            "GPU memory, MB": _peak_mb(calls[name], device),
            "difference from float32": errors[name],
        }


def beside_eager(model: Any, dtype: str, mode: str, device: torch.device, rounds: int) -> Iterator[Row]:
    """Rows of eager and of compiled PyTorch in a precision, timed in turns."""
    raw, context, whole = inputs(model, 1, device), precisions(device)[dtype], Whole(model)
    fast: Any = torch.compile(whole, mode=mode, dynamic=False)
    calls = {"eager": _call(whole, context, raw), f"torch.compile, {mode}": _call(fast, context, raw)}
    reference = calls["eager"]().double().cpu()
    errors = {name: error(call().float().cpu(), reference) for name, call in calls.items()}
    times = milliseconds(calls, device, rounds)
    for name in calls:
        found = Percentiles.of(times[name])
        yield {
            "precision": dtype,
            "runner": name,
            "p50 ms": found.p50,
            "p90 ms": found.p90,
            "relative to eager": float(np.median(np.divide(times[name], times["eager"]))),
            "difference from eager": errors[name],
        }


def inputs(model: Any, batch: int, device: torch.device) -> list[Tensor]:
    """Noise for images and a sentence for tokens, in the declaration's order."""
    tokenizer = Tokenizer.from_file(model.tokenizer_json(), model.spec.text)
    random = torch.Generator().manual_seed(0)
    found = []
    for name, tensor in model.spec.raw_inputs.items():
        if name == TOKENS:
            found.append(torch.from_numpy(tokenizer([SENTENCE] * batch)).to(device))
        else:
            sizes = [batch if isinstance(size, str) else size for size in tensor.shape]
            found.append(torch.randn(sizes, generator=random).to(device))
    return found


def _call(model: Any, context: Callable[[], AbstractContextManager[Any]], raw: Sequence[Tensor]) -> Call:
    def call() -> Tensor:
        with torch.no_grad(), context():
            return model(*raw)[0]

    return call


@contextmanager
def _tf32() -> Iterator[None]:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def _peak_mb(call: Call, device: torch.device) -> float | None:
    """Peak GPU memory of PyTorch during the call, including weights."""
    if device.type != "cuda":
        return None
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait(device)
    return torch.cuda.max_memory_allocated(device) / 1e6
