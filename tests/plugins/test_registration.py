"""Registering the plugins, and the plugin class in the hands of a stand-in for TensorRT (fake_tensorrt.py)."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import rsvl.plugins
from rsvl.plugins import driver
from rsvl.plugins.operation import Launch
from rsvl.runtime.errors import MissingComponentError, RsvlError, UsageError
from tests.support import fake_tensorrt
from tests.support.fake_tensorrt import DataType, PluginTensorDesc, TensorFormat, execute, formats, parse_node, reload

FLOAT, HALF, BF16 = DataType.FLOAT, DataType.HALF, DataType.BF16
CONV = {"mode": "arc", "kernel_size": 3}


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> fake_tensorrt.IPluginRegistry:
    """The stand-in's registry, on a machine with a driver."""
    return fake_tensorrt.install(monkeypatch).get_plugin_registry()


class Recorded:
    """Kernels that say what they were asked."""

    def __init__(self) -> None:
        self.started: list[tuple[Launch, list[int], int]] = []
        self.prepared: list[Launch] = []

    def prepare(self, launch: Launch) -> None:
        self.prepared.append(launch)

    def start(self, launch: Launch, addresses: list[int], stream: int) -> None:
        self.started.append((launch, addresses, stream))


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    monkeypatch.setattr(driver, "kernels", lambda operation, device: made)
    monkeypatch.setattr(driver, "current_device", lambda: 0)
    return made


def test_register_registers_each_named_operation_once(registry: fake_tensorrt.IPluginRegistry) -> None:
    rsvl.plugins.register(["LoRAMoE"])
    assert [name for name, _, _ in registry.creators] == ["LoRAMoE"]
    rsvl.plugins.register()
    rsvl.plugins.register()
    assert sorted(registry.creators) == [
        (name, "1", "") for name in ("LoRAMoE", "PatchLoRAMoE", "RotatedConv2d", "SelectiveScan")
    ]


def test_plugin_of_another_library_is_named(registry: fake_tensorrt.IPluginRegistry) -> None:
    registry.creators["LoRAMoE", "1", ""] = object()
    with pytest.raises(RsvlError, match="another plugin LoRAMoE"):
        rsvl.plugins.register()


def test_unknown_plugin_is_named_with_those_that_there_are() -> None:
    with pytest.raises(
        UsageError, match="no TensorRT plugin 'Conv': there are LoRAMoE, PatchLoRAMoE, RotatedConv2d, SelectiveScan"
    ):
        rsvl.plugins.register(["Conv"])


@pytest.mark.parametrize(("name", "refused"), [("RotatedConv2d", True), ("LoRAMoE", False)])
def test_bindings_that_misread_attributes_are_refused_where_it_matters(
    monkeypatch: pytest.MonkeyPatch, name: str, refused: bool
) -> None:
    registry = fake_tensorrt.install(monkeypatch, "10.14.1.48", misread=True).get_plugin_registry()
    if not refused:
        rsvl.plugins.register([name])
        assert [creator.name for creator in registry.all_creators] == [name]
        return
    with pytest.raises(
        MissingComponentError, match=r"tensorrt 10\.14\.1\.48 misreads .* 10\.16 or newer, or 'numpy<2'"
    ):
        rsvl.plugins.register([name])
    assert not registry.creators


def without_plugins() -> types.ModuleType:
    """A module like TensorRT for RTX under TensorRT's name."""
    made = types.ModuleType("tensorrt_rtx")
    made.__version__ = "1.7.1"
    made.IPluginV3 = object
    made.INetworkDefinition = type("INetworkDefinition", (), {})
    return made


@pytest.mark.parametrize("installed", [None, without_plugins()], ids=["nothing", "TensorRT for RTX"])
def test_only_full_tensorrt_is_accepted(monkeypatch: pytest.MonkeyPatch, installed: Any) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", installed)  # None: importing it fails
    with pytest.raises(MissingComponentError, match="full TensorRT") as error:
        rsvl.plugins.register()
    assert error.value.exit_code == 3 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "attributes", "types", "supported"),
    [
        ("RotatedConv2d", CONV, [FLOAT] * 5, True),
        ("RotatedConv2d", CONV, [HALF] * 5, True),
        ("RotatedConv2d", CONV, [BF16, BF16, FLOAT, BF16, BF16], True),
        ("RotatedConv2d", CONV, [HALF, FLOAT, HALF, HALF, HALF], False),
        ("RotatedConv2d", CONV, [HALF, HALF, HALF, HALF, FLOAT], False),
        ("RotatedConv2d", CONV, [DataType.INT32] * 5, False),
        ("LoRAMoE", {}, [HALF, HALF, HALF, HALF, FLOAT, HALF], True),
        ("LoRAMoE", {}, [BF16] * 6, True),
        ("LoRAMoE", {}, [FLOAT, HALF, FLOAT, FLOAT, FLOAT, FLOAT], False),
        ("LoRAMoE", {}, [FLOAT] * 5, False),
        ("SelectiveScan", {}, [HALF, FLOAT, FLOAT, HALF, HALF, FLOAT, HALF], True),
        ("SelectiveScan", {}, [HALF, HALF, HALF, FLOAT, HALF, HALF, HALF], False),
    ],
)
def test_plugin_supports_what_its_kernel_takes(
    registry: fake_tensorrt.IPluginRegistry, name: str, attributes: dict[str, Any], types: list[Any], supported: bool
) -> None:
    rsvl.plugins.register()
    plugin = parse_node(registry, name, attributes)
    assert formats(plugin, types) == supported
    assert plugin.get_output_data_types(types) == types[:1]
    assert not formats(plugin, types, [TensorFormat.LINEAR] * (len(types) - 1) + [TensorFormat.CHW32])


@pytest.mark.parametrize(
    ("name", "attributes", "inputs", "output", "kernel"),
    [
        (
            "RotatedConv2d",
            CONV,
            [(2, 4, 9, 8), (3, 3, 3, 5, 4), (2, 3), (2, 3)],
            (2, 5, 9, 8),
            "rotated_conv2d_float16",
        ),
        ("LoRAMoE", {}, [(2, 9, 8, 4), (5, 4), (3, 2, 4), (3, 5, 2), (2, 1, 1, 3)], (2, 9, 8, 5), "lora_moe_float16"),
        (
            "PatchLoRAMoE",
            {"experts": 3, "merged": 0},
            [(6, 8, 2, 2), (3, 8, 4), (3, 4, 8), (6, 3)],
            (6, 8, 2, 2),
            "patch_lora_moe_float16",
        ),
        (
            "SelectiveScan",
            {},
            [(2, 5, 9), (2, 5, 9), (5, 16), (2, 16, 9), (2, 16, 9), (5,)],
            (2, 5, 9),
            "selective_scan_float16",
        ),
    ],
)
def test_saved_and_loaded_plugin_starts_the_kernel_on_the_stream(
    registry: fake_tensorrt.IPluginRegistry,
    kernels: Recorded,
    name: str,
    attributes: dict[str, Any],
    inputs: list[tuple[int, ...]],
    output: tuple[int, ...],
    kernel: str,
) -> None:
    rsvl.plugins.register()
    plugin = reload(registry, parse_node(registry, name, attributes))
    assert plugin.plugin_name == name and plugin.operation.attributes() == attributes
    (shape,) = plugin.get_output_shapes([fake_tensorrt.DimsExprs(shape) for shape in inputs], [], None)
    assert tuple(shape) == output
    described = [PluginTensorDesc(shape, HALF) for shape in inputs]
    addresses = list(range(1, len(inputs) + 2))
    execute(plugin, described, PluginTensorDesc(output, HALF), addresses, stream=99)
    ((launch, started_on, stream),) = kernels.started
    assert launch in kernels.prepared and launch.kernel == kernel
    assert (started_on, stream) == (addresses, 99)


def test_shapes_that_do_not_fit_fail_before_the_kernel_starts(
    registry: fake_tensorrt.IPluginRegistry, kernels: Recorded
) -> None:
    rsvl.plugins.register()
    plugin = parse_node(registry, "RotatedConv2d", CONV)
    shapes = [(2, 4, 9, 8), (3, 3, 3, 5, 6), (2, 3), (2, 3)]
    with pytest.raises(UsageError, match=r"taps \[n, 3, 3, Cout, Cin\].*taps \[3, 3, 3, 5, 6\]"):
        plugin.on_shape_change([PluginTensorDesc(shape, HALF) for shape in shapes], [])
    assert not kernels.prepared


@pytest.mark.parametrize("attributes", [{"mode": "cubic", "kernel_size": 3}, {"mode": "arc", "kernel_size": 5}])
def test_attributes_without_a_kernel_are_refused(
    registry: fake_tensorrt.IPluginRegistry, attributes: dict[str, Any]
) -> None:
    rsvl.plugins.register()
    with pytest.raises(UsageError, match="RotatedConv2d"):
        parse_node(registry, "RotatedConv2d", attributes)
