"""A toy bundle of three ONNX graphs that finds what has the colour a sentence names, made without the export room.

The image graph passes the pixels on, the text graph sums one RGB vector a word, and the head says, for every pixel,
``30 · (0.5 - |pixel - colour|₁)``: above 0 where the colours agree.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rsvl.runtime.manifest import GraphSpec, ImageSpec, Manifest, ModelSpec, TensorSpec, TextSpec

SIZE = 32
LENGTH = 8
WORDS = ["<pad>", "<unk>", "red", "green", "blue", "the", "square", "<bos>", "<eos>"]
COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}

IMAGE = TensorSpec("image", ("batch", 3, SIZE, SIZE))
TOKENS = TensorSpec("tokens", ("batch", LENGTH), "int64")
PIXELS = TensorSpec("pixels", ("batch", 3, SIZE, SIZE))
COLOUR = TensorSpec("colour", ("batch", 3))
MASK = TensorSpec("mask_logits", ("batch", 1, SIZE, SIZE))

SPLIT = (
    GraphSpec("image", (IMAGE,), (PIXELS,), "image.onnx"),
    GraphSpec("text", (TOKENS,), (COLOUR,), "text.onnx"),
    GraphSpec("head", (PIXELS, COLOUR), (MASK,), "head.onnx"),
)
FUSED = (GraphSpec("whole", (IMAGE, TOKENS), (MASK,), "whole.onnx"),)
NODES = {
    "image": [helper.make_node("Identity", ["image"], ["pixels"])],
    "text": [
        helper.make_node("Gather", ["embedding", "tokens"], ["words"]),
        helper.make_node("ReduceSum", ["words", "one"], ["colour"], keepdims=0),
    ],
    "head": [
        helper.make_node("Unsqueeze", ["colour", "two_three"], ["colour_plane"]),
        helper.make_node("Sub", ["pixels", "colour_plane"], ["difference"]),
        helper.make_node("Abs", ["difference"], ["distance"]),
        helper.make_node("ReduceSum", ["distance", "one"], ["total"], keepdims=1),
        helper.make_node("Sub", ["half", "total"], ["nearness"]),
        helper.make_node("Mul", ["nearness", "thirty"], ["mask_logits"]),
    ],
}
NODES["whole"] = [node for nodes in list(NODES.values()) for node in nodes]
CONSTANTS = {
    "embedding": np.array([COLOURS.get(word, (0, 0, 0)) for word in WORDS], np.float32),
    "one": np.array([1]),
    "two_three": np.array([2, 3]),
    "half": np.array(0.5, np.float32),
    "thirty": np.array(30, np.float32),
}


def toy_spec(graphs: tuple[GraphSpec, ...] = SPLIT) -> ModelSpec:
    image = ImageSpec(SIZE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), trained_side=80)
    return ModelSpec("toy", "referring-segmentation", "none", (image,), TextSpec(LENGTH), graphs)


def tokenizer_json() -> str:
    template = {"single": [{"SpecialToken": {"id": w, "type_id": 0}} for w in ("<bos>", "<eos>")], "pair": []}
    template["single"].insert(1, {"Sequence": {"id": "A", "type_id": 0}})
    template["special_tokens"] = {w: {"id": w, "ids": [WORDS.index(w)], "tokens": [w]} for w in ("<bos>", "<eos>")}
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            "post_processor": {"type": "TemplateProcessing", **template},
            "decoder": None,
            "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(WORDS)}, "unk_token": "<unk>"},
        }
    )


def expected_logits(images: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """The toy model in NumPy: [B, 3, S, S] and [B, 3] → [B, 1, S, S]."""
    distance = np.abs(images.astype(np.float64) - colours[:, :, None, None]).sum(axis=1, keepdims=True)
    return 30 * (0.5 - distance)


def write_bundle(folder: Path, graphs: tuple[GraphSpec, ...] = SPLIT, precision: str = "fp32") -> Path:
    folder.mkdir(parents=True)
    for graph in graphs:
        onnx.save(_onnx(graph), folder / graph.file)
    (folder / "tokenizer.json").write_text(tokenizer_json())
    (folder / "golden").mkdir()
    images = np.random.default_rng(0).random((2, 3, SIZE, SIZE), np.float32)
    tokens = np.array([[7, 5, 2, 6, 8, 0, 0, 0], [7, 4, 8, 0, 0, 0, 0, 0]])
    logits = expected_logits(images, np.array([COLOURS["red"], COLOURS["blue"]])).astype(np.float32)
    np.savez(folder / "golden" / "golden.npz", image=images, tokens=tokens, mask_logits=logits)
    write_manifest(folder, Manifest(toy_spec(graphs), precision))
    return folder


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest with the hashes of the files that are there."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    hashes = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    (folder / "manifest.json").write_text(replace(manifest, files=hashes).to_json())


def _onnx(graph: GraphSpec) -> onnx.ModelProto:
    def value(tensor: TensorSpec) -> onnx.ValueInfoProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        return helper.make_tensor_value_info(tensor.name, kind, tensor.shape)

    nodes = NODES[graph.name]
    used = {name for node in nodes for name in node.input}
    constants = [numpy_helper.from_array(array, name) for name, array in CONSTANTS.items() if name in used]
    inputs, outputs = [value(t) for t in graph.inputs], [value(t) for t in graph.outputs]
    body = helper.make_graph(nodes, graph.name, inputs, outputs, constants)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
