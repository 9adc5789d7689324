"""Whether an execution provider has code for the GPU that is here, found by running one kernel."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rsvl.runtime.backends.backend import first_line
from rsvl.runtime.backends.onnxruntime.providers import Provider, onnxruntime, start

#: y = -x for one float32, as ONNX (IR version 7, opset 13).
_NEGATION = (
    b'\x08\x07\x12\x00:2\n\x0b\n\x01x\x12\x01y"\x03Neg\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)


def why_it_does_not_run(provider: Provider) -> str:
    """Runs a graph of one node on a provider that is listed.

    A build for other GPUs lists its provider and may even start, and fails at the first kernel.

    Returns:
        Empty where it ran; otherwise the reason in one phrase.
    """
    options = onnxruntime().SessionOptions()
    options.log_severity_level = 4
    try:
        with TemporaryDirectory(prefix="rsvl-trial-") as folder:
            graph = Path(folder, "negation.onnx")
            graph.write_bytes(_NEGATION)
            session = start(graph, options, provider, [provider], Path(folder))
            if session.get_providers()[0] != provider.full_name:
                return "its libraries or the GPU's driver are missing"
            (found,) = session.run(None, {"x": np.array([2], np.float32)})
    except Exception as error:  # as ONNX Runtime and CUDA raise them
        return first_line(error)
    return "" if found.tolist() == [-2] else f"it computes -2 as {found.tolist()}"
