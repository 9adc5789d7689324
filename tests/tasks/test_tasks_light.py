"""Bundles are evaluated without PyTorch: no task's evaluation imports it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
for name in ("torch", "onnx", "transformers", "accelerate", "cv2", "pycocotools"):
    sys.modules[name] = None  # importing it fails as if it were not installed
from rsvl.runtime.manifest import CLASSIFICATION, VQA, GROUNDING, MATCHING, SEGMENTATION
from rsvl.tasks import evaluation_of
tasks = (SEGMENTATION, GROUNDING, VQA, MATCHING, CLASSIFICATION)
print(*[evaluation_of(task).PRIMARY_METRIC for task in tasks], sep="; ")
"""


def test_evaluations_need_no_pytorch() -> None:
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout == "mIoU; Pr@0.5; OA; top-1 or mR; top-1\n"
