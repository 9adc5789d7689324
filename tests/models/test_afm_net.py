"""AFM-Net's rotary places and its mixture of experts, against formulas that are written out anew."""

from __future__ import annotations

import numpy as np
import torch

from rsvl import registry
from rsvl.models.afm_net import AFMNet, Mixture, MixtureSizes
from rsvl.modules.encoders.afm import rotary, turned


def test_rotation_leaves_the_first_place_and_turns_pairs_by_row_and_column() -> None:
    side, width = 3, 8
    cosines, sines = rotary(side, width)
    x = torch.randn(1 + side**2, width, generator=torch.Generator().manual_seed(0))
    found = (x * cosines + turned(x) * sines).numpy()
    np.testing.assert_array_equal(found[0], x[0].numpy())
    for place in range(side**2):
        row, column = divmod(place, side)
        for pair in range(width // 2):
            angle = (row if pair < 2 else column) * 10000 ** (-2 * (pair % 2) / 4)
            turn = complex(x[1 + place, 2 * pair], x[1 + place, 2 * pair + 1]) * np.exp(1j * angle)
            np.testing.assert_allclose(found[1 + place, 2 * pair : 2 * pair + 2], [turn.real, turn.imag], atol=1e-6)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def test_mixture_weighs_the_likeliest_experts_by_their_own_probabilities_and_adds_the_shared_one() -> None:
    torch.manual_seed(0)
    mixture = Mixture(5, MixtureSizes(experts=6, inner=4, shared=7, chosen=2)).double().eval()
    x = torch.randn(3, 5, dtype=torch.float64)
    w1, w2, w3, gate = (w.detach().numpy() for w in (mixture.w1, mixture.w2, mixture.w3, mixture.gate.weight))
    s1, s2, s3 = (mixture.shared[name].weight.detach().numpy() for name in "123")
    found = mixture(x)[0].detach().numpy()
    for sample, vector in enumerate(x.numpy()):
        probability = np.exp(gate @ vector) / np.exp(gate @ vector).sum()
        expected = s2 @ (silu(s1 @ vector) * (s3 @ vector))
        for expert in np.argsort(-probability)[:2]:
            expected += probability[expert] * (w2[expert] @ (silu(w1[expert] @ vector) * (w3[expert] @ vector)))
        np.testing.assert_allclose(found[sample], expected, atol=1e-12)


def test_balance_is_one_per_chosen_expert_for_even_use_and_grows_with_preference() -> None:
    mixture = Mixture(4, MixtureSizes(experts=4, inner=2, shared=2, chosen=1)).train()
    with torch.no_grad():
        mixture.gate.weight.copy_(torch.eye(4) * 50)
    even, same = torch.eye(4), torch.eye(4)[[0, 0, 0, 0]]
    torch.testing.assert_close(mixture(even)[1], torch.tensor(1.0))
    torch.testing.assert_close(mixture(same)[1], torch.tensor(4.0))


def test_training_learns_from_every_part_that_an_answer_depends_on() -> None:
    torch.manual_seed(0)
    model: AFMNet = registry.create("afm-net-tiny").train()
    model(torch.randn(4, 3, 64, 64), torch.tensor([0, 1, 2, 3])).backward()
    idle = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert idle == set()
