"""The plugin and its creator, for any `Operation`: IPluginV3 of full TensorRT 10 and 11. It imports tensorrt.

TensorRT calls these methods from C++ and takes an exception for a failure, whose text it prints. Attributes that it
reads (`num_outputs` and the like) must be set in `__init__`; what it is given by address must live as long as the
plugin, which is why fields are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorrt as trt

from rsvl.plugins import driver
from rsvl.plugins.operation import Launch, Operation, Tensor

VERSION, NAMESPACE = "1", ""  # what TensorRT's ONNX parser looks for where a node does not say

_DTYPES = {trt.DataType.FLOAT: "float32", trt.DataType.HALF: "float16", trt.DataType.BF16: "bfloat16"}
_FIELD_TYPES = {int: (trt.PluginFieldType.INT32, np.int32), str: (trt.PluginFieldType.CHAR, np.int8)}


class KernelPlugin(trt.IPluginV3, trt.IPluginV3OneCore, trt.IPluginV3OneBuild, trt.IPluginV3OneRuntime):
    """One node of an engine: an operation whose kernel NVRTC compiles when the engine is loaded."""

    def __init__(self, operation: Operation) -> None:
        """Makes the plugin of an operation with its attributes."""
        for base in KernelPlugin.__bases__:
            base.__init__(self)
        self.operation = operation
        self.plugin_name, self.plugin_version, self.plugin_namespace = operation.name, VERSION, NAMESPACE
        self.num_outputs = 1
        self.timing_cache_id = ""  # there is one tactic: nothing to time
        self._launch: Launch | None = None
        self._fields = trt.PluginFieldCollection([_field(name, v) for name, v in operation.attributes().items()])

    def get_capability_interface(self, type: Any) -> KernelPlugin:
        """One object has all three capabilities."""
        return self

    def clone(self) -> KernelPlugin:
        """A plugin of the same operation, configured as this one is."""
        cloned = KernelPlugin(self.operation)
        cloned._launch = self._launch
        return cloned

    def get_fields_to_serialize(self) -> Any:
        """The attributes; the creator gets them back when the engine is loaded."""
        return self._fields

    def get_output_data_types(self, input_types: Sequence[Any]) -> list[Any]:
        """The first input's."""
        return [input_types[0]]

    def get_output_shapes(self, inputs: Sequence[Any], shape_inputs: Any, exprBuilder: Any) -> list[Any]:
        """The output's dimensions, each one of an input's."""
        dims = self.operation.output_dims([len(shape) for shape in inputs])
        return [trt.DimsExprs([inputs[index][dim] for index, dim in dims])]

    def supports_format_combination(self, pos: int, in_out: Sequence[Any], num_inputs: int) -> bool:
        """Whether the kernel takes tensor number `pos` so; a dimension lies behind the other in all."""
        if num_inputs != self.operation.inputs or in_out[pos].desc.format != trt.TensorFormat.LINEAR:
            return False
        return self.operation.takes(pos, [_DTYPES.get(tensor.desc.type, "") for tensor in in_out[: pos + 1]])

    def configure_plugin(self, inp: Sequence[Any], out: Sequence[Any]) -> None:
        """Nothing depends on the ranges of the sizes."""

    def attach_to_context(self, context: Any) -> KernelPlugin:
        """A plugin for one execution context; the kernels are compiled here, before the first inference."""
        driver.kernels(type(self.operation), driver.current_device())
        return self.clone()

    def set_tactic(self, tactic: int) -> None:
        """There is one, number 0; TensorRT says so, and takes a missing method for a failure."""

    def on_shape_change(self, inp: Sequence[Any], out: Sequence[Any]) -> None:
        """Works out the launch for these sizes, so that `enqueue` only starts it."""
        self._launch = self.operation.launch([Tensor(tuple(one.dims), _DTYPES[one.type]) for one in inp])
        driver.kernels(type(self.operation), driver.current_device()).prepare(self._launch)

    def enqueue(
        self,
        input_desc: Sequence[Any],
        output_desc: Sequence[Any],
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Starts the kernel on the stream; CUDA graphs can capture it."""
        assert self._launch is not None, "TensorRT tells the shapes before it enqueues"
        kernels = driver.kernels(type(self.operation), driver.current_device())
        kernels.start(self._launch, [*inputs, *outputs], stream)


class KernelPluginCreator(trt.IPluginCreatorV3One):
    """Makes the plugins of one operation, for the parser and for engines that are loaded."""

    def __init__(self, operation: type[Operation]) -> None:
        """Makes the creator of an operation."""
        trt.IPluginCreatorV3One.__init__(self)
        self.operation = operation
        self.name, self.plugin_version, self.plugin_namespace = operation.name, VERSION, NAMESPACE
        self._fields = trt.PluginFieldCollection(
            [trt.PluginField(name, np.array([]), _FIELD_TYPES[kind][0]) for name, kind in operation.fields.items()]
        )
        self.field_names = self._fields

    def create_plugin(self, name: str, field_collection: Any, phase: Any) -> KernelPlugin:
        """A plugin with the attributes of a node, or of a plugin that was saved in an engine."""
        values = {field.name: np.asarray(field.data) for field in field_collection}
        kinds = self.operation.fields
        return KernelPlugin(self.operation(**{name: _value(values[name], kind) for name, kind in kinds.items()}))


def _field(name: str, value: int | str) -> Any:
    """A plugin's field; TensorRT keeps the array alive with it."""
    kind, dtype = _FIELD_TYPES[type(value)]
    data = value.encode() if isinstance(value, str) else np.int32(value).tobytes()
    return trt.PluginField(name, np.frombuffer(data, dtype=dtype).copy(), kind)


def _value(data: np.ndarray, kind: type) -> int | str:
    """A field's value; text comes as bytes, with or without a zero at its end."""
    return data.tobytes().decode().rstrip("\0") if kind is str else int(data.ravel()[0])
