"""A whole model in PyTorch, from raw inputs to final outputs, as papers measure it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import ModelSpec

EAGER = "PyTorch eager"
COMPILED = "torch.compile"

Tensors = dict[str, np.ndarray]
Run = Callable[[], Tensors]


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


def pytorch(model: Callable[..., tuple[Tensor, ...]], spec: ModelSpec, inputs: Tensors, device: str = "cpu") -> Run:
    """Runs a `Whole` model, compiled or not, on `device` in PyTorch, from main memory and back to it."""
    raw = [torch.from_numpy(inputs[name]) for name in spec.raw_inputs]

    def run() -> Tensors:
        with torch.no_grad():
            found = model(*(tensor.to(device) for tensor in raw))
            return {name: tensor.cpu().numpy() for name, tensor in zip(spec.final_outputs, found, strict=True)}

    return run
