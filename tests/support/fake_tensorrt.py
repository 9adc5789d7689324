"""A stand-in for the module `tensorrt`: it registers plugins, parses ONNX files, builds engines and loads them.

It holds rsvl to what TensorRT's own bindings hold it to: attributes that must be set, methods that must be there, types
of what they return. Its names and parameters are those of the bindings (`tensorrt_bindings`, which a test compares with
it). It follows python/src/infer/pyPlugin.cpp of TensorRT 11 and the ONNX parser's plugin importer; whether a plugin or
a body takes a node depends on the version, see `OnnxParser`.
"""

from __future__ import annotations

import json
import sys
import types
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx import helper

from rsvl.plugins import driver, registration

DataType = Enum("DataType", ["FLOAT", "HALF", "BF16", "INT32"])
TensorFormat = Enum("TensorFormat", ["LINEAR", "CHW32"])
PluginFieldType = Enum("PluginFieldType", ["INT32", "CHAR", "FLOAT32"])
TensorRTPhase = Enum("TensorRTPhase", ["BUILD", "RUNTIME"])
BuilderFlag = Enum("BuilderFlag", ["TF32"])
MemoryPoolType = Enum("MemoryPoolType", ["WORKSPACE"])
NetworkDefinitionCreationFlag = type("NetworkDefinitionCreationFlag", (), {"STRONGLY_TYPED": 1})

_FIELD_ARRAYS = {PluginFieldType.INT32: np.int32, PluginFieldType.CHAR: np.int8}


class PluginField:
    """Refers to the memory of an array and not to the array."""

    misread = False  # as bindings before 10.16 do beside NumPy 2

    def __init__(self, name: str, data: np.ndarray, type: Any) -> None:
        self.name, self.type, self._memory = name, type, memoryview(data).cast("B") if data.size else b""

    @property
    def data(self) -> np.ndarray:
        values = np.frombuffer(bytes(self._memory), _FIELD_ARRAYS[self.type])
        return np.repeat(values[:1], len(values)) if self.misread else values


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


class ILogger(_Interface):
    """Has log."""

    INTERNAL_ERROR, ERROR, WARNING = "INTERNAL_ERROR", "ERROR", "WARNING"


class IProgressMonitor(_Interface):
    """Has phase_start, step_complete and phase_finish."""


class IPluginRegistry:
    """Creators by name, version and namespace."""

    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    @property
    def all_creators(self) -> list[Any]:
        return list(self.creators.values())

    def register_creator(self, creator: Any, plugin_namespace: str) -> bool:
        assert isinstance(creator, IPluginCreatorV3One) and isinstance(creator.field_names, PluginFieldCollection)
        key = (creator.name, creator.plugin_version, plugin_namespace)
        assert creator.plugin_namespace == plugin_namespace
        return self.creators.setdefault(key, creator) is creator


class ParserError(NamedTuple):
    """Why a file cannot be parsed."""

    text: str

    def desc(self) -> str:
        return self.text


class Layer(NamedTuple):
    """A node of the file or of a body, and its plugin where one takes it."""

    type: str
    inputs: int
    plugin: Any = None


class INetworkDefinition:
    """Layers as parsed."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def add_plugin_v3(self, inputs: Any, shape_inputs: Any, plugin: Any) -> None:
        raise NotImplementedError


class OnnxParser:
    """Gives each node to a plugin, to the body that the model carries for it, or to TensorRT's own operator.

    A node that has both a plugin and a body goes to the body before 10.7, to the plugin before 10.15, and then to the
    plugin only where the flag ENABLE_PLUGIN_OVERRIDE is set (onnx-tensorrt's changelog, and its `parseNode`).
    """

    trt: Any = None

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._flags, self._errors = network, set[Any](), list[ParserError]()
        assert "Log" in logger.initialised

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def set_flag(self, flag: Any) -> None:
        assert isinstance(flag, self.trt.OnnxParserFlag)
        self._flags.add(flag)

    def parse_from_file(self, model: str) -> bool:
        file = onnx.load(model)
        bodies = {function.name: function for function in file.functions}
        for node in file.graph.node:
            if self._takes_plugin(node.op_type, node.op_type in bodies):
                attributes = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
                plugin = parse_node(self.trt.get_plugin_registry(), node.op_type, attributes)
                self._network.layers.append(Layer(node.op_type, len(node.input), plugin))
            elif node.op_type in bodies:
                self._network.layers += [Layer(n.op_type, len(n.input)) for n in bodies[node.op_type].node]
            elif node.domain:
                self._errors.append(ParserError(f"no importer for {node.op_type}"))
            else:
                self._network.layers.append(Layer(node.op_type, len(node.input)))
        return not self._errors

    def _takes_plugin(self, op_type: str, has_body: bool) -> bool:
        if (op_type, "1", "") not in self.trt.get_plugin_registry().creators:
            return False
        override = getattr(self.trt.OnnxParserFlag, "ENABLE_PLUGIN_OVERRIDE", None)
        prefers = self.trt.release >= (10, 7) if override is None else override in self._flags
        return prefers or not has_body


class ITimingCache:
    """Timings of an earlier build and of this one."""

    def __init__(self, serialized: bytes) -> None:
        self._serialized = serialized

    def serialize(self) -> bytes:
        return self._serialized + b"timed"


class IOptimizationProfile:
    """Shapes of the dynamic inputs."""

    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [tuple(min), tuple(opt), tuple(max)]


class IBuilderConfig:
    """How to build."""

    progress_monitor: Any = None

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}
        self.profiles: list[IOptimizationProfile] = []

    def clear_flag(self, flag: Any) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        assert isinstance(pool, MemoryPoolType) and pool_size > 0

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache:
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        return isinstance(cache, ITimingCache) and not ignore_mismatch


class Builder:
    """Serializes a network's layers, with the fields that its plugins save."""

    def __init__(self, logger: ILogger) -> None:
        assert "Log" in logger.initialised

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        assert BuilderFlag.TF32 not in config.flags
        monitor = config.progress_monitor
        monitor.phase_start("building", None, network.num_layers)
        for step, layer in enumerate(network.layers):
            assert layer.plugin is None or formats(layer.plugin, [DataType.FLOAT] * (layer.inputs + 1))
            if not monitor.step_complete("building", step):
                return None
        monitor.phase_finish("building")
        return json.dumps([_saved(layer) for layer in network.layers]).encode()


class ICudaEngine:
    """A loaded engine."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers = layers


class Runtime:
    """Loads an engine whose plugins are all registered."""

    trt: Any = None

    def __init__(self, logger: ILogger) -> None:
        assert "Log" in logger.initialised
        self._logger: Any = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        layers = []
        for name, inputs, saved in json.loads(serialized_engine):
            creator = self.trt.get_plugin_registry().creators.get((name, "1", ""))
            if saved is not None and creator is None:
                self._logger.log(ILogger.ERROR, f"Cannot find plugin: {name}, version: 1, namespace:")
                return None
            fields = None if saved is None else PluginFieldCollection(_field(*field) for field in saved)
            plugin = None if fields is None else creator.create_plugin(name, fields, TensorRTPhase.RUNTIME)
            layers.append(Layer(name, inputs, plugin))
        return ICudaEngine(layers)


def module(registry: IPluginRegistry, version: str = "11.4.0.106", misread: bool = False) -> types.ModuleType:
    """A module to put into sys.modules as `tensorrt`.

    Args:
        registry: its plugin registry.
        version: whose behaviour it has.
        misread: whether its plugin fields return their first element again and again.
    """
    made = types.ModuleType("tensorrt")
    made.__dict__.update({name: value for name, value in globals().items() if not name.startswith("_")})
    made.__dict__.update(__version__=version, __name__="tensorrt", get_plugin_registry=lambda: registry)
    release = tuple(int(part) for part in version.split(".")[:2])
    flags = ["NATIVE_INSTANCENORM", "ENABLE_PLUGIN_OVERRIDE"][: 2 if release >= (10, 15) else 1]
    made.__dict__.update(release=release, OnnxParserFlag=Enum("OnnxParserFlag", flags))
    for kind in (OnnxParser, Runtime):
        setattr(made, kind.__name__, type(kind.__name__, (kind,), {"trt": made}))
    made.__dict__["PluginField"] = type("PluginField", (PluginField,), {"misread": misread})
    return made


def install(monkeypatch: pytest.MonkeyPatch, version: str = "11.4.0.106", misread: bool = False) -> types.ModuleType:
    """Makes this a machine with that TensorRT and NVIDIA's driver, in a process that has registered no plugin yet."""
    made = module(IPluginRegistry(), version, misread)
    monkeypatch.setitem(sys.modules, "tensorrt", made)
    monkeypatch.setitem(sys.modules, "rsvl.plugins.tensorrt_plugin", None)  # so that it is removed in the end
    monkeypatch.delitem(sys.modules, "rsvl.plugins.tensorrt_plugin")  # it has to import this TensorRT
    monkeypatch.setattr(registration, "_creators", {})
    monkeypatch.setattr(driver, "require", lambda: None)
    return made


def parse_node(registry: IPluginRegistry, op_type: str, attributes: dict[str, Any]) -> Any:
    """The plugin that the ONNX parser makes of a node; text comes without a zero at its end."""
    creator = registry.creators[op_type, "1", ""]
    kinds = {int: PluginFieldType.INT32, str: PluginFieldType.CHAR}
    fields = PluginFieldCollection()
    for field in creator.field_names:
        value = attributes[field.name]
        data = value.encode() if isinstance(value, str) else np.int32(value).tobytes()
        assert kinds[type(value)] == field.type
        fields.append(_field(field.name, field.type.name, list(data)))
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


def reload(registry: IPluginRegistry, plugin: Any) -> Any:
    """The plugin of an engine that was saved and loaded, in an execution context."""
    saved = plugin.clone().get_fields_to_serialize()
    assert isinstance(saved, PluginFieldCollection)
    creator = registry.creators[plugin.plugin_name, plugin.plugin_version, plugin.plugin_namespace]
    return creator.create_plugin("node", saved, TensorRTPhase.RUNTIME).attach_to_context(None)


def write_rotated_conv(path: Path) -> Path:
    """Writes a graph of one RotatedConv2d and a Relu; its body is a Conv and an Add."""
    nodes = [
        helper.make_node(
            "RotatedConv2d", ["x", "taps", "theta", "gate"], ["z"], domain="rsvl", mode="arc", kernel_size=3
        ),
        helper.make_node("Relu", ["z"], ["y"]),
    ]
    shapes = {"x": ["batch", 4, 9, 8], "taps": [3, 3, 3, 5, 4], "theta": ["batch", 3], "gate": ["batch", 3]}
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 5, 9, 8])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("rsvl", 1)]
    body = [helper.make_node("Conv", ["x", "taps"], ["c"]), helper.make_node("Add", ["c", "theta"], ["z"])]
    function = helper.make_function("rsvl", "RotatedConv2d", ["x", "taps", "theta", "gate"], ["z"], body, opsets[:1])
    graph = helper.make_graph(nodes, "head", inputs, [output])
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8), path)
    return path


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _saved(layer: Layer) -> tuple[str, int, list[Any] | None]:
    """A layer as an engine keeps it: with its plugin's fields by name, type and bytes."""
    if layer.plugin is None:
        return layer.type, layer.inputs, None
    fields = layer.plugin.clone().get_fields_to_serialize()
    return layer.type, layer.inputs, [(f.name, f.type.name, list(bytes(f._memory))) for f in fields]


def _field(name: str, type: str, data: list[int]) -> PluginField:
    kind = PluginFieldType[type]
    return PluginField(name, np.frombuffer(bytes(data), _FIELD_ARRAYS[kind]), kind)
