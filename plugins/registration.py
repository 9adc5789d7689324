"""Registers the plugins with TensorRT, or says in one line why they cannot be."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from rsvl.plugins import driver
from rsvl.plugins.lora_moe import LoRAMoE
from rsvl.plugins.operation import Operation
from rsvl.plugins.rotated_conv import RotatedConv2d
from rsvl.runtime.errors import MissingComponentError, RsvlError, UsageError

#: The operations that have a plugin, by the type of their node.
OPERATIONS: dict[str, type[Operation]] = {operation.name: operation for operation in (LoRAMoE, RotatedConv2d)}

_creators: dict[str, Any] = {}  # TensorRT's registry has their addresses only


def register(names: Iterable[str] = tuple(OPERATIONS)) -> None:
    """Registers plugins with full TensorRT, for building and for loading engines; a second time does nothing.

    TensorRT's ONNX parser prefers the bodies that a model carries; its flag ENABLE_PLUGIN_OVERRIDE (10.7 or later)
    gives the nodes to registered plugins.

    Args:
        names: keys of `OPERATIONS`.

    Raises:
        UsageError: a name without a plugin.
        MissingComponentError: full TensorRT 10 or later, cuda-python or NVIDIA's driver is missing; TensorRT for RTX
            takes no plugins.
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
        creator = plugin.KernelPluginCreator(OPERATIONS[name])
        if not trt.get_plugin_registry().register_creator(creator, plugin.NAMESPACE):
            raise RsvlError(f"TensorRT has another plugin {name}: load either rsvl's library or its Python plugins")
        _creators[name] = creator


def _full_tensorrt() -> Any:
    """The module `tensorrt`, if it can have user plugins."""
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise MissingComponentError(
            f"TensorRT plugins need full TensorRT ({error}), TensorRT for RTX takes none: pip install tensorrt, or "
            "leave plugins off, the standard operators do the same"
        ) from error
    if not hasattr(trt, "IPluginV3") or not hasattr(trt.INetworkDefinition, "add_plugin_v3"):
        raise MissingComponentError(
            f"{trt.__name__} {trt.__version__} takes no plugins of version 3: they need full TensorRT 10 or later, not "
            "TensorRT for RTX; leave plugins off, the standard operators do the same"
        )
    return trt
