"""Runners that a bundle is compared with, in the same run: PyTorch, torch.compile, a plain ONNX export, OpenVINO."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime
import torch

from rsvl.benchmarks.bundle.runners import (
    OPENVINO,
    PLAIN,
    openvino,
    plain_onnx,
)
from rsvl.benchmarks.bundle.whole_model import COMPILED, EAGER, Run, Tensors, Whole, pytorch
from rsvl.checkpoints import load
from rsvl.runtime.errors import InputError, MissingComponentError, UsageError
from rsvl.runtime.manifest import Manifest
from rsvl.runtime.progress import Progress


@dataclass(frozen=True)
class Options:
    """How to create the baselines.

    Attributes:
        model: the model that the bundle was exported from, as in `rsvl.load`; None for the one that it names.
        weights: as in `rsvl.load`; outputs are comparable only with the weights that the bundle was exported from.
        compiled: whether to include torch.compile (it needs a C++ compiler).
    """

    model: str | None = None
    weights: str | None = None
    compiled: bool = True


@dataclass
class Baselines:
    """The baselines that run on this machine.

    Attributes:
        same_weights: whether they have the bundle's weights, so that outputs can be compared.
        runners: by name.
        remarks: which are missing and why.
    """

    same_weights: bool
    runners: dict[str, Run] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@contextmanager
def prepared(
    manifest: Manifest, inputs: Tensors, threads: int, on_gpu: bool, options: Options, progress: Progress
) -> Iterator[Baselines]:
    """Creates the baselines; their files exist until the block ends.

    Args:
        manifest: the bundle's.
        inputs: the raw inputs by name, batch 1.
        threads: CPU threads per runner.
        on_gpu: whether the bundle runs on a GPU; the baselines then do, too.
        options: how to create them.
        progress: called as the work goes on.

    Raises:
        UsageError: no such model or weights.
        InputError: another model than the bundle's.
    """
    torch.set_num_threads(threads)
    progress(0, 3, "building the model in PyTorch")
    model: Any = load(options.model or manifest.model.name, options.weights).eval()
    spec = model.spec
    if spec.name != manifest.model.name:
        raise InputError(
            f"the bundle is of {manifest.model.name}, not {spec.name}: name the --model that it was made from"
        )
    baselines = Baselines(model.source == manifest.source and "sha256" in model.source)
    whole, device = Whole(model), "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "plain.onnx")
        progress(1, 3, "exporting a plain ONNX graph")
        exports = _exports(baselines.remarks, whole, inputs, threads, path, on_gpu)
        whole.to(device)
        baselines.runners[EAGER] = pytorch(whole, spec, inputs, device)
        if options.compiled:
            progress(2, 3, "compiling")
            _add_compiled(baselines, pytorch(torch.compile(whole), spec, inputs, device))
        baselines.runners |= exports
        if on_gpu and device == "cpu":
            baselines.remarks.append("PyTorch sees no GPU: it ran on the CPU")
        yield baselines


def _add_compiled(baselines: Baselines, compiled: Run) -> None:
    try:
        compiled()
    except RuntimeError as error:  # includes torch.compile's own errors, such as a missing C++ compiler
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        baselines.remarks.append(f"torch.compile fails here ({reason}): leave it out with --no-compile")
    else:
        baselines.runners[COMPILED] = compiled


def _exports(
    remarks: list[str], whole: Whole, inputs: Tensors, threads: int, path: Path, on_gpu: bool
) -> dict[str, Run]:
    """The plain export in ONNX Runtime and, on the CPU, in OpenVINO; adds a remark for each that does not run."""
    provider = "CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        remarks.append(f"ONNX Runtime has no {provider}: no plain ONNX export on this device")
        return {}
    found: dict[str, Run] = {}
    try:
        found[PLAIN] = plain_onnx(whole, inputs, threads, path, provider)
        if not on_gpu:
            found[OPENVINO] = openvino(path, whole.spec, inputs, threads)
    except (UsageError, MissingComponentError) as error:
        remarks.append(str(error))
    return found
