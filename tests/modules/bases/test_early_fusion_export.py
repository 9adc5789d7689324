"""The early-fusion models through the whole export: graphs, precision, verification against PyTorch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from rsvl.export import export
from rsvl.runtime import MarkedText, Segmenter
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.tasks.tokenizer import Tokenizer
from tests.support.small_fusion import BERT, NAMES, SWIN, small_model
from tests.support.tensorrt_graphs import check_that_tensorrt_builds

ROTATED = {"cadformer": 3, "rmsin": 3}
# Every block takes seconds. LAVT has Swin's and BERT's as all of them do; the others have one block a stage and, where
# stages do not share them out, one layer: what is their own is whole. A half-precision graph has every node of the
# float32 one, and LGCE all that LAVT has.
SHORT = {"swin": replace(SWIN, depths=(1, 1, 1, 1)), "bert": replace(BERT, layers=1)}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cadformer": ("fp16", {"swin": SHORT["swin"]}),
    "fianet": ("fp16", SHORT),
    "lavt": ("fp32", {}),
    "lgce": ("fp16", SHORT),
    "rmsin": ("fp16", SHORT),
}


@pytest.mark.parametrize("name", NAMES)
def test_bundle_agrees_with_pytorch_keeps_rotated_convolutions_whole_and_tensorrt_builds_it(
    name: str, tmp_path: Path
) -> None:
    precision, sizes = CASES[name]
    exported = export(small_model(name, "-tiny", **sizes), tmp_path / "bundle", precision)
    assert exported.manifest.precision == precision
    head = onnx.load(tmp_path / "bundle" / "head.onnx")
    rotated = [node for node in head.graph.node if (node.domain, node.op_type) == ("rsvl", "RotatedConv2d")]
    assert len(rotated) == ROTATED.get(name, 0)
    for graph in ("image", "text", "head"):
        inputs = onnx.load(tmp_path / "bundle" / f"{graph}.onnx", load_external_data=False).graph.input
        assert {tensor.type.tensor_type.shape.dim[0].dim_param for tensor in inputs} == {"batch"}
    check_that_tensorrt_builds(tmp_path / "bundle", exported.manifest.model.graphs)
    if name == "fianet":
        check_that_marks_reach_the_model(Segmenter.open(tmp_path / "bundle", "cpu"))


def check_that_marks_reach_the_model(segmenter: Segmenter) -> None:
    """A marked sentence gives what the raw inputs with its marks give, and something else than without them."""
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    sentence = MarkedText("the white ship by the pier", object="white ship", place="by the pier")
    marked, plain = segmenter.segment(picture, [sentence, str(sentence)], tile="whole")
    tokenizer = Tokenizer.from_file(small_model("fianet", "-tiny").tokenizer_json(), segmenter.spec.words)
    raw = {"image": preprocess(picture, segmenter.spec.image)[None], "tokens": tokenizer([sentence])}
    logits = segmenter.run(**raw, marks=tokenizer.marks([sentence]))["mask_logits"]
    np.testing.assert_allclose(marked.probability, 1 / (1 + np.exp(-logits[0, 0].astype(np.float64))), atol=2e-3)
    assert np.abs(marked.probability - plain.probability).max() > 1e-3
