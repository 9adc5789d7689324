"""Positions on a grid against the formula, one number at a time."""

import math

import pytest

from rsvl.modules.encoders.position import grid_position


@pytest.mark.parametrize(("width", "side"), [(4, 1), (8, 3), (12, 5)])
def test_grid_position_is_sines_and_cosines_of_x_then_of_y(width: int, side: int) -> None:
    found = grid_position(width, side)
    assert found.shape == (width, side, side)
    quarter = width // 4
    for channel in range(width):
        axis, rest = divmod(channel, 2 * quarter)
        function, power = divmod(rest, quarter)
        for y in range(side):
            for x in range(side):
                angle = (x, y)[axis] / 100 ** (power / quarter)
                expected = (math.sin, math.cos)[function](angle)
                assert float(found[channel, y, x]) == pytest.approx(expected, abs=1e-6)
