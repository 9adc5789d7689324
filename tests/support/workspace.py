"""A folder with the files that the examples of docstrings, documents and `examples/` name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from rsvl.data.synth import write
from rsvl.runtime.manifest import CLASSIFICATION, GROUNDING, MATCHING, VQA
from tests.support.toy_bundle import write_bundle
from tests.support.toy_tasks import write_task_bundle


def write_workspace(folder: Path) -> Path:
    """Writes toy bundles of every task, images and a synthetic dataset.

    - ``tiny.bundle`` segments what has the colour that a sentence names; ``grounder.bundle``, ``vqa.bundle``,
      ``matcher.bundle``, ``classifier.bundle`` and ``custom.bundle`` are those of `tests.support.toy_tasks`;
    - ``squares.png`` is gray, 32 × 32, with a red square at x 10…20, y 5…15 and a blue one at x 20…28, y 18…30;
    - ``quarters.png`` is 16 × 16, red in its upper left quarter, blue in its lower right, black elsewhere; ``sar.png``
      is a bright SAR image of the same size;
    - ``scenes/`` is a dataset in RRSIS-D's layout: 4 images to train on, 2 to validate, 2 to test.
    """
    write_bundle(folder / "tiny.bundle")
    tasks = {"grounder": GROUNDING, "vqa": VQA, "matcher": MATCHING, "classifier": CLASSIFICATION, "custom": "doubling"}
    for name, task in tasks.items():
        write_task_bundle(folder / f"{name}.bundle", task)
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[5:15, 10:20] = (255, 0, 0)
    pixels[18:30, 20:28] = (0, 0, 255)
    Image.fromarray(pixels).save(folder / "squares.png")
    quarters = np.zeros((16, 16, 3), np.uint8)
    quarters[:8, :8] = (255, 0, 0)
    quarters[8:, 8:] = (0, 0, 255)
    Image.fromarray(quarters).save(folder / "quarters.png")
    Image.fromarray(np.full((16, 16), 230, np.uint8)).save(folder / "sar.png")
    write(folder / "scenes", 8, seed=1, size=64, val=2, test=2)
    return folder
