"""What Triton is told of a bundle's graphs and of the ensemble that joins them.

The fields are those of Triton's model_config.proto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import GraphSpec, ModelSpec, TensorSpec
from rsvl.runtime.triton.text_format import EnumValue, Message

TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
}
"""Triton's types that its ONNX Runtime backend takes, by NumPy dtype name."""

_NEWEST = -1
"""As a version: the newest that there is."""


@dataclass(frozen=True)
class Instances:
    """How many copies of each graph Triton loads, and where.

    Attributes:
        count: copies per GPU, or on the CPU.
        gpu: whether on every GPU that Triton sees, else on the CPU.
    """

    count: int = 1
    gpu: bool = False


@dataclass(frozen=True)
class WarmupInput:
    """An input of the request with which Triton warms a graph up.

    Attributes:
        file: the file of its values in the model's folder ``warmup``.
        array: the values, without the batch dimension where Triton batches.
    """

    file: str
    array: np.ndarray


def can_batch(model: ModelSpec) -> bool:
    """Whether Triton can batch requests: the same dynamic dimension is the first of every tensor, and no other."""
    tensors = list(_tensors(model))
    batch = {tensor.shape[0] if tensor.shape else "" for tensor in tensors}
    elsewhere = {size for tensor in tensors for size in tensor.shape[1:]}
    return len(batch) == 1 and isinstance(next(iter(batch)), str) and not batch & elsewhere


def check_expressible(model: ModelSpec) -> None:
    """Checks that Triton's configuration has words for all of a model's tensors.

    Raises:
        UsageError: names the tensor and the reason: a type that Triton lacks, a scalar, or a name that two graphs make.
    """
    for tensor in _tensors(model):
        if tensor.dtype not in TYPES:
            raise UsageError(
                f"{model.name}: Triton's ONNX Runtime backend takes no {tensor.dtype}, which {tensor.name} is: "
                "export the bundle in another precision"
            )
        if not tensor.shape:
            raise UsageError(
                f"{model.name}: {tensor.name} is a scalar, for which Triton has no shape: give the graph a dimension"
            )
    made = Counter(tensor.name for graph in model.graphs for tensor in graph.outputs)
    for name, count in made.items():
        if count > 1:
            raise UsageError(
                f"{model.name}: {count} graphs make {name}, and a tensor of an ensemble comes from one step only: "
                "rename the graphs' outputs"
            )


def graph_config(
    name: str, graph: GraphSpec, max_batch_size: int, instances: Instances, warmup: Mapping[str, WarmupInput]
) -> Message:
    """The configuration of one graph's model.

    Args:
        name: the model's.
        graph: the graph.
        max_batch_size: the most samples of one run; 0 for a model that Triton does not batch.
        instances: how many copies, and where.
        warmup: the input of the warm-up request by name; empty for none.
    """
    batching: Message = {"dynamic_batching": {}} if max_batch_size > 1 else {}
    return {
        "name": name,
        "platform": "onnxruntime_onnx",
        "max_batch_size": max_batch_size,
        "input": [_tensor(tensor, max_batch_size > 0) for tensor in graph.inputs],
        "output": [_tensor(tensor, max_batch_size > 0) for tensor in graph.outputs],
        "instance_group": [
            {"count": instances.count, "kind": EnumValue("KIND_GPU" if instances.gpu else "KIND_CPU")},
        ],
        **batching,
        **({"model_warmup": [_warmup(warmup)]} if warmup else {}),
    }


def ensemble_config(name: str, model: ModelSpec, models: Mapping[str, str], max_batch_size: int) -> Message:
    """The configuration of the ensemble, whose tensors have the names that they have in the graphs.

    Args:
        name: the ensemble's.
        model: the bundle's model.
        models: the name of each graph's model, by graph.
        max_batch_size: that of the graphs' models.
    """
    steps: list[Message] = [
        {
            "model_name": models[graph.name],
            "model_version": _NEWEST,
            "input_map": _same_names(graph.inputs),
            "output_map": _same_names(graph.outputs),
        }
        for graph in model.graphs
    ]
    return {
        "name": name,
        "platform": "ensemble",
        "max_batch_size": max_batch_size,
        "input": [_declared(tensor, max_batch_size > 0) for tensor in model.raw_inputs.values()],
        "output": [_declared(tensor, max_batch_size > 0) for tensor in model.final_outputs.values()],
        "ensemble_scheduling": {"step": steps},
    }


def dims(tensor: TensorSpec, batched: bool) -> tuple[int, ...]:
    """A tensor's shape as Triton declares it: without the batch dimension where it batches, -1 for a dynamic one.

    One value per sample is ``(1,)``, since Triton has no empty shape.
    """
    shape = tensor.shape[1:] if batched else tensor.shape
    return tuple(-1 if isinstance(size, str) else size for size in shape) or (1,)


def _tensors(model: ModelSpec) -> Iterable[TensorSpec]:
    return (tensor for graph in model.graphs for tensor in (*graph.inputs, *graph.outputs))


def _declared(tensor: TensorSpec, batched: bool) -> Message:
    return {"name": tensor.name, "data_type": EnumValue(TYPES[tensor.dtype]), "dims": dims(tensor, batched)}


def _tensor(tensor: TensorSpec, batched: bool) -> Message:
    """A graph's tensor. Where it is one value per sample, Triton adds a dimension of 1 outside of the graph."""
    has_no_more = batched and len(tensor.shape) == 1
    return {**_declared(tensor, batched), **({"reshape": {"shape": ()}} if has_no_more else {})}


def _same_names(tensors: Iterable[TensorSpec]) -> list[Message]:
    return [{"key": tensor.name, "value": tensor.name} for tensor in tensors]


def _warmup(inputs: Mapping[str, WarmupInput]) -> Message:
    given_inputs: list[Message] = [
        {
            "key": name,
            "value": {
                "data_type": EnumValue(TYPES[given.array.dtype.name]),
                "dims": given.array.shape or (1,),
                "input_data_file": given.file,
            },
        }
        for name, given in inputs.items()
    ]
    return {
        "name": "golden",
        "batch_size": 1,  # of models that are not batched too: Triton skips a sample of 0
        "inputs": given_inputs,
    }
