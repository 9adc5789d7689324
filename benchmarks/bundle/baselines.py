"""The ways that a bundle is measured beside, in the same run: PyTorch, torch.compile, a plain ONNX export, OpenVINO."""

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
    """How the peers are made.

    Attributes:
        model: what the bundle was exported from, as `rsvl.load` takes it; None for the name that the bundle has.
        weights: as `rsvl.load` takes them; those that the bundle was exported from, for its answers to be comparable.
        compiled: whether torch.compile is among the ways (it needs a C++ compiler).
    """

    model: str | None = None
    weights: str | None = None
    compiled: bool = True


@dataclass
class Peers:
    """The ways by name, and what is missing among them and why.

    Attributes:
        same_weights: whether the peers have the bundle's weights, so that answers can be compared.
    """

    same_weights: bool
    ways: dict[str, Run] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@contextmanager
def prepared(
    manifest: Manifest, inputs: Tensors, threads: int, on_gpu: bool, options: Options, progress: Progress
) -> Iterator[Peers]:
    """Makes the peers; their files live as long as the block.

    Args:
        manifest: the bundle's.
        inputs: each raw input by name, batch 1.
        threads: CPU threads of each way.
        on_gpu: whether the bundle runs on a GPU: the peers do, too.
        options: how they are made.
        progress: called as the work goes on.

    Raises:
        UsageError: no such model or weights.
        InputError: the model is not the bundle's.
    """
    torch.set_num_threads(threads)
    progress(0, 3, "building the model in PyTorch")
    model: Any = load(options.model or manifest.model.name, options.weights).eval()
    spec = model.spec
    if spec.name != manifest.model.name:
        raise InputError(
            f"the bundle is of {manifest.model.name}, not {spec.name}: name the --model that it was made from"
        )
    peers = Peers(model.source == manifest.source and "sha256" in model.source)
    whole, device = Whole(model), "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "plain.onnx")
        progress(1, 3, "exporting plainly")
        exports = _exports(peers.remarks, whole, inputs, threads, path, on_gpu)
        whole.to(device)
        peers.ways[EAGER] = pytorch(whole, spec, inputs, device)
        if options.compiled:
            progress(2, 3, "compiling")
            _add_compiled(peers, pytorch(torch.compile(whole), spec, inputs, device))
        peers.ways |= exports
        if on_gpu and device == "cpu":
            peers.remarks.append("PyTorch sees no GPU: it ran on the processor")
        yield peers


def _add_compiled(peers: Peers, compiled: Run) -> None:
    try:
        compiled()
    except RuntimeError as error:  # all of torch.compile's own errors are, such as that there is no C++ compiler
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        peers.remarks.append(f"torch.compile fails here ({reason}): leave it out with --no-compile")
    else:
        peers.ways[COMPILED] = compiled


def _exports(
    remarks: list[str], whole: Whole, inputs: Tensors, threads: int, path: Path, on_gpu: bool
) -> dict[str, Run]:
    """The plain export in ONNX Runtime and, on a processor, in OpenVINO; a remark for each that cannot be."""
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
