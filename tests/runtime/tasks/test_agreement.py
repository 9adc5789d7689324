"""What counts as agreeing outputs in each task, and which samples tell most."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from rsvl.runtime.manifest import GROUNDING, MATCHING, VQA, GraphSpec, ModelSpec, TensorSpec
from rsvl.runtime.tasks import compare, grounding, matching, most_informative


def spec(task: str, *outputs: str) -> ModelSpec:
    made = tuple(TensorSpec(name, ("batch", 4)) for name in outputs)
    return ModelSpec("toy", task, "none", (), None, (GraphSpec("head", (TensorSpec("x", ("batch",)),), made),))


def arrays(**values: object) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


BOXES = arrays(scores=[[2.0, 1.99, -3.0]], found_boxes=[[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]])
P = 1 / (1 + np.exp(-np.array([2.0, 1.99, -3.0])))
CASES = {
    "boxes: equal": (GROUNDING, BOXES, BOXES, [1.0, 0.0, 1.0]),
    "boxes: almost equal candidates changed places": (
        GROUNDING,
        BOXES,
        arrays(scores=[[2.0, 1.99, -3.0]], found_boxes=[[[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.5], [0, 0, 1, 1]]]),
        [1.0, 0.0, 1.0],
    ),
    "boxes: the best is half of what it was": (
        GROUNDING,
        BOXES,
        arrays(scores=[[2.0, -5.0, -3.0]], found_boxes=[[[0, 0, 0.25, 0.5], [0.5, 0.5, 1, 1], [0, 0, 1, 1]]]),
        [0.5, 0.0, (0.5 * P[0] + P[2]) / P.sum()],  # nothing has the second's probability
    ),
    "boxes: all but the best are elsewhere": (
        GROUNDING,
        BOXES,
        arrays(scores=[[2.0, 1.99, -3.0]], found_boxes=[[[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1], [0, 0, 0, 0]]]),
        [1.0, 0.0, P[0] / P.sum()],
    ),
    "answers: another one": (
        VQA,
        arrays(answer_logits=np.log([[0.75, 0.25], [0.5, 0.5]])),
        arrays(answer_logits=np.log([[0.25, 0.75], [0.5, 0.5]])),
        [0.5, 0.5],
    ),
    "answers: a tie may turn": (
        VQA,
        arrays(answer_logits=np.log([[0.5005, 0.4995]])),
        arrays(answer_logits=np.log([[0.4995, 0.5005]])),
        [1.0, 0.001],
    ),
    "similarity": (MATCHING, arrays(similarity=[30.0, 10.0]), arrays(similarity=[30.0, 10.25]), [0.25]),
    "a user's own": ("counting", arrays(a=[[1.0, -4.0]]), arrays(a=[[1.5, -4.0]]), [0.125]),
}


@pytest.mark.parametrize(("task", "expected", "actual", "values"), CASES.values(), ids=CASES.keys())
def test_measures_of_each_task(task: str, expected: dict, actual: dict, values: list[float]) -> None:
    measures = compare(spec(task, *expected), expected, actual, "fp32")
    assert [measure.value for measure in measures] == pytest.approx(values, abs=1e-5)


def test_limits_are_wider_for_fewer_bits() -> None:
    wrong = arrays(similarity=[30.2])
    passed = {
        precision: compare(spec(MATCHING, "similarity"), arrays(similarity=[30.0]), wrong, precision)[0].passed
        for precision in ("fp32", "fp16", "bf16", "int8", "fp8")
    }
    assert passed == {"fp32": False, "fp16": True, "bf16": True, "int8": True, "fp8": True}


TELLING = {
    "boxes: a clear winner": (GROUNDING, arrays(scores=[[1, 1], [4, -4], [3, 2]], found_boxes=np.zeros((3, 2, 4)))),
    "answers: a clear winner": (VQA, arrays(answer_logits=[[1, 1], [4, -4], [3, 2]])),
    "similarity: what matches": (MATCHING, arrays(similarity=[-5, 30, 12])),
}


@pytest.mark.parametrize(("task", "expected"), TELLING.values(), ids=TELLING.keys())
def test_samples_that_tell_most_are_chosen(task: str, expected: dict) -> None:
    assert most_informative(spec(task, *expected), expected, 2).tolist() == [1, 2]


def test_all_samples_of_a_users_own_task_tell_the_same() -> None:
    assert most_informative(spec("counting", "a"), arrays(a=np.zeros((5, 3))), 2).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("module", "names"), [(matching, ("image_embedding", "text_embedding")), (grounding, ("regions", "sentence"))]
)
def test_embeddings_that_no_score_was_made_of_are_compared(module: ModuleType, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    expected = {name: rng.normal(size=(2, 5, 8)).astype(np.float32) for name in names}
    expected |= {"similarity": np.zeros(2, np.float32), "scores": np.zeros((2, 1)), "found_boxes": np.ones((2, 1, 4))}
    expected["found_boxes"][..., :2] = 0
    for name in names:
        near = {**expected, name: expected[name] + np.float32(1e-4)}
        lost = {**expected, name: np.zeros_like(expected[name])}
        near_found, lost_found = (
            {each.name: each for each in module.compare(None, expected, actual, "fp32")}[f"{name} cosine"]
            for actual in (near, lost)
        )
        assert near_found.passed and near_found.value == pytest.approx(1, abs=1e-6)
        assert not lost_found.passed and lost_found.value == 0
