"""One graph of a model to one ONNX file: opset 20, dynamic batch, custom operations as nodes with a function body."""

from __future__ import annotations

import gc
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxscript  # noqa: F401  # torch.onnx.export needs it
import torch
from torch import Tensor, nn

import rsvl
from rsvl.export.batch_norms import fold_batch_norms
from rsvl.export.constant_kernels import fold_kernels
from rsvl.export.graph_files import lie_beside
from rsvl.export.symbolics import add_functions
from rsvl.runtime.manifest import GraphSpec, TensorSpec

OPSET = 20
"""The first that has GELU as one node. Its formula reads its input twice: ONNX Runtime would leave the layout that its
convolutions like to compute it, and in int8 would not see that a convolution's output is quantized."""

_EXAMPLE_BATCH = 2  # torch.export takes sizes 0 and 1 for constants


def write_graph(module: nn.Module, spec: GraphSpec, path: Path) -> None:
    """Exports a graph to an ONNX file that passes the ONNX checker.

    Args:
        module: takes and returns the tensors of the declaration, in its order.
        spec: the graph's declaration; its names become the ONNX graph's, its named dimensions are dynamic.
        path: the file to write; weights of many bytes (`lie_beside`) go to `path` with ``.data`` appended.
    """
    inputs = tuple(_example(tensor) for tensor in spec.inputs)
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            _Positional(module).eval(),
            inputs,
            dynamo=True,
            opset_version=OPSET,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes={"inputs": tuple(_dynamic(tensor) for tensor in spec.inputs)},
            verbose=False,
        )
    assert program is not None
    fold_kernels(program.model.graph)
    fold_batch_norms(program.model.graph)
    weights = program.model.graph.initializers.values()
    program.save(path, external_data=lie_beside(sum(w.const_value.nbytes for w in weights if w.const_value)))
    del program, weights
    gc.collect()  # the exporter's objects refer to each other and to the weights
    proto = onnx.load_model(path, load_external_data=False)
    _describe(proto, spec)
    add_functions(proto)
    onnx.save_model(proto, path)
    onnx.checker.check_model(path, full_check=True)


class _Positional(nn.Module):
    """Gives any graph the one signature that `write_graph` describes the dynamic shapes of."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.inner = graph  # not "graph": torch.fx has that name

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.inner(*inputs))


def _example(tensor: TensorSpec) -> Tensor:
    shape = [_EXAMPLE_BATCH if isinstance(size, str) else size for size in tensor.shape]
    return torch.zeros(shape, dtype=getattr(torch, tensor.dtype))


def _dynamic(tensor: TensorSpec) -> dict[int, torch.export.Dim]:
    return {axis: torch.export.Dim(size) for axis, size in enumerate(tensor.shape) if isinstance(size, str)}


def _describe(proto: onnx.ModelProto, spec: GraphSpec) -> None:
    proto.producer_name, proto.producer_version = "rsvl", rsvl.__version__
    proto.graph.name = spec.name
    for node in proto.graph.node:  # keeps where in the model a node comes from; drops paths of the exporting machine
        origin = [entry for entry in node.metadata_props if entry.key == "namespace"]
        del node.metadata_props[:]
        node.metadata_props.extend(origin)


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Silences the exporter's notes on absent packages, deprecations and what it could not fold; errors are raised."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
