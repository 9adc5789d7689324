"""With the light dependencies alone, what needs no PyTorch works and the rest says which extra it needs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import contextlib, io, json, sys
for name in ("torch", "onnx", "onnxscript", "transformers", "accelerate", "safetensors", "pycocotools", "cv2"):
    sys.modules[name] = None  # importing it fails as if it were not installed
from rsvl.cli import main
outcomes = {}
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    outcomes[arguments[0]] = [code, out.getvalue(), err.getvalue()]
print(json.dumps(outcomes))
"""


def outcomes(*commands: list[str]) -> dict[str, tuple[int, str, str]]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(commands)], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def test_light_installation_runs_bundles_and_names_the_extra_for_the_rest(
    bundle: Path, image: Path, tmp_path: Path
) -> None:
    light = (
        ["--help"],
        ["doctor"],
        ["check", str(bundle)],
        ["engine", str(shutil.copytree(bundle, tmp_path / "own.bundle")), "--target", "jetson-orin"],
        ["run", str(bundle), str(image), "--text", "red", "-o", str(tmp_path / "out")],
    )
    heavy = {
        "models": (["models"], "train"),
        "synth": (["synth", str(tmp_path / "data"), "--scenes", "1"], "train"),
        "train": (["train", "--model", "x", "--data", "rrsis-d", "--root", ".", "-o", "run"], "train"),
        "export": (["export", "--model", "x"], "export"),
        "quantize": (["quantize", str(bundle), "--to", "int8-weights"], "quantize"),
        "paper": (["paper", "cd2fsan"], "train"),
    }
    found = outcomes(*light, *(arguments for arguments, _ in heavy.values()))
    for arguments in light:
        code, out, err = found[arguments[0]]
        assert (code, err) == (0, "") and out
    for name, (_, extra) in heavy.items():
        assert_names_the_extra(*found[name], extra)


def test_masks_as_run_lengths_name_their_extra(bundle: Path, dataset: Path) -> None:
    on_masks = ["--data", "rrsis-d", "--root", str(dataset)]
    found = outcomes(
        ["eval", str(bundle), *on_masks],
        ["gate", str(bundle), "--baseline", str(bundle), *on_masks],
    )
    for code, out, err in found.values():
        assert_names_the_extra(code, out, err, "eval")


def assert_names_the_extra(code: int, out: str, err: str, extra: str) -> None:
    assert (code, out) == (3, "")
    (error,) = (line for line in err.splitlines() if line.startswith("error: "))
    assert err.endswith(f"{error}\n") and f"pip install 'rsvl[{extra}]'" in error
