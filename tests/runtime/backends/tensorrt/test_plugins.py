"""Engines with plugins: the adapter, the plugins' registration and the plugin class on a stand-in for TensorRT."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import rsvl.plugins
from rsvl.runtime.backends.tensorrt import plugins
from rsvl.runtime.backends.tensorrt.profiles import Shape
from rsvl.runtime.backends.tensorrt.tensorrt_api import TensorRTApi
from rsvl.runtime.errors import EngineError, MissingComponentError
from tests.support import fake_tensorrt

PLUGIN, BODY = ["RotatedConv2d", "Relu"], ["Conv", "Add", "Relu"]
PROFILE: dict[str, tuple[Shape, Shape, Shape]] = {
    "x": ((1, 4, 9, 8), (1, 4, 9, 8), (2, 4, 9, 8)),
    "theta": ((1, 3), (1, 3), (2, 3)),
    "gate": ((1, 3), (1, 3), (2, 3)),
}


@pytest.fixture
def onnx(tmp_path: Path) -> Path:
    """A graph of a rotated convolution, which has a body, and a Relu."""
    return fake_tensorrt.write_rotated_conv(tmp_path / "head.onnx")


def layers(engine: bytes) -> list[str]:
    return [name for name, *_ in json.loads(engine)]


@pytest.mark.parametrize("version", ["10.7.0", "10.14.1.48", "10.15.1.29", "11.4.0.106"])
@pytest.mark.parametrize(("asked", "expected"), [(["RotatedConv2d"], PLUGIN), ([], BODY)], ids=["plugin", "body"])
def test_plugin_takes_its_nodes_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, onnx: Path, version: str, asked: list[str], expected: list[str]
) -> None:
    network = TensorRTApi(fake_tensorrt.install(monkeypatch, version)).build(onnx, PROFILE, plugins=asked)
    assert layers(network.engine) == expected and network.layers == len(expected)


def test_engine_keeps_the_nodes_attributes_for_a_process_that_loads_it(
    monkeypatch: pytest.MonkeyPatch, onnx: Path
) -> None:
    engine = TensorRTApi(fake_tensorrt.install(monkeypatch)).build(onnx, PROFILE, plugins=["RotatedConv2d"]).engine
    api = TensorRTApi(fake_tensorrt.install(monkeypatch))  # another process: nothing is registered
    with pytest.raises(EngineError, match="Cannot find plugin: RotatedConv2d"):
        api.load(engine)
    api.load_plugins(["RotatedConv2d"])
    (layer, _) = api.load(engine)._engine.layers
    assert layer.plugin.operation.attributes() == {"mode": "arc", "kernel_size": 3}


@pytest.mark.parametrize("version", ["10.3.0", "10.6.0"])
def test_tensorrt_that_prefers_the_bodies_is_refused_before_anything_is_registered(
    monkeypatch: pytest.MonkeyPatch, onnx: Path, version: str
) -> None:
    module = fake_tensorrt.install(monkeypatch, version)
    with pytest.raises(MissingComponentError, match=r"10\.7 or newer, or leave out --plugin") as caught:
        TensorRTApi(module).build(onnx, PROFILE, plugins=["RotatedConv2d"])
    assert "\n" not in str(caught.value) and not module.get_plugin_registry().creators


def test_plugin_that_no_package_has_is_named_with_those_that_there_are(
    monkeypatch: pytest.MonkeyPatch, onnx: Path
) -> None:
    with pytest.raises(MissingComponentError, match=r"no TensorRT plugin Conv .*LoRAMoE, RotatedConv2d"):
        TensorRTApi(fake_tensorrt.install(monkeypatch)).build(onnx, PROFILE, plugins=["Conv"])


def test_every_plugin_of_rsvl_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = fake_tensorrt.install(monkeypatch).get_plugin_registry()
    plugins.register_plugins(rsvl.plugins.OPERATIONS)
    assert {creator.name for creator in registry.all_creators} == set(rsvl.plugins.OPERATIONS)


registered: list[list[str]] = []


def register(names: Iterable[str]) -> None:
    registered.append(list(names))


def test_plugin_of_another_package_is_registered_by_that_package(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("Warp", f"{__name__}:register", plugins.GROUP)
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [entry] if group == plugins.GROUP else [])
    registered.clear()
    TensorRTApi(fake_tensorrt.install(monkeypatch)).load_plugins(["Warp"])
    assert registered == [["Warp"]]


def test_plugin_that_is_registered_already_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    module = fake_tensorrt.install(monkeypatch)
    TensorRTApi(module).load_plugins(["LoRAMoE"])
    monkeypatch.setattr(plugins.metadata, "entry_points", lambda group: [])  # as with rsvl's C++ library
    TensorRTApi(module).load_plugins(["LoRAMoE"])
    assert [creator.name for creator in module.get_plugin_registry().all_creators] == ["LoRAMoE"]
