"""OptiSAR-Net++'s released checkpoint against its authors' program.

python -m rsvl.benchmarks.laboratory.released_optisar optisar-net++.npz

The oracle file holds what the authors' program answered to made weights, one image and sentences. Here the same weights
are written to a file in the layout of the released one and read as a downloaded one would be. PyTorch, and the exported
graphs in ONNX Runtime, must give the same scores and the same best box, to ten times the file's own float32 error. A
sentence is asked alone, as in the published evaluation; the text tower is no part of the oracle.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnxruntime
import torch
import typer

from rsvl import registry
from rsvl.benchmarks.laboratory.oracle_recipe import noise_on_patches, standard, uniform
from rsvl.benchmarks.markdown import markdown_table
from rsvl.checkpoints import load_weights

MODEL = "optisar-net++"
_HEADER = ["file", "computed by", "largest score", "largest difference", "allowed", "best box, px", "allowed, px"]

#: Mean and half-width over √3 of parameters that training starts at special values, by the last part of their names.
_SPREADS = {
    "lora_scale": (0.6, 0.1),
    "layer_scale_daa": (0.7, 0.2),
    "layer_scale_moe": (0.7, 0.2),
    "weight_gate": (0.8, 0.2),
    "feature_gate": (0.9, 0.2),
    "weight_max": (0.0, 1.0),
    "weight_avg": (0.0, 2.0),
    "bias_max": (0.5, 0.5),
    "bias_avg": (0.5, 0.5),
    "logit_scale": (0.3, 0.1),
}


def main(oracles: Annotated[list[Path], typer.Argument(metavar="ORACLE...", help="Oracle files, .npz.")]) -> None:
    """Prints the largest differences as a Markdown table; exit code 1 where they exceed what is allowed."""
    rows, equal = [], True
    for path in oracles:
        for computed_by, row in compare(np.load(path)).items():
            equal &= row["difference"] <= row["allowed"] and row["box"] <= row["allowed_px"]
            rows.append([path.name, computed_by, *(f"{value:.2g}" for value in row.values())])
    sys.stdout.write(markdown_table(_HEADER, rows, words=2) + "\n")
    raise typer.Exit(0 if equal else 1)


def compare(oracle: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The largest differences of the best-scored cells' logits and of the best box's corners, by what computed them."""
    image, prompt = torch.from_numpy(image_of(int(oracle["image_seed"]))), torch.from_numpy(oracle["prompt"][:, 0])
    model = registry.create(MODEL).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "best.pt"
        state = {name: torch.from_numpy(np.asarray(value)) for name, value in weights(oracle)}
        torch.save({"epoch": -1, "ema": None, "model": state}, path)
        load_weights(model, path, without_encoders=True)
        with torch.no_grad():
            pytorch = [each.numpy() for each in model.head(*model.encode_image(image), prompt)]
        onnx = _in_onnx_runtime(model, {"image": image.numpy(), "prompt": prompt.numpy()}, Path(folder))
    answers = {"PyTorch": pytorch, "ONNX Runtime": onnx}
    return {name: _differences(oracle, scores, boxes * 640) for name, (scores, boxes) in answers.items()}


def _in_onnx_runtime(model: Any, features: dict[str, np.ndarray], folder: Path) -> list[np.ndarray]:
    from rsvl.export.graphs import write_graph

    for spec in model.spec.graphs:
        if spec.name != "text":
            write_graph(model.graph(spec.name).eval(), spec, folder / f"{spec.name}.onnx")
            session = onnxruntime.InferenceSession(folder / f"{spec.name}.onnx", providers=["CPUExecutionProvider"])
            outputs = [each.name for each in session.get_outputs()]
            found = session.run(outputs, {each.name: features[each.name] for each in session.get_inputs()})
            features = features | dict(zip(outputs, found, strict=True))
    return [features["scores"], features["found_boxes"]]


def _differences(oracle: Mapping[str, Any], scores: np.ndarray, boxes: np.ndarray) -> dict[str, float]:
    """Of logits [1, K], the K best in order, and boxes [1, K, 4] in pixels."""
    theirs = -np.sort(-oracle["one_logits"][0])[: scores.shape[1]]
    centre, size = np.split(oracle["one_best_box"][0], 2)
    corners = np.concatenate([centre - size / 2, centre + size / 2]).clip(0, 640)
    largest, (_, _, score_error, box_error) = float(np.abs(oracle["one_logits"]).max()), oracle["float32_error"]
    return {
        "largest": largest,
        "difference": float(np.abs(scores[0] - theirs).max()),
        "allowed": 10 * float(score_error) * largest,
        "box": float(np.abs(boxes[0, 0] - corners).max()),
        "allowed_px": 10 * float(box_error),
    }


def weights(oracle: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Every entry of the checkpoint that an oracle describes, in its order, one at a time.

    Args:
        oracle: `keys`, a JSON list of [name, shape, dtype]; `weight_seed`; and what batch norms saw on the oracle's own
            image, without which so deep a network's signal grows beyond bounds: `bn_mean` of all channels, and one
            `bn_std` per norm, both in the order of the names.
    """
    means, deviations = (iter(oracle[name].astype(np.float32)) for name in ("bn_mean", "bn_std"))
    for name, shape, dtype in json.loads(str(oracle["keys"])):
        last, count = name.rsplit(".", 1)[-1], int(np.prod(shape, dtype=np.int64))
        if dtype == "int64":  # counters
            value = np.zeros(shape, np.int64)
        elif last == "running_mean":
            value = np.array([next(means) for _ in range(count)])
        elif last == "running_var":
            drawn = 0.5 + uniform(name, count, int(oracle["weight_seed"]))
            value = drawn.astype(np.float32) * next(deviations) ** 2
        elif name.endswith("dfl.conv.weight"):  # the bins, which no training changes
            value = np.arange(count, dtype=np.float32).reshape(shape)
        else:
            mean, spread = _distribution(name, tuple(shape))
            value = mean + spread * standard(name, count, int(oracle["weight_seed"]))
            value = value.reshape(shape).astype(np.float32)
        yield name, value


def _distribution(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and deviation of a parameter."""
    last = name.rsplit(".", 1)[-1]
    if last in _SPREADS:
        return _SPREADS[last]
    if last == "temperature":  # the experts' gate has a logarithm
        return (2.5, 0.1) if ".gate." in name else (5.0, 0.3)
    if len(shape) == 1 and last == "bias" and shape == (1,) and ".cv4." in name and ".norm." not in name:
        return -2.0, 0.2  # the score's offset
    if len(shape) == 1:
        return (1.0, 0.2) if last == "weight" else (0.0, 0.1)  # a norm's gain; a bias
    inputs = shape[2] if last.startswith("lora") else int(np.prod(shape[1:]))
    return 0.0, _gain(name) / float(inputs) ** 0.5


def _gain(name: str) -> float:
    """What a matrix or kernel has beside 1 / √inputs."""
    if name.endswith("sim_matrix"):
        return 3.0
    if ".cv2." in name and name.endswith(".2.weight"):
        return 4.0  # distances that differ
    return 1.5 if ".gl.proj." in name or ".reprta." in name else 1.6


def image_of(seed: int, size: int = 640) -> np.ndarray:
    """An image of RGB in 0…1, float32 [1, 3, size, size]: patches of 64, 16 and 4 pixels, and noise."""
    total = noise_on_patches(seed, size, 0.3, {64: 0.9, 16: 0.7, 4: 0.5})
    return np.clip(0.5 + 0.22 * total, 0, 1)[None].astype(np.float32)


if __name__ == "__main__":
    typer.run(main)
