"""The names of TensorRT's Python bindings that rsvl uses, and those that the stand-in has, are the bindings' own."""

from __future__ import annotations

import ast
import inspect
from enum import EnumMeta
from importlib import import_module
from pathlib import Path

import pytest

from rsvl.plugins import registration
from rsvl.runtime.backends.tensorrt import tensorrt_api, trt_errors
from tests.support import fake_tensorrt
from tests.support.tensorrt_bindings import CLASSES, ENUMS, FUNCTIONS, PROPERTY, SINCE, members

#: What is of TensorRT for RTX alone, and asked for only there.
RTX_ONLY = {"ComputeCapability", "CudaGraphStrategy", "EngineValidity", "EngineInvalidityDiagnostics"}

#: What TensorRT for RTX lacks: it runs no plugins of the user's.
FULL_ONLY = {"INetworkDefinition": {"add_plugin_v3"}}

#: The modules that speak with TensorRT; the plugin class is read and not imported, as it imports tensorrt.
FILES = [
    Path(tensorrt_api.__file__),
    Path(trt_errors.__file__),
    Path(registration.__file__),
    Path(registration.__file__).with_name("tensorrt_plugin.py"),
]


def used(file: Path) -> set[str]:
    """Names behind `trt.` and `self._trt.`, as ``Name`` or ``Name.MEMBER``."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
    chains = [ast.unparse(node).removeprefix("self._") for node in nodes]
    return {chain.removeprefix("trt.") for chain in chains if chain.startswith("trt.") and "(" not in chain}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_names_that_are_used_are_the_bindings_own(file: Path) -> None:
    names = used(file) - {"__name__"}
    known = CLASSES.keys() | ENUMS.keys() | FUNCTIONS | RTX_ONLY
    wrong = [name for name in names if name.partition(".")[0] not in known]
    enums = [name.split(".")[:2] for name in names if name.partition(".")[0] in ENUMS and "." in name]
    assert names and not wrong and [name for name, member in enums if member not in ENUMS[name]] == []


STAND_IN = [name for name in CLASSES if hasattr(fake_tensorrt, name)]


@pytest.mark.parametrize("name", STAND_IN)
def test_stand_in_has_the_names_and_parameters_of_the_bindings(name: str) -> None:
    for member, value in vars(getattr(fake_tensorrt, name)).items():
        public = member in CLASSES[name] or not member.startswith("_")
        if public and inspect.isfunction(value):
            parameters = " ".join(list(inspect.signature(value).parameters)[1:])
            assert CLASSES[name].get(member) == parameters, member
        elif public and isinstance(value, property):
            assert CLASSES[name].get(member) == PROPERTY, member


def test_stand_in_has_the_members_of_the_bindings_enumerations() -> None:
    module = fake_tensorrt.module(fake_tensorrt.IPluginRegistry())
    found = {
        name: set(getattr(module, name).__members__) for name in ENUMS if isinstance(vars(module).get(name), EnumMeta)
    }
    assert len(found) > 5 and all(words <= ENUMS[name] for name, words in found.items())


def test_plugin_overrides_methods_with_as_many_parameters_as_tensorrt_passes() -> None:
    passed = {"get_capability_interface": 1}  # its parameter's name has changed between releases
    for kind in ("IPluginV3", "IPluginV3OneBuild", "IPluginV3OneRuntime", "IPluginCreatorV3One"):
        passed |= {name: len(words.split()) for name, words in CLASSES[kind].items()}
    methods = [node for node in ast.walk(ast.parse(FILES[-1].read_text())) if isinstance(node, ast.FunctionDef)]
    overrides = {node.name: len(node.args.args) - 1 for node in methods if not node.name.startswith("_")}
    assert overrides == {name: passed.get(name) for name in overrides} and len(overrides) > 10


@pytest.mark.parametrize(("version", "has_it"), [("10.14.1.48", False), ("10.15.1.29", True)])
def test_stand_in_has_the_flag_since_the_release_that_the_bindings_have_it(version: str, has_it: bool) -> None:
    module = fake_tensorrt.module(fake_tensorrt.IPluginRegistry(), version)
    (flag,) = SINCE
    assert hasattr(module.OnnxParserFlag, flag.partition(".")[2]) == has_it == (module.release >= SINCE[flag])


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx"])
def test_facts_are_those_of_the_installed_bindings(name: str) -> None:
    pytest.importorskip(name, reason=f"{name} is not installed")
    module = import_module(name)
    for kind, facts in CLASSES.items():
        found = members(getattr(module, kind))
        wanted = facts.keys() - (FULL_ONLY.get(kind, set()) if name == "tensorrt_rtx" else set())
        assert {member for member in wanted if facts[member] not in found.get(member, ())} == set(), kind
    lacking = {
        f"{kind}.{word}" for kind, words in ENUMS.items() for word in words if not hasattr(getattr(module, kind), word)
    }
    assert lacking <= SINCE.keys()
