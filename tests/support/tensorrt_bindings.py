"""Names and parameters of full TensorRT's Python bindings, as data: what rsvl and the stand-in may use of them.

Facts, read from the docstrings of the bindings themselves by `members`: those of PyPI's wheels tensorrt-cu12-bindings
10.3.0, 10.7.0, 10.14.1.48.post1, 10.15.1.29, 10.16.1.11 and 11.4.0.106, imported beside empty shared libraries under
the names of TensorRT's. What stands here is the same in all six, but for `SINCE`.
"""

from __future__ import annotations

import inspect
import re

#: Classes; of each method its parameters, of a property `PROPERTY`.
PROPERTY = "property"
CLASSES = {
    "Builder": {
        "__init__": "logger",
        "create_network": "flags",
        "create_builder_config": "",
        "create_optimization_profile": "",
        "build_serialized_network": "network config",
    },
    "OnnxParser": {
        "__init__": "network logger",
        "parse_from_file": "model",
        "num_errors": PROPERTY,
        "get_error": "index",
        "set_flag": "flag",
    },
    "ParserError": {"desc": ""},
    "IBuilderConfig": {
        "clear_flag": "flag",
        "set_memory_pool_limit": "pool pool_size",
        "add_optimization_profile": "profile",
        "create_timing_cache": "serialized_timing_cache",
        "set_timing_cache": "cache ignore_mismatch",
        "progress_monitor": PROPERTY,
    },
    "IOptimizationProfile": {"set_shape": "input min opt max"},
    "ITimingCache": {"serialize": ""},
    "INetworkDefinition": {"num_layers": PROPERTY, "add_plugin_v3": "inputs shape_inputs plugin"},
    "Runtime": {"__init__": "logger", "deserialize_cuda_engine": "serialized_engine"},
    "ICudaEngine": {
        "num_io_tensors": PROPERTY,
        "get_tensor_name": "index",
        "get_tensor_mode": "name",
        "get_tensor_shape": "name",
        "get_tensor_dtype": "name",
        "get_tensor_profile_shape": "name profile_index",
        "create_execution_context": "strategy",
    },
    "IExecutionContext": {
        "set_input_shape": "name shape",
        "set_tensor_address": "name memory",
        "get_tensor_shape": "name",
        "execute_async_v3": "stream_handle",
    },
    "IPluginRegistry": {"all_creators": PROPERTY, "register_creator": "creator plugin_namespace"},
    "IProgressMonitor": {
        "__init__": "",
        "phase_start": "phase_name parent_phase num_steps",
        "step_complete": "phase_name step",
        "phase_finish": "phase_name",
    },
    "ILogger": {"__init__": "", "log": "severity msg"},
    "PluginField": {"__init__": "name data type", "name": PROPERTY, "data": PROPERTY, "type": PROPERTY},
    "PluginFieldCollection": {"__init__": "arg0"},
    "DimsExprs": {"__init__": "arg0"},
    "PluginTensorDesc": {"dims": PROPERTY, "type": PROPERTY, "format": PROPERTY},
    "DynamicPluginTensorDesc": {"desc": PROPERTY},
    "IPluginV3": {"clone": ""},
    "IPluginV3OneCore": {"plugin_name": PROPERTY, "plugin_version": PROPERTY, "plugin_namespace": PROPERTY},
    "IPluginV3OneBuild": {
        "num_outputs": PROPERTY,
        "timing_cache_id": PROPERTY,
        "configure_plugin": "in out",
        "get_output_data_types": "input_types",
        "get_output_shapes": "inputs shape_inputs expr_builder",
        "supports_format_combination": "pos in_out num_inputs",
    },
    "IPluginV3OneRuntime": {
        "set_tactic": "tactic",
        "on_shape_change": "in out",
        "enqueue": "input_desc output_desc inputs outputs workspace stream",
        "attach_to_context": "resource_context",
        "get_fields_to_serialize": "",
    },
    "IPluginCreatorV3One": {
        "__init__": "",
        "name": PROPERTY,
        "plugin_version": PROPERTY,
        "plugin_namespace": PROPERTY,
        "field_names": PROPERTY,
        "create_plugin": "name field_collection phase",
    },
}

#: Enumerations and those of their members that are of use here.
ENUMS = {
    "OnnxParserFlag": {"NATIVE_INSTANCENORM", "ENABLE_PLUGIN_OVERRIDE"},
    "NetworkDefinitionCreationFlag": {"STRONGLY_TYPED"},
    "BuilderFlag": {"TF32"},
    "MemoryPoolType": {"WORKSPACE"},
    "TensorIOMode": {"INPUT", "OUTPUT"},
    "DataType": {"FLOAT", "HALF", "BF16", "INT32"},
    "TensorFormat": {"LINEAR", "CHW32"},
    "PluginFieldType": {"INT32", "CHAR", "FLOAT32"},
    "TensorRTPhase": {"BUILD", "RUNTIME"},
}

#: Functions and strings of the module.
FUNCTIONS = {"__version__", "get_plugin_registry", "nptype"}

#: The first release that has a member.
SINCE = {"OnnxParserFlag.ENABLE_PLUGIN_OVERRIDE": (10, 15)}


def members(kind: type) -> dict[str, set[str]]:
    """A class of the bindings as `CLASSES` has it, with the parameters of each overload of a method."""
    return {name: _overloads(kind, name) for name in dir(kind)}


def _overloads(kind: type, name: str) -> set[str]:
    if isinstance(inspect.getattr_static(kind, name), property):
        return {PROPERTY}
    lines = (getattr(kind, name).__doc__ or "").splitlines()
    signatures = [found[1] for line in lines if (found := re.match(r"(?:\d+\. )?\w+\((self: .*)\) ->", line))]
    return {_parameters(signature) for signature in signatures}


def _parameters(signature: str) -> str:
    """The names in a signature, without types, defaults and ``self``."""
    while (plain := re.sub(r"\[[^\[\]]*\]|<[^<>]*>", "", signature)) != signature:
        signature = plain  # types hold commas inside of brackets
    return " ".join(part.partition(":")[0].strip() for part in signature.split(",")[1:])
