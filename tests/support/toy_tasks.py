"""Toy bundles of the other tasks, made without the export room; each says its answer in a line of arithmetic.

Images are 8×8 in colour. The grounder's regions are the image's four quarters with their mean colours as embeddings;
the answerer's answer is the channel named by the question, where an image is present; the matcher compares mean colours
with colours; the classifier's logits are `SCALE` times the mean colour; the plain module doubles a number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rsvl.runtime.manifest import (
    CLASSIFICATION,
    GROUNDING,
    MATCHING,
    VQA,
    GraphSpec,
    ImageSpec,
    Manifest,
    ModelSpec,
    TensorSpec,
    TextSpec,
)
from tests.support.toy_bundle import COLOURS, LENGTH, WORDS, tokenizer_json, write_manifest

SIDE = 8
QUARTERS = np.array([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]], np.float32)
SCALE = 20.0

Node = tuple[str, list[str], list[str], dict]


def tensor(name: str, *shape: int | str, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name, ("batch", *shape), dtype)


def image(name: str = "image", sensors: tuple[str, ...] = ("optical",), channels: int = 3) -> ImageSpec:
    return ImageSpec(SIDE, (0.0,) * channels, (1.0,) * channels, channels, "bilinear", name, sensors)


PICTURE, TOKENS = tensor("image", 3, SIDE, SIDE), tensor("tokens", LENGTH, dtype="int64")
COLOUR_OF_TEXT: list[Node] = [
    ("Gather", ["embedding", "tokens"], ["words"], {}),
    ("ReduceSum", ["words", "one"], ["said"], {"keepdims": 0}),
]
UNIT: list[Node] = [("LpNormalization", ["said"], ["sentence"], {"axis": -1, "p": 2})]

GROUNDER: dict[str, tuple[GraphSpec, list[Node]]] = {
    "image": (
        GraphSpec("image", (PICTURE,), (tensor("regions", 4, 3), tensor("boxes", 4, 4)), "image.onnx"),
        [
            ("AveragePool", ["image"], ["means"], {"kernel_shape": [4, 4], "strides": [4, 4]}),
            ("Reshape", ["means", "flat"], ["quarters"], {}),
            ("Transpose", ["quarters"], ["colours"], {"perm": [0, 2, 1]}),
            ("LpNormalization", ["colours"], ["regions"], {"axis": -1, "p": 2}),
            ("ReduceSum", ["regions", "two"], ["any"], {"keepdims": 1}),
            ("Mul", ["any", "zero"], ["nothing"], {}),
            ("Add", ["nothing", "corners"], ["boxes"], {}),
        ],
    ),
    "text": (GraphSpec("text", (TOKENS,), (tensor("sentence", 3),), "text.onnx"), [*COLOUR_OF_TEXT, *UNIT]),
    "head": (
        GraphSpec(
            "head",
            (tensor("regions", 4, 3), tensor("boxes", 4, 4), tensor("sentence", 3)),
            (tensor("scores", 4), tensor("found_boxes", 4, 4)),
            "head.onnx",
        ),
        [
            ("Unsqueeze", ["sentence", "two"], ["column"], {}),
            ("MatMul", ["regions", "column"], ["cosine"], {}),
            ("Squeeze", ["cosine", "two"], ["similarity"], {}),
            ("Sub", ["similarity", "half"], ["above"], {}),
            ("Mul", ["above", "scale"], ["scores"], {}),
            ("Identity", ["boxes"], ["found_boxes"], {}),
        ],
    ),
}
ANSWERER: dict[str, tuple[GraphSpec, list[Node]]] = {
    "optical": (
        GraphSpec("optical", (tensor("optical", 3, SIDE, SIDE),), (tensor("colour", 3),), "optical.onnx"),
        [("ReduceMean", ["optical", "two_three"], ["colour"], {"keepdims": 0})],
    ),
    "sar": (
        GraphSpec("sar", (tensor("sar", 1, SIDE, SIDE),), (tensor("echo", 1),), "sar.onnx"),
        [("ReduceMean", ["sar", "two_three"], ["echo"], {"keepdims": 0})],
    ),
    "text": (GraphSpec("text", (TOKENS,), (tensor("said", 3),), "text.onnx"), COLOUR_OF_TEXT),
    "head": (
        GraphSpec(
            "head",
            (tensor("colour", 3), tensor("echo", 1), tensor("said", 3), tensor("sensors", 2)),
            (tensor("answer_logits", 3),),
            "head.onnx",
        ),
        # Logits for no, yes (how much of the colour that the question names) and bright (what the radar sees).
        [
            ("Mul", ["colour", "said"], ["seen"], {}),
            ("ReduceSum", ["seen", "one"], ["amount"], {"keepdims": 1}),
            ("Concat", ["amount", "echo"], ["evidence"], {"axis": 1}),
            ("Mul", ["evidence", "sensors"], ["present"], {}),
            ("Mul", ["present", "scale"], ["sure"], {}),
            ("ReduceSum", ["sensors", "one"], ["count"], {"keepdims": 1}),
            ("Concat", ["count", "sure"], ["answer_logits"], {"axis": 1}),
        ],
    ),
}
MATCHER: dict[str, tuple[GraphSpec, list[Node]]] = {
    "image": (
        GraphSpec("image", (PICTURE,), (tensor("image_embedding", 3),), "image.onnx"),
        [
            ("ReduceMean", ["image", "two_three"], ["mean"], {"keepdims": 0}),
            ("LpNormalization", ["mean"], ["image_embedding"], {"axis": -1, "p": 2}),
        ],
    ),
    "text": (
        GraphSpec("text", (TOKENS,), (tensor("text_embedding", 3),), "text.onnx"),
        [*COLOUR_OF_TEXT, ("LpNormalization", ["said"], ["text_embedding"], {"axis": -1, "p": 2})],
    ),
    "head": (
        GraphSpec(
            "head", (tensor("image_embedding", 3), tensor("text_embedding", 3)), (tensor("similarity"),), "head.onnx"
        ),
        [
            ("Mul", ["image_embedding", "text_embedding"], ["products"], {}),
            ("ReduceSum", ["products", "one"], ["cosine"], {"keepdims": 0}),
            ("Mul", ["cosine", "scale"], ["similarity"], {}),
        ],
    ),
}
CLASSIFIER: dict[str, tuple[GraphSpec, list[Node]]] = {
    "image": (
        GraphSpec("image", (PICTURE,), (tensor("logits", 3),), "image.onnx"),
        [
            ("ReduceMean", ["image", "two_three"], ["mean"], {"keepdims": 0}),
            ("Mul", ["mean", "scale"], ["logits"], {}),
        ],
    )
}
PLAIN: dict[str, tuple[GraphSpec, list[Node]]] = {
    "double": (
        GraphSpec("double", (tensor("x", 2),), (tensor("y", 2),), "double.onnx"),
        [("Add", ["x", "x"], ["y"], {})],
    )
}
CONSTANTS = {
    "embedding": np.array([COLOURS.get(word, (0, 0, 0)) for word in WORDS], np.float32),
    "one": np.array([1]),
    "two": np.array([2]),
    "two_three": np.array([2, 3]),
    "flat": np.array([0, 3, 4]),
    "corners": QUARTERS[None],
    "zero": np.array(0, np.float32),
    "half": np.array(0.5, np.float32),
    "scale": np.array(SCALE, np.float32),
}
PAIR = (image("optical"), image("sar", ("sar",), 1))
TOYS = {
    GROUNDING: (GROUNDER, (image(sensors=("optical", "sar")),), ()),
    VQA: (ANSWERER, PAIR, ("no", "yes", "bright")),
    MATCHING: (MATCHER, (image(),), ()),
    CLASSIFICATION: (CLASSIFIER, (image(),), ("red", "green", "blue")),
    "doubling": (PLAIN, (), ()),
}


def write_task_bundle(folder: Path, task: str) -> Path:
    """Writes the toy bundle of a task."""
    toy, images, words = TOYS[task]
    folder.mkdir(parents=True)
    spec = ModelSpec(
        "toy",
        task,
        "none",
        images,
        TextSpec(LENGTH) if "text" in toy else None,
        tuple(graph for graph, _ in toy.values()),
        **{"classes" if task == CLASSIFICATION else "answers": words},
    )
    for graph, nodes in toy.values():
        onnx.save(_onnx(graph, nodes), folder / graph.file)
    if spec.text is not None:
        (folder / "tokenizer.json").write_text(tokenizer_json())
    write_manifest(folder, Manifest(spec, "fp32"))
    return folder


def _onnx(graph: GraphSpec, nodes: list[Node]) -> onnx.ModelProto:
    def value(each: TensorSpec) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype))
        return helper.make_tensor_value_info(each.name, kind, each.shape)

    made = [helper.make_node(kind, inputs, outputs, **options) for kind, inputs, outputs, options in nodes]
    used = {name for node in made for name in node.input}
    constants = [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in used]
    inputs, outputs = [value(t) for t in graph.inputs], [value(t) for t in graph.outputs]
    body = helper.make_graph(made, graph.name, inputs, outputs, constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
