"""What is found in a stranger's graph before a library sees it; the graphs are written by onnx itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError
from rsvl.runtime.graph_file import check_graph_file
from rsvl.runtime.loading import load
from rsvl.runtime.manifest import Manifest
from tests.support.toy_bundle import toy_spec, write_manifest

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

LISTED = ("g.onnx", "g.onnx.data")
MEMORY = "*/_ORT_MEM_ADDR_/*"


def external(location: str) -> "onnx.TensorProto":
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def model(nodes: list, tensors: list, functions: list) -> "onnx.ModelProto":
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [4])
    graph = helper.make_graph(nodes, "g", [value], [value], tensors)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("rsvl", 1), helper.make_opsetid("other", 1)]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def function(domain: str, name: str, *nodes: "onnx.NodeProto") -> "onnx.FunctionProto":
    return helper.make_function(domain, name, ["x"], ["y"], list(nodes), [helper.make_opsetid("", 18)])


def node(op: str, domain: str = "", **attributes: object) -> "onnx.NodeProto":
    return helper.make_node(op, ["x"], ["y"], domain=domain, **attributes)


def in_attribute(location: str) -> "onnx.NodeProto":
    return helper.make_node("Constant", [], ["y"], value=external(location))


def in_branch(inner: "onnx.NodeProto") -> "onnx.NodeProto":
    branch = helper.make_graph([inner], "b", [], [])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


IDENTITY = node("Identity")
DOUBLED = function("rsvl", "F", IDENTITY, IDENTITY)
SOUND = {
    "no weights": model([IDENTITY], [], []),
    "weights beside it": model([IDENTITY], [external("g.onnx.data")], []),
    "weights in it": model([IDENTITY], [numpy_helper.from_array(np.ones(1000, np.float32), "w")], []),
    "own function": model([node("F", "rsvl")], [], [DOUBLED]),
}
UNSOUND = {
    "absolute": (model([IDENTITY], [external("/etc/hostname")], []), "outside of the bundle"),
    "climbing": (model([IDENTITY], [external("../secret.bin")], []), "outside of the bundle"),
    "an address": (model([IDENTITY], [external(MEMORY)], []), "outside of the bundle"),
    "not listed": (model([IDENTITY], [external("engines/x")], []), "manifest does not list"),
    "no place": (model([IDENTITY], [external("")], []), "manifest does not list"),
    "in an attribute": (model([in_attribute("../secret.bin")], [], []), "outside of the bundle"),
    "in a branch": (model([in_branch(in_attribute(MEMORY))], [], []), "outside of the bundle"),
    "in a function": (model([IDENTITY], [], [function("rsvl", "F", in_attribute(MEMORY))]), "outside of the bundle"),
    "foreign function": (model([IDENTITY], [], [function("other", "F", IDENTITY)]), "only rsvl's own"),
    "nested functions": (
        model([node("G", "rsvl")], [], [DOUBLED, function("rsvl", "G", node("F", "rsvl"))]),
        "calls functions",
    ),
    "swelling": (
        model([node("F", "rsvl")] * 1500, [], [function("rsvl", "F", *[IDENTITY] * 1000)]),
        "expand to 1500000 nodes",
    ),
    "loop": (model([in_branch(node("Loop"))], [], []), "may never end"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_graph_passes(tmp_path: Path, name: str) -> None:
    (tmp_path / "g.onnx").write_bytes(SOUND[name].SerializeToString())
    check_graph_file(tmp_path / "g.onnx", "g.onnx", LISTED)


@pytest.mark.parametrize("name", UNSOUND)
def test_unsound_graph_is_refused_by_what_is_wrong(tmp_path: Path, name: str) -> None:
    proto, reason = UNSOUND[name]
    (tmp_path / "g.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=reason):
        check_graph_file(tmp_path / "g.onnx", "g.onnx", LISTED)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"<?xml version='1.0'?>", lambda b: b[: len(b) // 2]])
def test_what_is_no_graph_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    (tmp_path / "g.onnx").write_bytes(damage(SOUND["weights in it"].SerializeToString()))
    with pytest.raises(ValueError, match=r"empty|not an ONNX file"):
        check_graph_file(tmp_path / "g.onnx", "g.onnx", LISTED)


def test_graph_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.onnx"):
        check_graph_file(tmp_path / "g.ort", "g.ort", ["g.ort"])


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_no_library_sees_an_unsound_graph(bundle: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    proto = onnx.load(bundle / "head.onnx")
    proto.graph.initializer.append(external(MEMORY))
    onnx.save(proto, bundle / "head.onnx")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    Bundle(bundle)
    with pytest.raises(BundleError, match="outside of the bundle"):
        load(bundle, provider, 1)
