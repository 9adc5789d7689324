"""What Triton does with a model repository, in a few lines over plain ONNX Runtime: configuration, batching, ensembles.

It follows Triton's documents (model_configuration.md, ensemble_models.md) and knows nothing of the code that writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

TYPES = {"TYPE_FP32": np.float32, "TYPE_FP16": np.float16, "TYPE_INT64": np.int64, "TYPE_INT32": np.int32}


def parse(text: str) -> dict[str, list[Any]]:
    """A message in protobuf's text format: the values of each field, messages as such dictionaries."""
    tokens = iter(re.findall(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|[{}\[\]:,]', re.sub(r"^#.*", "", text, flags=re.MULTILINE)))
    return _message(tokens)


def _message(tokens: Iterator[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name in tokens:
        if name == "}":
            break
        assert re.fullmatch(r"[a-z_]+", name), name
        token = next(tokens)
        values = found.setdefault(name, [])
        if token == "{":
            values.append(_message(tokens))
            continue
        assert token == ":", f"{name} {token}"
        token = next(tokens)
        if token != "[":
            values.append(_scalar(token))
            continue
        while (token := next(tokens)) != "]":
            if token != ",":
                values.append(_scalar(token))
    return found


def _scalar(token: str) -> str | int:
    return token[1:-1] if token.startswith('"') else int(token) if re.fullmatch(r"-?\d+", token) else token


def read_config(model: Path) -> dict[str, list[Any]]:
    return parse((model / "config.pbtxt").read_text(encoding="utf-8"))


def infer(repository: Path, name: str, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The answer of a model, or of an ensemble's models one after the other."""
    config = read_config(repository / name)
    assert config["name"] == [name]
    assert (repository / name / "1").is_dir()
    inputs = {spec["name"][0]: _checked(request[spec["name"][0]], spec, config) for spec in config["input"]}
    assert set(inputs) == set(request)
    run = _run_ensemble if config["platform"] == ["ensemble"] else _run_onnx
    outputs = run(repository, config, inputs)
    return {spec["name"][0]: _checked(outputs[spec["name"][0]], spec, config) for spec in config["output"]}


def _checked(tensor: np.ndarray, spec: dict[str, list[Any]], config: dict[str, list[Any]]) -> np.ndarray:
    assert tensor.dtype == TYPES[spec["data_type"][0]], spec
    most = config["max_batch_size"][0]
    shape = tensor.shape[1:] if most else tensor.shape
    assert not most or len(tensor) <= most
    assert len(shape) == len(spec["dims"]), spec
    assert all(declared in (-1, size) for declared, size in zip(spec["dims"], shape, strict=True)), spec
    return tensor


def _run_ensemble(repository: Path, config: dict[str, list[Any]], known: dict[str, np.ndarray]) -> dict[str, Any]:
    tensors = dict(known)
    for step in config["ensemble_scheduling"][0]["step"]:
        (model,) = step["model_name"]
        feeds = {entry["key"][0]: tensors[entry["value"][0]] for entry in step["input_map"]}
        made = infer(repository, model, feeds)
        tensors |= {entry["value"][0]: made[entry["key"][0]] for entry in step["output_map"]}
    return tensors


def _run_onnx(repository: Path, config: dict[str, list[Any]], inputs: dict[str, np.ndarray]) -> dict[str, Any]:
    assert config["platform"] == ["onnxruntime_onnx"]
    path = repository / config["name"][0] / "1" / "model.onnx"
    session = onnxruntime.InferenceSession(path / "model.onnx" if path.is_dir() else path)
    batch = len(next(iter(inputs.values())))

    def reshaped(tensor: np.ndarray, spec: dict[str, list[Any]], key: str) -> np.ndarray:
        if "reshape" not in spec:
            return tensor
        shape = spec["reshape"][0].get("shape", []) if key == "shape" else spec["dims"]
        return tensor.reshape(batch, *shape)

    feeds = {spec["name"][0]: reshaped(inputs[spec["name"][0]], spec, "shape") for spec in config["input"]}
    names = [spec["name"][0] for spec in config["output"]]
    made = dict(zip(names, session.run(names, feeds), strict=True))
    return {spec["name"][0]: reshaped(made[spec["name"][0]], spec, "dims") for spec in config["output"]}
