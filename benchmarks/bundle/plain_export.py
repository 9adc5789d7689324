"""What one gets without rsvl's export: the paper's own form of the rotated convolution, the whole model in one graph.

`torch.onnx.export` writes the form of `rsvl.benchmarks.bundle.grid_sampling` as it is: one GridSample over all channel
pairs of every base, in one graph that takes the image and the sentence together. It is what the bundle's latency is
measured against.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.grid_sampling import grid_sampled
from rsvl.export.graphs import quiet_exporter
from rsvl.runtime.errors import UsageError


def export_plainly(model: nn.Module, inputs: Mapping[str, Tensor], outputs: Sequence[str], path: Path) -> None:
    """Writes a module as one ONNX graph of fixed sizes, by `torch.onnx.export`'s defaults.

    Args:
        model: takes the inputs in their order, gives a tensor or a tuple of them.
        inputs: by name.
        outputs: names of what it gives.
        path: the file to write.

    Raises:
        UsageError: an operation that has no plain form.
    """
    with torch.no_grad(), quiet_exporter():
        torch.onnx.export(
            grid_sampled(model).eval(),
            tuple(inputs.values()),
            str(path),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            verbose=False,
        )
    own = {node.op_type for node in onnx.load(path, load_external_data=False).graph.node if node.domain == "rsvl"}
    if own:
        raise UsageError(f"{', '.join(sorted(own))} has no plain form: measure without it")
