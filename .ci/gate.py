"""Holds a shipped model's bundles of other precisions to its float32 bundle, on scenes that it never saw.

    python .ci/gate.py FOLDER rsvl/models/weights/NAME.safetensors

The model's recipe beside its weights says what its scenes are like; a model that learned from real images alone, which
do not ship, is not compared here. All results go to FOLDER/NAME.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rsvl.benchmarks.laboratory.shipped_weights import recipe
from rsvl.cli import main
from rsvl.data.synth import write
from rsvl.runtime.errors import UndecidedError

#: For each precision that is held to float32: the options of `rsvl export`, and how far the answers must agree.
PRECISIONS = {"fp16": (["--fp16"], "0.95"), "int8": (["--int8", "--metric", "agreement", "--max-drop", "5"], "0.9")}
SCENES, CALIBRATION, SEED = 24, 16, 20_261_121
"""How many scenes to compare on, and how many others to calibrate int8 with. No recipe has this seed."""


def gate(name: str, folder: Path) -> bool:
    """Exports a model in every precision and compares; tells whether all passed."""
    made_like = recipe(name)
    root, baseline = folder / "scenes", folder / "fp32.bundle"
    folder.mkdir(parents=True, exist_ok=True)
    write(root, **{**made_like.scenes, "scenes": SCENES + CALIBRATION, "seed": SEED, "val": 0, "test": SCENES})
    data = ["--data", made_like.data, "--root", str(root), "--rounds", "5"]
    calibration = ["--calibration", made_like.data, "--root", str(root), "--metric-split", "train"]
    passed = _done("export", "--model", name, "-o", str(baseline))
    for precision, (options, agreement) in PRECISIONS.items():
        options = [*options, *calibration] if "--int8" in options else options
        bundle = folder / f"{precision}.bundle"
        limits = ["--min-agreement", agreement, "--junit", str(folder / f"{precision}.xml")]
        passed = passed and _done("export", "--model", name, *options, "-o", str(bundle))
        compared = ["gate", str(bundle), "--baseline", str(baseline), *data, *limits]
        passed = passed and _done(*compared, also=UndecidedError.exit_code)
    return passed


def _done(*command: str, also: int = 0) -> bool:
    return main(command) in (0, also)


if __name__ == "__main__":
    model = Path(sys.argv[2]).stem
    if not recipe(model).scenes:
        print(f"{model}: not compared, its images do not ship (docs/training.md has the gate on them)")
        sys.exit(0)
    green = gate(model, Path(sys.argv[1], model))
    print(f"{model}: {'passed' if green else 'RED'}")
    sys.exit(not green)
