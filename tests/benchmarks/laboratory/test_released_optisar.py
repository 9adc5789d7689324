"""The oracle's made weights: numbers as the other side makes them, which no shape of ours may change."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rsvl.benchmarks.laboratory.released_optisar import image_of, weights

# Made by the other side's recipe with seed 5: name, shape, its first two numbers (of one, the number).
MADE = [
    ("model.0.conv.weight", (64, 3, 3, 3), [0.4752499759197235, -0.3054923117160797]),
    ("model.8.m.0.moe.gate.temperature", (1,), [2.3507869243621826]),
    ("model.8.m.0.moe.gate.sim_matrix", (128, 8), [1.5410958528518677, 1.7576602697372437]),
    ("model.8.m.0.moe.experts.lora1_A", (8, 128, 16), [-0.012864083983004093, -0.27668002247810364]),
    ("model.9.cv1.bn.weight", (256,), [0.7721894383430481, 0.8655998110771179]),
    ("model.16.attn.gl.proj.0.weight", (512, 512), [-0.002299307147040963, -0.030620109289884567]),
    ("model.16.ssa.weight_max", (1, 16, 1, 1), [-0.4142106771469116, 0.32953009009361267]),
    ("model.22.attn.temperature", (1,), [4.486732482910156]),
    ("model.23.cv2.0.2.weight", (64, 64, 1, 1), [-0.26493051648139954, -0.05583946779370308]),
    ("model.23.cv2.0.2.bias", (64,), [0.16063880920410156, -0.16490456461906433]),
    ("model.23.cv4.1.bias", (1,), [-2.1255829334259033]),
    ("model.23.cv4.1.logit_scale", (), [0.2853230834007263]),
    ("model.23.dfl.conv.weight", (1, 16, 1, 1), [0.0, 1.0]),
]


def test_weights_are_those_of_the_recipe() -> None:
    keys = json.dumps([[name, shape, "float32"] for name, shape, _ in MADE])
    nothing = np.zeros(0, np.float16)
    made = dict(weights({"keys": keys, "weight_seed": 5, "bn_mean": nothing, "bn_std": nothing}))
    for name, shape, first in MADE:
        assert made[name].shape == shape and made[name].dtype == np.float32
        assert made[name].ravel()[:2].tolist() == pytest.approx(first, rel=1e-6), name


def test_norms_have_seen_what_the_oracle_says() -> None:
    norm = "model.9.cv1.bn"
    keys = json.dumps(
        [
            [f"{norm}.running_mean", [256], "float32"],
            [f"{norm}.running_var", [256], "float32"],
            [f"{norm}.num_batches_tracked", [], "int64"],
        ]
    )
    seen = {"bn_mean": np.arange(256, dtype=np.float16), "bn_std": np.array([3], np.float16)}
    mean, variance, count = (value for _, value in weights({"keys": keys, "weight_seed": 5, **seen}))
    assert mean.tolist() == list(range(256)) and count == 0 and count.dtype == np.int64
    assert variance[:2].tolist() == pytest.approx([0.8763819932937622 * 9, 0.5869520902633667 * 9], rel=1e-6)


def test_image_is_that_of_the_recipe() -> None:
    expected = [0.5809879302978516, 0.22153697907924652, 0.3174499571323395]
    assert image_of(7).ravel()[[0, 1000, 500000]].tolist() == pytest.approx(expected, rel=1e-6)
