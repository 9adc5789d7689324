"""Other ways of running a model than its bundle, as functions without arguments: what a bundle is compared with.

Every way takes a model's raw inputs and gives its final outputs, by the names of its declaration.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.plain_export import export_plainly
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.backends.openvino import INSTALL
from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.manifest import ModelSpec

EAGER = "PyTorch eager"
COMPILED = "torch.compile"
PLAIN = "plain ONNX export"
OPENVINO = "plain ONNX export in OpenVINO"

Tensors = dict[str, np.ndarray]
Way = Callable[[], Tensors]


class Whole(nn.Module):
    """A model's graphs one after the other: its raw inputs to its final outputs, both in the declaration's order."""

    def __init__(self, model: ExportableModel) -> None:
        super().__init__()
        self.spec: ModelSpec = model.spec
        self.inner = nn.ModuleList(model.graph(graph.name) for graph in model.spec.graphs)

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        """Raw inputs to final outputs."""
        tensors = dict(zip(self.spec.raw_inputs, raw, strict=True))
        for graph, module in zip(self.spec.graphs, self.inner, strict=True):
            found = module(*(tensors[tensor.name] for tensor in graph.inputs))
            tensors |= dict(zip((tensor.name for tensor in graph.outputs), found, strict=True))
        return tuple(tensors[name] for name in self.spec.final_outputs)


def pytorch(model: Callable[..., tuple[Tensor, ...]], spec: ModelSpec, inputs: Tensors, device: str = "cpu") -> Way:
    """A `Whole` model that is on `device`, compiled or not, in PyTorch; from main memory and back to it."""
    raw = [torch.from_numpy(inputs[name]) for name in spec.raw_inputs]

    def way() -> Tensors:
        with torch.no_grad():
            found = model(*(tensor.to(device) for tensor in raw))
            return {name: tensor.cpu().numpy() for name, tensor in zip(spec.final_outputs, found, strict=True)}

    return way


def plain_onnx(model: Whole, inputs: Tensors, threads: int, path: Path, provider: str = "CPUExecutionProvider") -> Way:
    """A plain export, see `rsvl.benchmarks.bundle.plain_export`, written to `path`, in ONNX Runtime.

    Raises:
        UsageError: the model has no plain form.
    """
    outputs = list(model.spec.final_outputs)
    export_plainly(model, {name: torch.from_numpy(inputs[name]) for name in model.spec.raw_inputs}, outputs, path)
    session = onnx_session(path, threads, provider)
    return lambda: dict(zip(outputs, session.run(outputs, inputs), strict=True))


def onnx_session(path: Path, threads: int, provider: str = "CPUExecutionProvider") -> onnxruntime.InferenceSession:
    """An ONNX file in ONNX Runtime as it is by default, on so many CPU threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=[provider])


def openvino(path: Path, spec: ModelSpec, inputs: Tensors, threads: int) -> Way:
    """The plain export that lies at `path`, in OpenVINO on the processor, computing in float32.

    Raises:
        MissingComponentError: OpenVINO is not installed.
    """
    try:
        from openvino import Core
    except ImportError as error:
        raise MissingComponentError(f"OpenVINO is not installed: {INSTALL}") from error
    wanted = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = Core().compile_model(str(path), "CPU", wanted).create_infer_request()

    def way() -> Tensors:
        found = request.infer(inputs)
        return {name: found[name] for name in spec.final_outputs}

    return way
