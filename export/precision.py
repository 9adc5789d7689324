"""Half precision as types in the graph: the module is made half before it is exported.

TensorRT 11 and TensorRT-RTX know only strongly typed networks, so precision is decided here and nowhere later. Rules:

- a graph's floating-point inputs and outputs stay float32;
- every layer (a module with parameters or buffers of its own) is float16 and casts what it takes to its own type;
- a part that the model names in `keep_fp32`, and a layer whose values come near float16's range, is float32
  and casts what it takes to float32. What it gives stays float32 until a half layer takes it, so that for
  instance scores are compared in the type in which they were computed.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from rsvl.export.keep_fp32 import matching_pattern

DTYPES = {"fp32": torch.float32, "fp16": torch.float16}
"""What can be exported. bf16 is not: ONNX Runtime has no bfloat16 kernels on the CPU to verify it with."""

OVERFLOW_MARGIN = 8.0
"""A layer stays float32 when a value seen at it times this margin overflows: other inputs give other values."""


def in_precision(graph: nn.Module, model: nn.Module, precision: str, kept: Mapping[str, str]) -> nn.Module:
    """The graph's module in a precision; the model itself is left as it is.

    Args:
        graph: a module made of the model's submodules, float32.
        model: the model, whose submodules' paths name the parts to keep.
        precision: a key of `DTYPES`.
        kept: what stays float32: a submodule's path, with all below it, or a pattern (``fnmatch``) → reason.

    Returns:
        For ``fp32`` the graph itself, else a copy of it that takes and gives float32.
    """
    dtype = DTYPES[precision]
    if dtype == torch.float32:
        return graph
    paths = {id(module): path for path, module in model.named_modules()}
    originals = list(graph.modules())
    converted = copy.deepcopy(graph)
    for original, module in zip(originals, converted.modules(), strict=True):
        keep = matching_pattern(paths.get(id(original), ""), kept) is not None
        if is_layer(module) and not keep:
            _convert(module, dtype)
        if keep or is_layer(module):
            module.register_forward_pre_hook(_casting(torch.float32 if keep else dtype), with_kwargs=True)
    return _HalfInside(converted, dtype)


def is_layer(module: nn.Module) -> bool:
    """Whether the module has floating-point parameters or buffers of its own."""
    return any(True for _ in _own(module))


@contextmanager
def watch_ranges(model: nn.Module) -> Iterator[dict[str, float]]:
    """Records, while the block runs the model, the largest magnitude that each layer takes, holds or gives, by path."""
    largest: dict[str, float] = {}
    handles = []

    def watch(path: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            largest[path] = max(largest[path], _largest(_floats((args, kwargs, output))))

        return hook

    for path, module in model.named_modules():
        if path and is_layer(module):
            largest[path] = _largest(_own(module))
            handles.append(module.register_forward_hook(watch(path), with_kwargs=True))
    try:
        yield largest
    finally:
        for handle in handles:
            handle.remove()


def overflowing(largest: Mapping[str, float]) -> dict[str, str]:
    """The layers that float16 could not hold, with the reason, from what `watch_ranges` recorded."""
    limit = torch.finfo(torch.float16).max
    return {
        path: f"its values reach {value:.3g}, within a factor {OVERFLOW_MARGIN:g} of float16's largest, {limit:.0f}"
        for path, value in largest.items()
        if value * OVERFLOW_MARGIN > limit
    }


class _HalfInside(nn.Module):
    """Casts floating-point inputs to `dtype`, runs the graph, casts floating-point outputs back to float32."""

    def __init__(self, graph: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = graph  # not "graph": torch.fx has that name
        self.dtype = dtype

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with _PromotedConcatenation():
            outputs = self.inner(*_cast(inputs, self.dtype))
        return tuple(_cast(output, torch.float32) for output in outputs)


class _PromotedConcatenation(TorchFunctionMode):
    """Casts explicitly what is concatenated in mixed types: PyTorch promotes it, the ONNX exporter does not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.cat, torch.stack) and args and len({tensor.dtype for tensor in args[0]}) > 1:
            dtype = functools.reduce(torch.promote_types, (tensor.dtype for tensor in args[0]))
            args = ([tensor.to(dtype) for tensor in args[0]], *args[1:])
        return func(*args, **(kwargs or {}))


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.data = _cast(parameter.data, dtype)
    for name, buffer in module.named_buffers(recurse=False):
        setattr(module, name, _cast(buffer, dtype))


def _casting(dtype: torch.dtype) -> Any:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return _cast(args, dtype), _cast(kwargs, dtype)

    return hook


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Casts floating-point tensors within nested tuples, lists and dictionaries; leaves all else."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, tuple | list):
        return type(value)(_cast(v, dtype) for v in value)
    if isinstance(value, dict):
        return {key: _cast(v, dtype) for key, v in value.items()}
    return value


def _own(module: nn.Module) -> Iterator[Tensor]:
    """The floating-point parameters and buffers of the module itself."""
    return _floats([*module.parameters(recurse=False), *module.buffers(recurse=False)])


def _largest(tensors: Iterator[Tensor]) -> float:
    """The largest magnitude in them; NaN counts as infinite."""
    return max((float(t.detach().abs().amax().nan_to_num(nan=torch.inf)) for t in tensors if t.numel()), default=0.0)


def _floats(value: Any) -> Iterator[Tensor]:
    """The floating-point tensors within nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _floats(item)
