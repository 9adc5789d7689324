"""Registers the plugins with TensorRT, or says in one line why they cannot be."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from rsvl.plugins import driver
from rsvl.plugins.lora_moe import LoRAMoE
from rsvl.plugins.operation import Operation
from rsvl.plugins.patch_lora_moe import PatchLoRAMoE
from rsvl.plugins.rotated_conv import RotatedConv2d
from rsvl.plugins.selective_scan import SelectiveScan
from rsvl.runtime.errors import MissingComponentError, RsvlError, UsageError
from rsvl.runtime.extras import remedy

#: The operations that have a plugin, by the type of their node.
OPERATIONS: dict[str, type[Operation]] = {
    operation.name: operation for operation in (LoRAMoE, PatchLoRAMoE, RotatedConv2d, SelectiveScan)
}

_creators: dict[str, Any] = {}  # TensorRT's registry has their addresses only


def register(names: Iterable[str] = tuple(OPERATIONS)) -> None:
    """Registers plugins with full TensorRT, to build and to load engines; a second time does nothing.

    It is also what pyproject.toml's entry points lead to, by which the runtime finds it. Registered plugins take their
    nodes in TensorRT 10.7 to 10.14; from 10.15 on the ONNX parser prefers the bodies that a model carries unless its
    flag ENABLE_PLUGIN_OVERRIDE is set.

    Args:
        names: keys of `OPERATIONS`.

    Raises:
        UsageError: a name without a plugin.
        MissingComponentError: full TensorRT 10 or later, cuda-python or NVIDIA's driver is missing; TensorRT for RTX
            runs no plugins; bindings that misread attributes beside NumPy 2.
        RsvlError: TensorRT refuses a creator, because another one has its name.
    """
    wanted = list(names)
    for name in wanted:
        if name not in OPERATIONS:
            raise UsageError(f"no TensorRT plugin {name!r}: there are {', '.join(OPERATIONS)}")
    trt = _full_tensorrt()
    driver.require()
    plugin = importlib.import_module("rsvl.plugins.tensorrt_plugin")
    for name in wanted:
        if name in _creators:
            continue
        if str in OPERATIONS[name].fields.values():
            _check_attributes(trt, name)
        creator = plugin.KernelPluginCreator(OPERATIONS[name])
        if not trt.get_plugin_registry().register_creator(creator, plugin.NAMESPACE):
            raise RsvlError(f"TensorRT has another plugin {name}: load either rsvl's library or its Python plugins")
        _creators[name] = creator


def _check_attributes(trt: Any, name: str) -> None:
    """Refuses bindings that return an attribute's first element in the place of all: before 10.16, with NumPy 2."""
    given = np.array([1, 2], np.int32)
    if list(trt.PluginField("probe", given, trt.PluginFieldType.INT32).data) != [1, 2]:
        raise MissingComponentError(
            f"tensorrt {trt.__version__} misreads the attributes of {name} beside NumPy {np.__version__}: install "
            "TensorRT 10.16 or newer, or 'numpy<2'"
        )


def _full_tensorrt() -> Any:
    """The module `tensorrt`, if it runs user plugins."""
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise MissingComponentError(
            f"TensorRT plugins need full TensorRT ({error}), TensorRT for RTX runs none: {remedy('tensorrt')}, or "
            "leave plugins off, the standard operators do the same"
        ) from error
    if not hasattr(trt, "IPluginV3") or not hasattr(trt.INetworkDefinition, "add_plugin_v3"):
        raise MissingComponentError(
            f"{trt.__name__} {trt.__version__} runs no plugins of version 3: they need full TensorRT 10 or later, not "
            "TensorRT for RTX; leave plugins off, the standard operators do the same"
        )
    return trt
