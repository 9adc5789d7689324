"""A model repository gives the bundle's own outputs, by Triton's rules, and is written whole or not at all."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import BundleError, OutputError, UsageError
from rsvl.runtime.manifest import CLASSIFICATION, MATCHING, VQA, GraphSpec, GraphVariant, Manifest, TensorSpec
from rsvl.runtime.triton.configs import Instances, can_batch, check_expressible
from rsvl.runtime.triton.repository import write_repository
from tests.support.installed import needs
from tests.support.toy_bundle import (
    COLOUR,
    FUSED,
    IMAGE,
    LENGTH,
    MASK,
    PIXELS,
    SIZE,
    SPLIT,
    TOKENS,
    expected_logits,
    toy_spec,
    write_bundle,
    write_manifest,
)
from tests.support.toy_tasks import write_task_bundle
from tests.support.triton_server import infer, read_config

SENTENCES = TensorSpec("tokens", ("sentences", LENGTH), "int64")
SENTENCE_COLOURS = TensorSpec("colour", ("sentences", 3))
SENTENCE_MASKS = TensorSpec("mask_logits", ("sentences", 1, SIZE, SIZE))
MANY_SENTENCES = (
    SPLIT[0],
    GraphSpec("text", (SENTENCES,), (SENTENCE_COLOURS,), "text.onnx"),
    GraphSpec("head", (PIXELS, SENTENCE_COLOURS), (SENTENCE_MASKS,), "head.onnx"),
)
"""One mask per sentence of an image: no common batch."""


def golden(bundle: Path) -> dict[str, np.ndarray]:
    return dict(np.load(bundle / "golden/golden.npz"))


@pytest.mark.parametrize(("graphs", "models"), [(SPLIT, ["image", "text", "head"]), (FUSED, ["whole"])])
def test_ensemble_gives_the_golden_outputs(tmp_path: Path, graphs: tuple[GraphSpec, ...], models: list[str]) -> None:
    bundle, path = write_bundle(tmp_path / "toy.bundle", graphs), tmp_path / "models"
    written = write_repository(bundle, path)
    assert sorted(p.name for p in path.iterdir()) == sorted(["toy", *(f"toy-{name}" for name in models)])
    assert (written.ensemble, written.max_batch_size, written.warmed_up) == ("toy", 8, True)
    tensors = golden(bundle)
    expected = tensors.pop("mask_logits")
    np.testing.assert_allclose(infer(path, "toy", tensors)["mask_logits"], expected, atol=1e-4)


@pytest.mark.parametrize("task", [VQA, MATCHING, CLASSIFICATION, "doubling"])
def test_ensembles_of_every_task_give_what_the_graphs_give(tmp_path: Path, task: str) -> None:
    folder = write_task_bundle(tmp_path / "toy.bundle", task)
    written = write_repository(folder, tmp_path / "models", max_batch_size=3)
    assert not written.warmed_up  # without a golden test
    model, rng = Bundle(folder).manifest.model, np.random.default_rng(0)
    raw = {
        name: rng.integers(2, 5, (3, *t.shape[1:])) if t.dtype == "int64" else rng.random((3, *t.shape[1:]), np.float32)
        for name, t in model.raw_inputs.items()
    }
    tensors = dict(raw)
    for graph in model.graphs:
        session, names = onnxruntime.InferenceSession(folder / graph.file), [t.name for t in graph.outputs]
        tensors |= zip(names, session.run(names, {t.name: tensors[t.name] for t in graph.inputs}), strict=True)
    for name, found in infer(tmp_path / "models", "toy", raw).items():
        np.testing.assert_array_equal(found, tensors[name].reshape(found.shape))  # [batch, 1] of [batch]


def test_sentences_of_one_image_are_not_batched(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "toy.bundle", MANY_SENTENCES)
    written = write_repository(bundle, tmp_path / "models")
    assert written.max_batch_size == 0
    tensors = golden(bundle)
    found = infer(tmp_path / "models", "toy", {"image": tensors["image"][:1], "tokens": tensors["tokens"]})
    expected = expected_logits(tensors["image"][[0, 0]], np.array([(1, 0, 0), (0, 0, 1)]))
    np.testing.assert_allclose(found["mask_logits"], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("graphs", "batches"),
    [
        (SPLIT, True),
        (MANY_SENTENCES, False),
        ((GraphSpec("g", (TensorSpec("x", (1, 2)),), (TensorSpec("y", (1, 2)),)),), False),
        ((GraphSpec("g", (TensorSpec("x", ("n", 2)),), (TensorSpec("y", ("n", "n")),)),), False),
        ((GraphSpec("g", (TensorSpec("x", ("n", "m")),), (TensorSpec("y", ("n",)),)),), True),
    ],
)
def test_models_of_one_dynamic_first_dimension_are_batched(graphs: tuple[GraphSpec, ...], batches: bool) -> None:
    assert can_batch(toy_spec(graphs)) == batches


def test_weights_lie_beside_the_graph_and_variants_are_left_out(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "toy.bundle")
    standard = onnx.load(folder / "text.onnx")
    onnx.save(standard, folder / "text.fast.onnx")
    put_weights_beside(folder, "text.onnx", "text.onnx.data")
    manifest = Manifest.from_json((folder / "manifest.json").read_text())
    image, text, head = manifest.model.graphs
    text = replace(text, variants=(GraphVariant("onnxruntime", "text.fast.onnx"),))
    write_manifest(folder, replace(manifest, model=replace(manifest.model, graphs=(image, text, head))))
    path = write_repository(folder, tmp_path / "models").path
    # Triton's model_repository.md: an ONNX model of several files is a folder of its own.
    files = {p.relative_to(path / "toy-text").as_posix() for p in (path / "toy-text").rglob("*") if p.is_file()}
    assert {name for name in files if name.startswith("1/")} == {
        "1/model.onnx/model.onnx",
        "1/model.onnx/text.onnx.data",
    }
    assert (path / "toy-text/1/model.onnx/model.onnx").read_bytes() == (folder / "text.onnx").read_bytes()
    tensors = golden(folder)
    expected = tensors.pop("mask_logits")
    np.testing.assert_allclose(infer(path, "toy", tensors)["mask_logits"], expected, atol=1e-4)


def put_weights_beside(folder: Path, file: str, data: str) -> None:
    graph = onnx.load(folder / file)
    (folder / file).unlink()
    onnx.save(graph, folder / file, save_as_external_data=True, location=data, size_threshold=64)


def test_warmup_has_the_first_golden_sample(tmp_path: Path) -> None:
    bundle, path = write_bundle(tmp_path / "toy.bundle"), tmp_path / "models"
    write_repository(bundle, path)
    expected = golden(bundle)
    feeds = warmup(path / "toy-head")
    made = onnxruntime.InferenceSession(path / "toy-head/1/model.onnx").run(
        None, {k: v[None] for k, v in feeds.items()}
    )
    np.testing.assert_allclose(made[0], expected["mask_logits"][:1], atol=1e-4)
    np.testing.assert_array_equal(warmup(path / "toy-image")["image"], expected["image"][0])
    np.testing.assert_array_equal(warmup(path / "toy-text")["tokens"], expected["tokens"][0])


def warmup(model: Path) -> dict[str, np.ndarray]:
    (sample,) = read_config(model)["model_warmup"]
    assert sample["batch_size"] == [1]
    dtypes = {"TYPE_FP32": "<f4", "TYPE_INT64": "<i8"}
    found = {}
    for entry in sample["inputs"]:
        (given,) = entry["value"]
        data = (model / "warmup" / given["input_data_file"][0]).read_bytes()
        found[entry["key"][0]] = np.frombuffer(data, dtypes[given["data_type"][0]]).reshape(given["dims"])
    return found


@pytest.mark.parametrize(
    ("instances", "kind"), [(Instances(), ("KIND_CPU", 1)), (Instances(count=3, gpu=True), ("KIND_GPU", 3))]
)
def test_instances_are_as_asked(
    whole_bundle: Path, tmp_path: Path, instances: Instances, kind: tuple[str, int]
) -> None:
    path = write_repository(whole_bundle, tmp_path / "models", instances=instances).path
    for name in ("toy-image", "toy-text", "toy-head"):
        (group,) = read_config(path / name)["instance_group"]
        assert (group["kind"][0], group["count"][0]) == kind
    assert "instance_group" not in read_config(path / "toy")  # Triton refuses them in an ensemble


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """Triton's own messages, without the rest of its client, which needs gRPC."""
    pytest.importorskip("google.protobuf")
    spec = importlib.util.find_spec("tritonclient")
    assert spec is not None and spec.origin is not None
    file = Path(spec.origin).parent / "grpc/model_config_pb2.py"
    described = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert described is not None and described.loader is not None
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


@needs("tritonclient")
@pytest.mark.parametrize("graphs", [SPLIT, FUSED, MANY_SENTENCES])
def test_configurations_are_read_by_its_protobuf(
    published: ModuleType, tmp_path: Path, graphs: tuple[GraphSpec, ...]
) -> None:
    from google.protobuf import text_format

    bundle = write_bundle(tmp_path / "toy.bundle", graphs)
    path = write_repository(bundle, tmp_path / "models", max_batch_size=4).path
    read = {
        model.name: text_format.Parse((model / "config.pbtxt").read_text(), published.ModelConfig())
        for model in path.iterdir()
    }
    assert {name: config.name for name, config in read.items()} == {name: name for name in read}
    ensemble, most = read["toy"], 0 if graphs is MANY_SENTENCES else 4
    lead = [] if most else [-1]
    assert {config.max_batch_size for config in read.values()} == {most}
    assert [(t.name, t.data_type, list(t.dims)) for t in ensemble.input] == [
        ("image", published.TYPE_FP32, [*lead, 3, SIZE, SIZE]),
        ("tokens", published.TYPE_INT64, [*lead, LENGTH]),
    ]
    steps = [step.model_name for step in ensemble.ensemble_scheduling.step]
    assert steps == [f"toy-{graph.name}" for graph in graphs]
    for graph in graphs:
        (sample,) = read[f"toy-{graph.name}"].model_warmup
        assert set(sample.inputs) == {tensor.name for tensor in graph.inputs}
        assert sample.batch_size == 1  # Triton skips samples of 0, and adds the dimension only where it batches


@needs("tritonclient")
def test_one_value_per_sample_is_declared_with_a_reshape(published: ModuleType, tmp_path: Path) -> None:
    from google.protobuf import text_format

    path = write_repository(write_task_bundle(tmp_path / "toy.bundle", MATCHING), tmp_path / "models").path
    head, ensemble = (
        text_format.Parse((path / name / "config.pbtxt").read_text(), published.ModelConfig())
        for name in ("toy-head", "toy")
    )
    assert list(head.output[0].dims) == [1] and head.output[0].HasField("reshape")
    assert list(head.output[0].reshape.shape) == []
    assert list(ensemble.output[0].dims) == [1]


@pytest.mark.parametrize(
    ("graphs", "reason"),
    [
        ((GraphSpec("g", (TensorSpec("x", ("n", 2), "bfloat16"),), (MASK,)),), "x"),
        ((GraphSpec("g", (TensorSpec("x", ()),), (MASK,)),), "x is a scalar"),
        ((GraphSpec("a", (IMAGE,), (COLOUR,)), GraphSpec("b", (TOKENS,), (COLOUR,))), "2 graphs make colour"),
    ],
)
def test_what_triton_cannot_express_is_refused(graphs: tuple[GraphSpec, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        check_expressible(toy_spec(graphs))


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "a b", "ü"])
def test_names_that_are_no_folders_are_refused(whole_bundle: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        write_repository(whole_bundle, tmp_path / "models", name)
    assert not (tmp_path / "models").exists()


def test_graph_that_is_called_as_a_path_is_refused(bundle: Path, tmp_path: Path) -> None:
    manifest = Manifest.from_json((bundle / "manifest.json").read_text())
    graphs = (replace(manifest.model.graphs[0], name="../../up"), *manifest.model.graphs[1:])
    write_manifest(bundle, replace(manifest, model=replace(manifest.model, graphs=graphs)))
    with pytest.raises(UsageError, match="up"):
        write_repository(bundle, tmp_path / "models")


@pytest.mark.parametrize("numbers", [{"max_batch_size": 0}, {"instances": Instances(0)}])
def test_numbers_below_one_are_refused(whole_bundle: Path, tmp_path: Path, numbers: dict) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        write_repository(whole_bundle, tmp_path / "models", **numbers)


def test_repository_of_ours_is_replaced_as_a_whole(whole_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "models"
    write_repository(whole_bundle, path, "old")
    write_repository(whole_bundle, path, "new")
    assert sorted(p.name for p in path.iterdir()) == ["new", "new-head", "new-image", "new-text"]
    assert [p.name for p in tmp_path.iterdir()] == ["models"]


def foreign_file(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("mine")


def foreign_model(path: Path) -> None:
    (path / "resnet").mkdir(parents=True)
    (path / "resnet/config.pbtxt").write_text('name: "resnet"\n')


def a_file(path: Path) -> None:
    path.write_text("mine")


def a_link(path: Path) -> None:
    path.with_name("elsewhere").mkdir()
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("put", [foreign_file, foreign_model, a_file, a_link])
def test_what_others_wrote_is_not_replaced(whole_bundle: Path, tmp_path: Path, put: Callable[[Path], None]) -> None:
    put(tmp_path / "models")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OutputError, match="models"):
        write_repository(whole_bundle, tmp_path / "models")
    assert sorted(tmp_path.rglob("*")) == before


def test_empty_folder_is_taken(whole_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    assert write_repository(whole_bundle, tmp_path / "models").path == tmp_path / "models"


def test_failure_leaves_what_was_there(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "out/models"
    write_repository(bundle, path)
    before = sorted(path.rglob("*"))
    put_weights_beside(bundle, "text.onnx", "model.onnx")  # the name that Triton wants for the graph
    write_manifest(bundle, Manifest.from_json((bundle / "manifest.json").read_text()))
    with pytest.raises(UsageError, match=r"model\.onnx"):
        write_repository(bundle, path)
    assert sorted(path.rglob("*")) == before and [p.name for p in path.parent.iterdir()] == ["models"]


def test_damaged_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "head.onnx").write_bytes(b"")
    with pytest.raises(BundleError):
        write_repository(bundle, tmp_path / "models")
    assert not (tmp_path / "models").exists()
