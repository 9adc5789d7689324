"""Visual grounding: the best box by intersection over union, and its probability.

Two candidates of almost the same score may change places: the expected best box is looked for among all candidates
whose probability is within the limit of the best one's.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rsvl.runtime.agreement.measure import Measure, allowed
from rsvl.runtime.boxes import pairwise_iou, sigmoid
from rsvl.runtime.manifest import ModelSpec

SCORES, BOXES = "scores", "found_boxes"
LEAST_IOU = {"fp32": 0.99, "fp16": 0.97, "bf16": 0.95, "int8": 0.9}
LARGEST_DIFFERENCE = {"fp32": 0.005, "fp16": 0.02, "bf16": 0.05, "int8": 0.1}


def compare(
    spec: ModelSpec, expected: Mapping[str, np.ndarray], actual: Mapping[str, np.ndarray], precision: str
) -> tuple[Measure, ...]:
    """The least IoU of the best boxes over the samples, and the largest difference of the best probabilities."""
    limit = allowed(LARGEST_DIFFERENCE, precision)
    ious, differences = [], []
    for row in range(len(expected[SCORES])):
        best, found = sigmoid(expected[SCORES][row]).max(), sigmoid(actual[SCORES][row])
        box = expected[BOXES][row, expected[SCORES][row].argmax()]
        near = found >= found.max() - limit
        ious.append(pairwise_iou(box[None], actual[BOXES][row, near]).max())
        differences.append(abs(best - found.max()))
    return (
        Measure("box IoU", float(min(ious)), allowed(LEAST_IOU, precision), at_least=True),
        Measure("score difference", float(max(differences)), limit),
    )


def clearness(spec: ModelSpec, expected: Mapping[str, np.ndarray]) -> np.ndarray:
    """The best candidate's lead over the second."""
    ordered = np.sort(sigmoid(expected[SCORES]), axis=1)
    return ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else ordered[:, -1]
