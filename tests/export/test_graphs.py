"""What an exported graph looks like, and that TensorRT builds it."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from rsvl.export import Exported, graph_files
from rsvl.export.graphs import OPSET, quiet_exporter, write_graph
from rsvl.export.precision import in_precision
from rsvl.models.cd2fsan import CD2FSAN, TINY
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import Bundle
from tests.support.tensorrt_graphs import check_that_tensorrt_builds
from tests.support.toy_segmenter import LAYERS, ToySegmenter

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16

# cd2fsan-tiny with fewer layers of each kind, and few pixels: what takes time to export is the number of operations.
WIDTH, _, HEADS = TINY.vision
SMALL = replace(
    TINY,
    image_size=64,
    vision=(WIDTH, 3, HEADS),
    candidates=(1, 3),
    text=(TINY.text[0], 1, TINY.text[2]),
    maam_layers=1,
)


def graph_of(exported: Exported, name: str) -> onnx.ModelProto:
    return onnx.load(exported.path / f"{name}.onnx")


@pytest.mark.parametrize("name", ["image", "text", "head"])
def test_graph_has_the_declared_names_types_and_dynamic_batch(exported: Exported, name: str) -> None:
    model = graph_of(exported, name)
    (spec,) = (graph for graph in exported.manifest.model.graphs if graph.name == name)
    for values, tensors in ((model.graph.input, spec.inputs), (model.graph.output, spec.outputs)):
        assert [value.name for value in values] == [tensor.name for tensor in tensors]
        for value, tensor in zip(values, tensors, strict=True):
            dims = value.type.tensor_type.shape.dim
            assert tuple(d.dim_param or d.dim_value for d in dims) == tensor.shape
            assert onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type) == tensor.dtype


def test_custom_operation_is_one_node_with_a_body(exported: Exported) -> None:
    model = graph_of(exported, "head")
    assert [node.op_type for node in model.graph.node if node.domain == "rsvl"] == ["RotatedConv2d"]
    assert [(function.domain, function.name) for function in model.functions] == [("rsvl", "RotatedConv2d")]
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": OPSET, "rsvl": 1}


@pytest.mark.parametrize(("name", "count"), [("image", LAYERS), ("head", 1)])
def test_gelu_is_one_node(exported: Exported, name: str, count: int) -> None:
    operations = [node.op_type for node in graph_of(exported, name).graph.node]
    assert operations.count("Gelu") == count and "Erf" not in operations


@pytest.mark.parametrize("name", ["image", "text", "head"])
def test_graph_tells_nothing_of_the_machine_that_made_it(exported: Exported, name: str) -> None:
    assert str(Path(__file__).parent).encode() not in (exported.path / f"{name}.onnx").read_bytes()


def test_fp16_holds_half_weights_but_for_what_is_kept_and_fp32_none(exported: Exported) -> None:
    floats = {FLOAT: set[str](), FLOAT16: set[str]()}
    for name in ("image", "text", "head"):
        for weight in graph_of(exported, name).graph.initializer:
            if weight.data_type in floats and len(weight.dims) > 0:
                floats[weight.data_type].add(weight.name.split("model.")[-1])
    assert {"norm.weight", "norm.bias", "route.bias"} <= floats[FLOAT]
    if exported.manifest.precision == "fp32":
        assert not floats[FLOAT16]
        return
    assert {"patch.weight", "blocks.0.weight", "embed.weight", "out.weight"} <= floats[FLOAT16]
    assert not {name for name in floats[FLOAT16] if name.startswith(("norm", "route"))}


def test_two_sentences_of_one_batch_choose_different_layers(exported: Exported, samples) -> None:
    torch.manual_seed(0)
    toy = ToySegmenter().eval()
    with torch.no_grad():
        chosen = toy.chosen(*toy.encode_text(torch.from_numpy(samples["tokens"]))).numpy()
    first, second = next((0, i) for i in range(8) if set(chosen[i]) != set(chosen[0]))
    session = Session(Bundle(exported.path), "cpu")
    text = session.run({"tokens": samples["tokens"][[first, second]]}, ["text"])["sentence"]
    rng = np.random.default_rng(0)
    layers = rng.normal(size=(2, LAYERS, 16, 16, 16)).astype(np.float32)

    def head(layers: np.ndarray) -> np.ndarray:
        return to_numpy(session.run({"layers": layers, "sentence": text}, ["head"])["mask_logits"])

    before = head(layers)
    for row, sentence in enumerate((first, second)):
        for layer in range(LAYERS):
            changed = layers.copy()
            changed[row, layer] += 1
            changes = np.abs(head(changed) - before).max(axis=(1, 2, 3)) > 0.01
            assert changes.tolist() == [row == r and layer in chosen[sentence] for r in (0, 1)]


def test_weights_over_the_limit_are_a_file_beside_the_graph(tmp_path: Path, monkeypatch, toy: ToySegmenter) -> None:
    spec = toy.spec.graphs[1]
    monkeypatch.setattr(graph_files, "BESIDE_BYTES", 100)
    write_graph(toy.graph("text"), spec, tmp_path / "text.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"text.onnx", "text.onnx.data"}
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx", providers=["CPUExecutionProvider"])
    tokens = np.array([[5, 9, 299] + [0] * 9] * 3)
    expected = toy.encode_text(torch.from_numpy(tokens))[0].detach().numpy()
    np.testing.assert_allclose(session.run(None, {"tokens": tokens})[0], expected, atol=1e-5)


@pytest.fixture(scope="module")
def cd2fsan() -> CD2FSAN:
    """A small CD2FSAN with seeded weights."""
    torch.manual_seed(0)
    return CD2FSAN("small", SMALL).eval()


@pytest.fixture(scope="module")
def cd2fsan_graphs(cd2fsan: CD2FSAN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its graphs in fp16, the precision with types to get wrong."""
    folder = tmp_path_factory.mktemp("cd2fsan")
    for graph in cd2fsan.spec.graphs:
        module = in_precision(cd2fsan.graph(graph.name), cd2fsan, "fp16", cd2fsan.keep_fp32)
        write_graph(module, graph, folder / f"{graph.name}.onnx")
    return folder


def test_cd2fsan_sentences_of_one_batch_choose_different_layers(cd2fsan: CD2FSAN, cd2fsan_graphs: Path) -> None:
    torch.manual_seed(1)
    head = cd2fsan.spec.graphs[2]
    features = {tensor.name: torch.randn(64, *tensor.shape[1:]) for tensor in head.inputs}
    with torch.no_grad():
        scores = cd2fsan.dfsm.scores(features["globals"], features["sentence"]).sort(dim=1, descending=True)
    clear = (scores.values[:, 1] - scores.values[:, 2]).argsort(descending=True).tolist()  # no near ties
    chosen = {row: frozenset(scores.indices[row, :2].tolist()) for row in clear}
    second = next(row for row in clear if chosen[row] != chosen[clear[0]])
    rows = [clear[0], second]
    feeds = {name: values[rows].numpy() for name, values in features.items()}
    session = onnxruntime.InferenceSession(cd2fsan_graphs / "head.onnx", providers=["CPUExecutionProvider"])
    before = session.run(None, feeds)[0]
    for row, sentence in enumerate(rows):
        for layer in range(SMALL.layers):
            layers = feeds["layers"].copy()
            layers[row, layer] += 1
            changed = np.any(session.run(None, {**feeds, "layers": layers})[0] != before, axis=(1, 2, 3))
            assert changed.tolist() == [row == r and layer in chosen[sentence] for r in (0, 1)]


def test_cd2fsan_chooses_layers_by_topk_and_gather(cd2fsan_graphs: Path) -> None:
    operations = [node.op_type for node in onnx.load(cd2fsan_graphs / "head.onnx").graph.node]
    assert "Gather" in operations[operations.index("TopK") :]


def test_tensorrt_builds_the_toy(exported: Exported) -> None:
    check_that_tensorrt_builds(exported.path, exported.manifest.model.graphs)


def test_tensorrt_builds_cd2fsan(cd2fsan: CD2FSAN, cd2fsan_graphs: Path) -> None:
    check_that_tensorrt_builds(cd2fsan_graphs, cd2fsan.spec.graphs)


def test_exporter_is_quiet_while_it_works_and_only_then(caplog: pytest.LogCaptureFixture) -> None:
    loggers = [logging.getLogger(name) for name in ("torch.onnx.exporter", "onnxscript.optimizer._constant_folding")]
    with quiet_exporter():
        for logger in loggers:
            logger.warning("could not fold")
    assert not caplog.records
    for logger in loggers:
        logger.warning("could not fold")
    assert len(caplog.records) == 2
