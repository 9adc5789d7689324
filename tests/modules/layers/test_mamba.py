"""Mamba's mixer against its definition in float64, token by token."""

from __future__ import annotations

import numpy as np
import torch

from rsvl.modules.layers.mamba import MambaMixer, MambaSizes, State, convert_mixer

SIZES = MambaSizes(6, 10, 2, 3)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def reference(tokens: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    """One sequence [L, width], by the entries of a released checkpoint."""
    x, gate = np.split(tokens @ weights["in_proj.weight"].T, 2, axis=1)
    padded = np.concatenate([np.zeros((3, x.shape[1])), x])
    taps = weights["conv1d.weight"][:, 0]
    x = silu(np.stack([(padded[t : t + 4].T * taps).sum(1) for t in range(len(x))]) + weights["conv1d.bias"])
    step, write, read = np.split(x @ weights["x_proj.weight"].T, [2, 5], axis=1)
    dt = np.log1p(np.exp(step @ weights["dt_proj.weight"].T + weights["dt_proj.bias"]))
    state, y = np.zeros((10, 3)), np.empty_like(x)
    for t in range(len(x)):
        state = np.exp(dt[t][:, None] * -np.exp(weights["A_log"])) * state + np.outer(dt[t] * x[t], write[t])
        y[t] = state @ read[t] + weights["D"] * x[t]
    return (y * silu(gate)) @ weights["out_proj.weight"].T


def test_mixer_equals_its_definition_with_a_released_checkpoints_entries() -> None:
    rng = np.random.default_rng(0)
    shapes = {
        "A_log": (10, 3),
        "D": (10,),
        "conv1d.weight": (10, 1, 4),
        "conv1d.bias": (10,),
        "in_proj.weight": (20, 6),
        "x_proj.weight": (8, 10),
        "dt_proj.weight": (10, 2),
        "dt_proj.bias": (10,),
        "out_proj.weight": (6, 10),
    }
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    mixer = MambaMixer(SIZES).double()
    mixer.load_state_dict(dict(convert_mixer(name, torch.from_numpy(value)) for name, value in weights.items()))
    tokens = rng.standard_normal((2, 7, 6))
    y = mixer(torch.from_numpy(tokens)).detach().numpy()
    for sample in range(2):
        np.testing.assert_allclose(y[sample], reference(tokens[sample], weights), atol=1e-12)


def test_a_fresh_scan_has_mambas_rates_and_steps() -> None:
    torch.manual_seed(0)
    state = State(MambaSizes(4, 500, 1, 16))
    torch.testing.assert_close(state.A_log.exp(), torch.arange(1.0, 17).expand(500, 16))
    steps = torch.nn.functional.softplus(state.dt_proj.bias)
    assert 0.001 <= steps.min() < 0.002 and 0.05 < steps.max() <= 0.1001
