"""Whether a model's graphs give what its declaration names."""

from __future__ import annotations

import torch
from torch import Tensor

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import TensorSpec


def check_shapes(model: ExportableModel) -> None:
    """Runs every graph of a model on the meta device on what it declares to take."""
    for graph in model.spec.graphs:
        outputs = model.graph(graph.name)(*map(_empty, graph.inputs))
        found = [(tuple(o.shape), o.dtype) for o in outputs]
        assert found == [(_empty(o).shape, _empty(o).dtype) for o in graph.outputs], graph.name


def _empty(tensor: TensorSpec) -> Tensor:
    shape = [2 if isinstance(size, str) else size for size in tensor.shape]
    return torch.empty(shape, dtype=getattr(torch, tensor.dtype), device="meta")
