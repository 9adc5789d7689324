"""RSMamba's layer, which computes once what its three orders share, against the three orders computed apart."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from rsvl.modules.encoders.rsmamba import Layer, RSMambaEncoder, RSMambaSizes, fixed_orders
from rsvl.modules.layers.mamba import MambaSizes

SMALL = RSMambaSizes(4, MambaSizes(8, 16, 2, 4))


@torch.no_grad()
def test_a_layer_equals_its_mixer_over_each_order_and_a_gate_over_their_means() -> None:
    torch.manual_seed(0)
    layer, norm = Layer(SMALL.mixer).double(), torch.nn.LayerNorm(8).double()
    tokens, order = torch.randn(2, 9, 8, dtype=torch.float64), torch.randperm(9)
    seen: list[Tensor] = []
    for path in (torch.arange(9), torch.arange(9).flip(0), order):
        answer = layer.mixer(norm(tokens[:, path]))
        back = torch.empty_like(answer)
        back[:, path] = answer
        seen.append(back)
    gates = torch.cat([each.mean(1) for each in seen], 1) @ layer.gate.weight.T
    gates = gates.exp() / gates.exp().sum(1, keepdim=True)
    expected = tokens + sum(gates[:, i, None, None] * each for i, each in enumerate(seen))
    torch.testing.assert_close(layer(tokens, norm, order, order.argsort()), expected)


@torch.no_grad()
def test_shuffles_are_fixed_in_evaluation_and_new_in_training() -> None:
    torch.manual_seed(0)
    encoder, image = RSMambaEncoder(SMALL, 32), torch.randn(1, 3, 32, 32)
    again = copy.deepcopy(encoder)
    assert torch.equal(encoder.eval()(image)[-1], again.eval()(image)[-1])
    assert not torch.equal(encoder.train()(image)[-1], encoder(image)[-1])
    orders = fixed_orders(4, 16)
    assert torch.equal(encoder.orders, orders)
    assert all(torch.equal(order.sort()[0], torch.arange(16)) for order in orders)
    assert len({tuple(order.tolist()) for order in orders}) == 4


@torch.no_grad()
def test_patches_overlap_and_lie_row_by_row_with_zeros_beyond_the_lower_right_border() -> None:
    torch.manual_seed(0)
    encoder, image = RSMambaEncoder(RSMambaSizes(1, SMALL.mixer), 24).eval(), torch.randn(1, 3, 24, 24)
    encoder.layers[0].mixer.out_proj.weight.zero_()  # nothing is added to the patches
    padded = torch.zeros(1, 3, 32, 32)
    padded[:, :, :24, :24] = image
    corners = [(8 * row, 8 * column) for row in range(3) for column in range(3)]
    patches = [padded[:, :, row : row + 16, column : column + 16] for row, column in corners]
    tokens = torch.stack([(encoder.patches.weight * patch).sum((1, 2, 3)) for patch in patches]) + encoder.positions[0]
    torch.testing.assert_close(encoder.tokens(image)[0], encoder.last_norm(tokens), atol=1e-4, rtol=1e-4)


def test_maps_are_those_after_each_quarter_of_the_layers() -> None:
    encoder = RSMambaEncoder(RSMambaSizes(8, SMALL.mixer), 32).eval()
    maps = encoder(torch.zeros(2, 3, 32, 32))
    assert [tuple(each.shape) for each in maps] == [(2, 8, 4, 4)] * 4
    torch.testing.assert_close(maps[-1].flatten(2).mT, encoder.tokens(torch.zeros(2, 3, 32, 32)))
