"""Measuring latency: who is timed when, on what, and what the plain export computes. No test depends on a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import typer
from chain import Chain
from torch import Tensor, nn

from rsvl.benchmarks import latency
from rsvl.benchmarks.plain_export import GridSampledConv2d, export_plainly, grid_sampled
from rsvl.benchmarks.ways import ASK, SENTENCES, Whole, inputs_of, many_sentences, plain_onnx, pytorch
from rsvl.modules.rotated_conv import RotatedConv2d
from rsvl.runtime.errors import UsageError
from rsvl.runtime.manifest import SEGMENTATION, ModelSpec


class Toy(nn.Module):
    """Turns its kernels by what the sentence says."""

    def __init__(self, mode: str = "bilinear") -> None:
        super().__init__()
        self.embed = nn.Embedding(10, 6)
        self.conv = RotatedConv2d(3, 1, 3, bases=3, mode=mode)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        theta, gate = self.embed(tokens).mean(1).chunk(2, dim=-1)
        return self.conv(image, theta, gate)


@pytest.mark.parametrize("batch", [1, 3])
def test_grid_sampled_convolution_is_the_rotated_convolution(batch: int) -> None:
    generator = torch.Generator().manual_seed(batch)
    layer = RotatedConv2d(4, 5, 3, bases=3)
    x = torch.randn(batch, 4, 8, 9, generator=generator)
    theta, gate = (torch.randn(batch, 3, generator=generator) * scale for scale in (3, 1))
    torch.testing.assert_close(GridSampledConv2d(layer)(x, theta, gate), layer(x, theta, gate), rtol=1e-4, atol=1e-5)


def test_grid_sampling_refuses_the_arc_mode() -> None:
    with pytest.raises(UsageError, match="not 'arc'"):
        grid_sampled(Toy("arc"))


def test_plain_export_is_one_graph_of_standard_operators_that_computes_the_model(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, image, tokens = Toy(), torch.randn(1, 3, 8, 8), torch.tensor([[1, 2, 3]])
    export_plainly(model, {"image": image, "tokens": tokens}, ["mask_logits"], tmp_path / "plain.onnx")
    written = onnx.load(tmp_path / "plain.onnx")
    assert not written.functions
    assert "GridSample" in {node.op_type for node in written.graph.node}
    session = onnxruntime.InferenceSession(str(tmp_path / "plain.onnx"))
    found = session.run(["mask_logits"], {"image": image.numpy(), "tokens": tokens.numpy()})[0]
    np.testing.assert_allclose(found, model(image, tokens).detach(), rtol=1e-4, atol=1e-5)
    assert isinstance(model.conv, RotatedConv2d), "the model itself stays as it was"


def test_rounds_run_every_way_once_and_begin_with_another_each_time() -> None:
    calls: list[str] = []
    times = latency.interleaved({way: lambda way=way: calls.append(way) for way in "abc"}, rounds=4)  # type: ignore
    assert "".join(calls) == "abcbcacababc"
    assert {way: len(values) for way, values in times.items()} == {"a": 4, "b": 4, "c": 4}


def test_timings_compare_medians_with_the_first_way() -> None:
    first, second = latency.timings({"slow": [10.0, 30.0, 20.0], "fast": [5.0, 5.0, 500.0]}, {"fast": 0.99})
    assert (first.median_ms, first.low_ms, first.high_ms, first.speedup) == pytest.approx((20, 12, 28, 1))
    assert (second.median_ms, second.speedup, second.agreement) == (5, 4, 0.99)


class Recorder:
    """A segmenter that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, list[str]]] = []

    def segment(self, image: np.ndarray, texts: str | list[str]) -> None:
        """Notes the image and the sentences."""
        self.asked.append((image.tobytes(), [texts] if isinstance(texts, str) else texts))


def test_many_sentences_never_repeats_an_image_or_a_sentence() -> None:
    segmenter: Any = Recorder()
    ways = many_sentences(segmenter, ASK[SEGMENTATION], size=4)
    for _ in range(2):
        for way in ways.values():
            way()
    assert [len(texts) for _, texts in segmenter.asked] == ([1] * len(SENTENCES) + [len(SENTENCES)]) * 2
    assert len({image for image, _ in segmenter.asked}) == len(segmenter.asked)
    asked = [text for _, texts in segmenter.asked for text in texts]
    assert len(set(asked)) == len(asked)


def test_report_is_written_as_json_and_markdown_named_by_hardware_and_model(tmp_path: Path) -> None:
    found = latency.Latency(
        model="toy-net",
        weights="random",
        hardware="Some CPU @ 2 GHz, 2 cores",
        threads=2,
        rounds=5,
        agreement_is="mask IoU",
        one=latency.timings({"PyTorch eager": [2.0], "bundle": [1.0]}, {"PyTorch eager": 1.0, "bundle": 0.998}),
        many=latency.timings({"8 separate runs": [16.0], "one call": [4.0]}, {}),
        versions={"torch": "2.13"},
    )
    paths = latency.write(found, tmp_path / "results")
    assert [path.name for path in paths] == [f"some-cpu-2-ghz-2-cores-toy-net{suffix}" for suffix in (".json", ".md")]
    assert json.loads(paths[0].read_text()) == json.loads(json.dumps(found.to_dict()))
    report = paths[1].read_text()
    assert "| bundle | 1.0 | 1.0–1.0 | 2.00 | 0.9980 |" in report
    assert "| one call | 4.0 | 4.0–4.0 | 4.00 |" in report
    assert "Some CPU @ 2 GHz, 2 cores" in report


def test_an_unknown_model_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        latency.main(model="cd2fsam")
    assert ended.value.exit_code == 2
    assert "did you mean cd2fsan" in capsys.readouterr().err.splitlines()[-1]


def test_agreement_is_each_ways_mask_against_eagers() -> None:
    spec = ModelSpec("toy", SEGMENTATION, "none", (), None, ())
    eager = np.where(np.arange(4000) < 2000, 1.0, -1.0).reshape(1, 1, 40, 100)
    half = np.where(np.arange(4000) < 1000, 1.0, -1.0).reshape(1, 1, 40, 100)
    outputs = {latency.EAGER: eager, "same": eager * 2, "half": half}
    found = latency.agreements(spec, {way: {"mask_logits": logits} for way, logits in outputs.items()})
    assert found == {latency.EAGER: 1.0, "same": 1.0, "half": 0.5}


def test_every_way_of_any_model_gives_its_final_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Chain().eval()
    inputs = inputs_of(model)
    assert {name: array.shape for name, array in inputs.items()} == {"x": (1, 6), "image": (1, 3, 8, 8)}
    with torch.no_grad():
        (expected,) = model.head(torch.from_numpy(inputs["image"]), 2 * torch.from_numpy(inputs["x"]))
    whole = Whole(model)
    for way in (pytorch(whole, model.spec, inputs), plain_onnx(whole, inputs, 1, tmp_path / "plain.onnx")):
        found = way()
        assert list(found) == ["y"]
        np.testing.assert_allclose(found["y"], expected.numpy(), rtol=1e-4, atol=1e-5)
