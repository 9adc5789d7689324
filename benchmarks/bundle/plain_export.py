"""What one gets without rsvl's export: the paper's own form of the rotated convolution, the whole model in one graph.

`torch.onnx.export` writes the form of `rsvl.benchmarks.bundle.grid_sampling` as it is: one GridSample over all channel
pairs of every base, in one graph that takes the image and the sentence together. Low-rank experts of patches are all
computed and multiplied by their gates. It is what the bundle's latency is measured against.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import onnx
import onnx.inliner
import torch
from torch import Tensor, nn

from rsvl.benchmarks.bundle.grid_sampling import grid_sampled
from rsvl.export.graphs import quiet_exporter
from rsvl.export.symbolics import DOMAIN, FIXED_SHAPES
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
    proto = onnx.load(path, load_external_data=False)
    own = {node.op_type for node in proto.graph.node if node.domain == DOMAIN}
    if not own <= set(FIXED_SHAPES):
        raise UsageError(f"{', '.join(sorted(own - set(FIXED_SHAPES)))} has no plain form: measure without it")
    if own:
        onnx.save(_inlined(proto, own), path)


def _inlined(proto: onnx.ModelProto, own: Collection[str]) -> onnx.ModelProto:
    """The model with the bodies of operations in the place of their nodes."""
    opset = next(entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    for name in sorted(own):
        body = FIXED_SHAPES[name](opset)
        body.overload = ""
        proto.functions.append(body)
    return onnx.inliner.inline_local_functions(proto)
