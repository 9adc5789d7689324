"""The documented segmenter stands on an encoder of rsvl, with the weights that its authors publish."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

import rsvl
from rsvl.export.graphs import write_graph
from tests.support.released_names import read_names

ROOT = Path(__file__).parents[2]


def test_documented_segmenter_takes_a_published_encoder_and_runs_without_pytorch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "examples")
    names = dict(read_names(ROOT / "tests/models/released/scene_names.txt.gz"))["lwganet-l0"]
    torch.manual_seed(0)
    released = {key: torch.rand(value.shape) * 0.1 for key, value in names.items() if not key.startswith("head")}
    torch.save({"model": released, "optimizer": {}, "epoch": 299}, tmp_path / "lwganet_l0_e299.pth")
    with pytest.warns(UserWarning, match="everything but the encoders starts from random weights"):
        model = rsvl.load("land_cover:build", encoder_weights=tmp_path / "lwganet_l0_e299.pth")
    sys.modules.pop("land_cover", None)
    assert torch.equal(model.image_encoder.stem[0].weight, released["Stem.proj.weight"])
    (graph,) = model.spec.graphs
    write_graph(model.graph("segment"), graph, tmp_path / "segment.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "segment.onnx", providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((2, 3, 128, 128)).astype(np.float32)
    with torch.no_grad():
        expected = model.segment(torch.from_numpy(image))[0].numpy()
    assert expected.shape == (2, 6, 32, 32)
    np.testing.assert_allclose(session.run(None, {"image": image})[0], expected, atol=1e-4, rtol=1e-4)
