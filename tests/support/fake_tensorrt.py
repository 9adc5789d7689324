"""As much of the module `tensorrt` as plugins touch, and a network of one plugin that is built, saved, loaded and run.

It holds plugins to what TensorRT's own bindings hold them to: attributes that must be set, methods that must be there,
types of what they give. It follows python/src/infer/pyPlugin.cpp of TensorRT 11 and the ONNX parser's plugin importer.
"""

from __future__ import annotations

import types
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

DataType = Enum("DataType", ["FLOAT", "HALF", "BF16", "INT32"])
TensorFormat = Enum("TensorFormat", ["LINEAR", "CHW32"])
PluginFieldType = Enum("PluginFieldType", ["INT32", "CHAR", "FLOAT32"])
TensorRTPhase = Enum("TensorRTPhase", ["BUILD", "RUNTIME"])

_FIELD_ARRAYS = {PluginFieldType.INT32: np.int32, PluginFieldType.CHAR: np.int8}


class PluginField:
    """Refers to the memory of an array and not to the array."""

    def __init__(self, name: str, data: np.ndarray, type: Any) -> None:
        self.name, self.type, self._memory = name, type, memoryview(data).cast("B") if data.size else b""

    @property
    def data(self) -> np.ndarray:
        return np.frombuffer(bytes(self._memory), _FIELD_ARRAYS[self.type])


class PluginFieldCollection(list):
    """Fields, as an iterable."""


class DimsExprs(list):
    """A shape's expressions."""


class PluginTensorDesc(NamedTuple):
    """A tensor while the engine runs."""

    dims: tuple[int, ...]
    type: Any
    format: Any = TensorFormat.LINEAR


class DynamicPluginTensorDesc(NamedTuple):
    """A tensor while the engine is built."""

    desc: PluginTensorDesc


class _Interface:
    def __init__(self) -> None:
        self.initialised = {*getattr(self, "initialised", ()), type(self).__name__}


class IPluginV3(_Interface):
    """Has clone and get_capability_interface."""


class IPluginV3OneCore(_Interface):
    """Has a name, a version and a namespace."""


class IPluginV3OneBuild(_Interface):
    """Says types and shapes."""


class IPluginV3OneRuntime(_Interface):
    """Runs."""


class IPluginCreatorV3One(_Interface):
    """Makes plugins."""


class Registry:
    """Creators by name, version and namespace."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> bool:
        assert isinstance(creator, IPluginCreatorV3One) and isinstance(creator.field_names, PluginFieldCollection)
        key = (creator.name, creator.plugin_version, namespace)
        assert creator.plugin_namespace == namespace
        return self.creators.setdefault(key, creator) is creator


def module(registry: Registry) -> types.ModuleType:
    """A module to put into sys.modules as `tensorrt`."""
    made = types.ModuleType("tensorrt")
    made.__dict__.update({name: value for name, value in globals().items() if not name.startswith("_")})
    made.__version__ = "11.1.0"
    made.INetworkDefinition = type("INetworkDefinition", (), {"add_plugin_v3": None})
    made.get_plugin_registry = lambda: registry
    made.__name__ = "tensorrt"
    return made


def parse_node(registry: Registry, op_type: str, attributes: dict[str, Any]) -> Any:
    """The plugin that the ONNX parser makes of a node; text comes without a zero at its end."""
    creator = registry.creators[op_type, "1", ""]
    kinds = {int: (PluginFieldType.INT32, np.int32), str: (PluginFieldType.CHAR, np.int8)}
    fields = PluginFieldCollection()
    for field in creator.field_names:
        value = attributes[field.name]
        kind, dtype = kinds[type(value)]
        data = value.encode() if isinstance(value, str) else np.int32(value).tobytes()
        assert kind == field.type
        fields.append(PluginField(field.name, np.frombuffer(data, dtype), kind))
    plugin = creator.create_plugin("node", fields, TensorRTPhase.BUILD)
    assert {type_.__name__ for type_ in type(plugin).__bases__} == {
        "IPluginV3",
        "IPluginV3OneCore",
        "IPluginV3OneBuild",
        "IPluginV3OneRuntime",
    }
    assert plugin.get_capability_interface(None) is plugin
    assert plugin.num_outputs == 1 and plugin.plugin_namespace == ""
    return plugin


def formats(plugin: Any, types: list[Any], formats: list[Any] | None = None) -> bool:
    """Whether the plugin supports these types of its inputs and output, asked as the builder asks: one by one."""
    layouts = formats or [TensorFormat.LINEAR] * len(types)
    tensors = [DynamicPluginTensorDesc(PluginTensorDesc((), t, f)) for t, f in zip(types, layouts, strict=True)]
    return all(plugin.supports_format_combination(i, tensors, len(types) - 1) for i in range(len(tensors)))


def execute(
    plugin: Any, inputs: list[PluginTensorDesc], output: PluginTensorDesc, addresses: list[int], stream: int
) -> None:
    """What an execution context calls for one inference; the output's address is the last."""
    plugin.on_shape_change(inputs, [output])
    plugin.set_tactic(0)
    plugin.enqueue(inputs, [output], addresses[:-1], addresses[-1:], 0, stream)


def reload(registry: Registry, plugin: Any) -> Any:
    """The plugin of an engine that was saved and loaded, in an execution context."""
    saved = plugin.clone().get_fields_to_serialize()
    assert isinstance(saved, PluginFieldCollection)
    creator = registry.creators[plugin.plugin_name, plugin.plugin_version, plugin.plugin_namespace]
    return creator.create_plugin("node", saved, TensorRTPhase.RUNTIME).attach_to_context(None)
