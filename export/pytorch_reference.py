"""What the model gives in PyTorch float32: the reference that an export is verified against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from rsvl.export.verify import Tensors, run_in_batches
from rsvl.modules.bases.exportable import ExportableModel
from rsvl.runtime.manifest import ModelSpec


def run_pytorch(model: ExportableModel, spec: ModelSpec, samples: Mapping[str, np.ndarray]) -> Tensors:
    """Every output of every graph of the model in PyTorch, float32, as arrays [N, …] by name."""
    tensors: Tensors = dict(samples)
    with torch.no_grad():
        for graph in spec.graphs:
            module = model.graph(graph.name)

            def run(inputs: Sequence[np.ndarray], module: torch.nn.Module = module) -> list[np.ndarray]:
                return [output.numpy() for output in module(*(torch.from_numpy(x) for x in inputs))]

            tensors.update(run_in_batches(graph, tensors, run))
    return tensors
