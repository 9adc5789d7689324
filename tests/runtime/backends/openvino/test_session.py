"""A bundle's graphs by OpenVINO: the same answers, dynamic sizes, functions of the model, and what can be wrong."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rsvl.runtime.backends.openvino import OpenVinoSession
from rsvl.runtime.backends.openvino import session as backend
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import check
from rsvl.runtime.errors import BundleError, InputError, MissingComponentError, RsvlError
from rsvl.runtime.manifest import GraphSpec, Manifest, TensorSpec
from tests.support.toy_bundle import COLOURS, SIZE, SPLIT, expected_logits, toy_spec, write_bundle, write_manifest

IMAGES = np.random.default_rng(3).random((3, 3, SIZE, SIZE), np.float32)
TOKENS = np.array([[7, word, 8, 0, 0, 0, 0, 0] for word in (2, 3, 4)])
EXPECTED = expected_logits(IMAGES, np.array([COLOURS[colour] for colour in ("red", "green", "blue")]))
GRAPHS = ["image", "text", "head"]


@pytest.fixture(scope="module")
def session(whole_bundle: Path) -> Session:
    pytest.importorskip("openvino")
    return Session(Bundle(whole_bundle), "openvino", threads=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_openvino_computes_what_the_graphs_say(session: Session, batch: int) -> None:
    outputs = session.run({"image": IMAGES[:batch], "tokens": TOKENS[:batch]}, GRAPHS)
    assert set(outputs) == {"pixels", "colour", "mask_logits"}
    np.testing.assert_allclose(to_numpy(outputs["mask_logits"]), EXPECTED[:batch], atol=1e-4)
    assert (session.provider, session.precision) == ("openvino", "fp32")


def test_runs_of_several_threads_do_not_mix(session: Session) -> None:
    def ask(i: int) -> np.ndarray:
        raw = {"image": IMAGES[i : i + 1], "tokens": TOKENS[i : i + 1]}
        return to_numpy(session.run(raw, GRAPHS)["mask_logits"])

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(ask, [0, 1, 2] * 8))
    np.testing.assert_allclose(np.concatenate(answers), np.concatenate([EXPECTED] * 8), atol=1e-4)


def test_thread_count_reaches_every_graph(session: Session) -> None:
    assert isinstance(session._backend, OpenVinoSession)
    parts = [part for graph in session._backend._graphs.values() for part in graph._parts]
    compiled = [part._request.get_compiled_model() for part in parts]
    assert [model.get_property("INFERENCE_NUM_THREADS") for model in compiled] == [1, 1, 1]


@pytest.fixture
def bfloat16() -> None:
    """Leaves out a test where the CPU has none."""
    openvino = pytest.importorskip("openvino")
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16")


def test_bfloat16_is_held_to_its_own_limits(bfloat16: None, whole_bundle: Path) -> None:
    report = check(whole_bundle, "openvino-bf16", threads=1)
    assert report.passed
    assert (report.provider, report.precision, report.measures[0].limit) == ("openvino-bf16", "bf16", 0.98)


def test_cpu_without_bfloat16_is_refused_at_once(whole_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    core = SimpleNamespace(get_property=lambda device, name: ["FP32", "INT8"])
    monkeypatch.setattr(backend, "_core", lambda: core)
    with pytest.raises(MissingComponentError, match=r"no bfloat16.*--provider openvino$"):
        Session(Bundle(whole_bundle), "openvino-bf16")


def test_openvino_that_is_missing_is_named_with_its_extra(whole_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingComponentError, match=r"pip install 'rsvl\[openvino\]'"):
        Session(Bundle(whole_bundle), "OpenVINO")


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        ({"image": IMAGES.astype(np.float64)}, InputError, "image is float64: the graph takes float32"),
        ({"image": IMAGES[:, :2]}, RsvlError, "--provider cpu"),
    ],
)
def test_input_that_does_not_fit_is_one_line_that_names_the_graph(
    session: Session, raw: dict[str, np.ndarray], error: type[RsvlError], message: str
) -> None:
    with pytest.raises(error, match=f"graph image failed on openvino: .*{message}") as caught:
        session.run(raw, ["image"])
    assert "\n" not in str(caught.value)


def test_inputs_of_unequal_number_are_refused(session: Session) -> None:
    with pytest.raises(InputError, match="colour has 2 samples and not 3"):
        session.run({"pixels": IMAGES, "colour": np.zeros((2, 3), np.float32)}, ["head"])


def test_graph_that_is_no_onnx_is_a_bundle_error(bundle: Path) -> None:
    pytest.importorskip("openvino")
    (bundle / "head.onnx").write_bytes(b"no protobuf")
    write_manifest(bundle, Manifest(toy_spec(), "fp32"))
    with pytest.raises(BundleError, match=r"head\.onnx cannot be used, it is not an ONNX file") as caught:
        Session(Bundle(bundle), "openvino")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "lying",
    [
        replace(SPLIT[1], outputs=(TensorSpec("hue", ("batch", 3)),)),
        replace(SPLIT[1], inputs=(TensorSpec("words", ("batch", 8), "int64"),)),
    ],
    ids=["output", "input"],
)
def test_graph_whose_tensors_are_not_the_manifests_is_refused(bundle: Path, lying: GraphSpec) -> None:
    pytest.importorskip("openvino")
    spec = toy_spec()
    write_manifest(bundle, Manifest(replace(spec, graphs=(spec.graphs[0], lying, spec.graphs[2])), "fp32"))
    with pytest.raises(BundleError, match=r"text\.onnx (gives|takes)"):
        Session(Bundle(bundle), "openvino")


#: A graph of one node whose body is a function of the model, y = x · weight, with more than one dynamic size.
LINEAR = GraphSpec(
    "linear", (TensorSpec("x", ("batch", "rows", 512)),), (TensorSpec("y", ("batch", "rows", 600)),), "linear.onnx"
)
WEIGHT = np.random.default_rng(0).standard_normal((512, 600)).astype(np.float32)


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """A bundle of that graph."""
    x, y = (
        helper.make_tensor_value_info(tensor.name, onnx.TensorProto.FLOAT, tensor.shape)
        for tensor in (*LINEAR.inputs, *LINEAR.outputs)
    )
    node = helper.make_node("Linear", ["x", "w"], ["y"], domain="rsvl")
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("rsvl", 1)]
    body = [helper.make_node("MatMul", ["a", "b"], ["c"])]
    function = helper.make_function("rsvl", "Linear", ["a", "b"], ["c"], body, opsets[:1])
    graph = helper.make_graph([node], "linear", [x], [y], [numpy_helper.from_array(WEIGHT, "w")])
    folder = write_bundle(tmp_path / "linear.bundle")
    onnx.save(
        helper.make_model(graph, functions=[function], opset_imports=opsets, ir_version=8), folder / "linear.onnx"
    )
    write_manifest(folder, Manifest(replace(toy_spec(), task="own", images=(), text=None, graphs=(LINEAR,)), "fp32"))
    return folder


def test_functions_and_several_dynamic_sizes_are_taken(linear: Path) -> None:
    pytest.importorskip("openvino")
    session = Session(Bundle(linear), "openvino", threads=1)
    for shape in ((1, 2, 512), (3, 1, 512)):
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        y = session.run({"x": x}, ["linear"])["y"]
        np.testing.assert_allclose(y, x.astype(np.float64) @ WEIGHT, atol=1e-3)


def test_last_product_of_an_answer_stays_float32_beside_bfloat16(bfloat16: None, linear: Path) -> None:
    session = Session(Bundle(linear), "openvino-bf16", threads=1)
    x = np.random.default_rng(1).standard_normal((1, 2, 512)).astype(np.float32)
    y = session.run({"x": x}, ["linear"])["y"]
    np.testing.assert_allclose(y, x.astype(np.float64) @ WEIGHT, atol=1e-3)  # bfloat16 would be a tenth off


@pytest.fixture
def beside(linear: Path) -> Path:
    """The same bundle with its weight beside the graph."""
    model = onnx.load(linear / "linear.onnx")
    onnx.external_data_helper.convert_model_to_external_data(model, location="linear.onnx.data", size_threshold=0)
    onnx.save(model, linear / "linear.onnx")
    assert (linear / "linear.onnx.data").stat().st_size >= WEIGHT.nbytes
    _list(linear)
    return linear


def _list(folder: Path) -> None:
    write_manifest(folder, Manifest.from_json((folder / "manifest.json").read_text()))


def test_weights_beside_the_graph_are_taken_from_their_file(beside: Path) -> None:
    pytest.importorskip("openvino")
    session = Session(Bundle(beside), "openvino", threads=1)
    x = np.random.default_rng(1).standard_normal((2, 3, 512)).astype(np.float32)
    np.testing.assert_allclose(session.run({"x": x}, ["linear"])["y"], x.astype(np.float64) @ WEIGHT, atol=1e-3)


def test_weights_that_are_cut_short_are_a_bundle_error(beside: Path) -> None:
    pytest.importorskip("openvino")
    data = beside / "linear.onnx.data"
    data.write_bytes(data.read_bytes()[:-4])
    _list(beside)
    with pytest.raises(BundleError, match=r"OpenVINO cannot take linear\.onnx") as caught:
        Session(Bundle(beside), "openvino")
    assert "\n" not in str(caught.value)
