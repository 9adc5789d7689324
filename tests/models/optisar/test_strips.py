"""Strip convolutions against a sum over a row's and a column's places."""

from __future__ import annotations

import numpy as np
import torch

from rsvl.models.optisar.strips import StripConv


def test_strips_are_convolutions_along_rows_then_columns_with_a_kernel_a_group() -> None:
    torch.manual_seed(0)
    side, groups, channels = 4, 3, 6
    layer, x = StripConv(groups, side), torch.randn(2, side * side, channels)
    kernels, grid = layer.kernels.detach().double().numpy(), x.double().numpy().reshape(2, side, side, channels)
    rows, y = np.zeros_like(grid), np.zeros_like(grid)
    for channel in range(channels):
        row, column = kernels[:, channel // (channels // groups)]
        for to in range(side):
            for place in range(side):
                rows[:, :, to, channel] += row[to - place + side - 1] * grid[:, :, place, channel]
        for to in range(side):
            for place in range(side):
                y[:, to, :, channel] += column[to - place + side - 1] * rows[:, place, :, channel]
    np.testing.assert_allclose(layer(x).detach(), y.reshape(2, side * side, channels), atol=1e-5)
