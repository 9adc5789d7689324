"""Other runners of a bundle's model, as functions without arguments, to compare the bundle with.

Each takes the model's raw inputs and returns its final outputs, by the names of its declaration.
"""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import torch

from rsvl.benchmarks.bundle.plain_export import export_plainly
from rsvl.benchmarks.bundle.whole_model import Run, Tensors, Whole
from rsvl.runtime.errors import MissingComponentError
from rsvl.runtime.extras import remedy
from rsvl.runtime.manifest import ModelSpec

PLAIN = "plain ONNX export"
OPENVINO = "plain ONNX export in OpenVINO"


def plain_onnx(model: Whole, inputs: Tensors, threads: int, path: Path, provider: str = "CPUExecutionProvider") -> Run:
    """A plain export (`rsvl.benchmarks.bundle.plain_export`), written to `path`, in ONNX Runtime.

    Raises:
        UsageError: the model has no plain form.
    """
    outputs = list(model.spec.final_outputs)
    export_plainly(model, {name: torch.from_numpy(inputs[name]) for name in model.spec.raw_inputs}, outputs, path)
    session = onnx_session(path, threads, provider)
    return lambda: dict(zip(outputs, session.run(outputs, inputs), strict=True))


def onnx_session(path: Path, threads: int, provider: str = "CPUExecutionProvider") -> onnxruntime.InferenceSession:
    """An ONNX Runtime session of a file with default options, on `threads` CPU threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=[provider])


def openvino(path: Path, spec: ModelSpec, inputs: Tensors, threads: int) -> Run:
    """The plain export at `path`, in OpenVINO on the CPU, computing in float32.

    Raises:
        MissingComponentError: OpenVINO is not installed.
    """
    try:
        from openvino import Core
    except ImportError as error:
        raise MissingComponentError(f"OpenVINO is not installed: {remedy('openvino')}") from error
    wanted = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = Core().compile_model(str(path), "CPU", wanted).create_infer_request()

    def run() -> Tensors:
        found = request.infer(inputs)
        return {name: found[name] for name in spec.final_outputs}

    return run
