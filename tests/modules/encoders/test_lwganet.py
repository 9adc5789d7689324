"""The parts of LWGANet that are computed otherwise than in the released code, against what that code computes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rsvl.modules.encoders.lwganet import (
    Block,
    LWGANetEncoder,
    LWGANetSizes,
    MediumRange,
    SelfAttention,
    maxima,
    unpool,
)

SMALL = LWGANetSizes(16, (1, 1, 1, 1), patch=2)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sheared(x: Tensor, weight: Tensor) -> Tensor:
    """The strip's convolution of a map whose row i was moved to the right by i, moved back."""
    side = x.shape[2]
    moved = x.new_zeros(*x.shape[:2], side, 2 * side - 1)
    for row in range(side):
        moved[:, :, row, row : row + side] = x[:, :, row]
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    seen = F.conv2d(moved, weight, padding=padding, groups=len(weight))
    return torch.stack([seen[:, :, row, row : row + side] for row in range(side)], 2)


@pytest.mark.parametrize("side", [19, 5, 3])
@torch.no_grad()
def test_one_kernel_equals_four_strips_two_of_them_on_sheared_maps(side: int) -> None:
    torch.manual_seed(0)
    layer, x = MediumRange(3).double(), drawn(2, 3, side, side)
    expected = (
        F.conv2d(x, layer.vertical, padding=(5, 1), groups=3)
        + F.conv2d(x, layer.horizontal, padding=(1, 5), groups=3)
        + sheared(x, layer.vertical_sheared)
        + sheared(x.mT, layer.horizontal_sheared.mT).mT
    )
    torch.testing.assert_close(F.conv2d(x, layer.kernel(), padding=6, groups=3), expected, rtol=0, atol=1e-13)


@torch.no_grad()
def test_the_blur_filters_reflected_maxima_and_the_gate_goes_to_the_nearest_place() -> None:
    torch.manual_seed(0)
    layer, x = MediumRange(2).double().eval(), drawn(1, 2, 10, 14)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    most = F.max_pool2d(x, 3, 1, 1)
    rows = [1, *range(10), 8, 7]  # reflected: one place above, two below
    columns = [1, *range(14), 12, 11]
    blurred = torch.stack(
        [
            torch.stack(
                [
                    sum(
                        taps[i] * taps[j] / 64 * most[..., rows[3 * r + i], columns[3 * c + j]]
                        for i in range(4)
                        for j in range(4)
                    )
                    for c in range(5)
                ],
                -1,
            )
            for r in range(4)
        ],
        -2,
    )
    gate = layer.norm(F.conv2d(blurred, layer.kernel(), padding=6, groups=2)).sigmoid()
    near = gate[:, :, [i * 4 // 10 for i in range(10)]][..., [j * 5 // 14 for j in range(14)]]
    torch.testing.assert_close(layer(x), x * near, rtol=0, atol=1e-12)


@pytest.mark.parametrize("values", [2, 1000], ids=["many ties", "few"])
def test_maxima_return_to_the_place_that_pytorchs_pooling_names_ties_included(values: int) -> None:
    x = torch.randint(values, (2, 3, 8, 10), generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    given = drawn(2, 3, 4, 5).requires_grad_()
    pooled, index = F.max_pool2d(x, 2, return_indices=True)
    expected = F.max_unpool2d(given, index, 2)
    ours, places = maxima(x)
    assert torch.equal(ours, pooled) and torch.equal(unpool(given, places), expected)
    weight = drawn(2, 3, 8, 10, seed=2)
    gradients = torch.autograd.grad((unpool(given * ours, places) * weight).sum(), (given, x))
    theirs = torch.autograd.grad((F.max_unpool2d(given * pooled, index, 2) * weight).sum(), (given, x))
    for found, right in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(found, right)


@torch.no_grad()
def test_attention_is_pytorchs_with_heads_of_four_channels() -> None:
    torch.manual_seed(0)
    ours, x = SelfAttention(8).double(), drawn(2, 8, 3, 5)
    theirs = torch.nn.MultiheadAttention(8, 2, bias=False, batch_first=True).double()
    theirs.in_proj_weight.copy_(ours.query_key_value.weight.flatten(1))
    theirs.out_proj.weight.copy_(ours.out.weight.flatten(1))
    tokens = x.flatten(2).transpose(1, 2)
    expected, _ = theirs(tokens, tokens, tokens)
    torch.testing.assert_close(ours(x), expected.transpose(1, 2).reshape(x.shape))


@torch.no_grad()
def test_each_group_of_channels_is_changed_by_its_own_range() -> None:
    torch.manual_seed(0)
    block = Block(SMALL, 3, 0.0).double().eval()
    block.norm.running_var.fill_(1 - block.norm.eps)
    block.mlp = torch.nn.Identity()  # what is added are the groups themselves
    x = drawn(1, 128, 4, 4)
    other = x.clone()
    other[:, 32:64, 0, 0] += 1  # the local group's corner
    changed = (block(other) - other - (block(x) - x)).abs().amax(0) > 1e-12
    assert not changed[:32].any() and not changed[64:].any()
    assert changed[32:64, :2, :2].any() and not changed[32:64, 2:].any()


def test_maps_of_an_image_that_is_no_square_have_the_sizes_strides() -> None:
    maps = LWGANetEncoder(SMALL).eval()(torch.zeros(1, 3, 64, 96))
    expected = [(1, c, 64 // s, 96 // s) for c, s in zip(SMALL.widths, SMALL.strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected


def test_stochastic_depth_leaves_whole_samples_out_and_scales_the_others() -> None:
    torch.manual_seed(0)
    block = Block(SMALL, 0, 0.5).train()
    kept = block._dropped(torch.ones(200, 16, 1, 1))
    assert set(kept.unique().tolist()) == {0.0, 2.0} and 0.3 < (kept[:, 0] > 0).float().mean() < 0.7
    assert torch.equal(block.eval()._dropped(kept), kept)
