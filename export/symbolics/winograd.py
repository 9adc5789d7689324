"""A 3×3 convolution in Winograd's form F(m×m, 3×3): fewer multiplications, by matrix products.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4. Each m×m tile of the output comes
from a patch of the input with two rows and columns more, and patches overlap by two. With ``d`` a patch and ``g`` a
kernel, the tile is

    ``Aᵀ · ((G·g·Gᵀ) ⊙ (Bᵀ·d·B)) · A``

summed over input channels before the last step: one product of matrices for each of a patch's points. For m = 2 that is
16 products instead of 9 with four times the columns, 4/9 of the multiplications; for m = 4 it is 36, and 1/4. To bring
kernels into that form is a linear map of their nine taps; where a rotation made them, it is one small matrix with it.
The map of the patches is a strided convolution by constants, the map back one product by a constant: nothing is
gathered tap by tap.

The three matrices evaluate polynomials at points and interpolate (Toom and Cook); which points decides the rounding
errors. Relative to the largest output, with 256 channels, float32: a plain sum 3e-7, m = 2 5e-7, m = 4 2e-6 with the
points below (1e-5 with Lavin and Gray's 0, ±1, ±2). float16 has no bits to spare for m = 4; for m = 2 a patch's points
are sums of up to four values and need that much room, which `rsvl.export.precision` leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import parser

KERNEL_SIZE = 3


@dataclass(frozen=True)
class Form:
    """F(m×m, 3×3).

    Attributes:
        tile: m.
        points: where the polynomials are evaluated, m + 1 numbers; the last point of all is infinity.
    """

    tile: int
    points: tuple[float, ...]

    @property
    def patch(self) -> int:
        """Rows and columns of a patch."""
        return self.tile + KERNEL_SIZE - 1

    def maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Bᵀ, G and Aᵀ for rows and columns together, float32: [p², p²], [p², 9] and [m², p²], p being `patch`."""
        inverse = np.linalg.inv(self._values(self.patch)).T
        exact_zeros = np.where(np.abs(inverse) < 1e-12, 0, inverse)
        scale = np.array([[row[row != 0][-1]] for row in exact_zeros])  # leaves short numbers where points are short
        maps = exact_zeros / scale, self._values(KERNEL_SIZE) * scale, self._values(self.tile).T
        patches, kernels, tiles = (np.kron(matrix, matrix).astype(np.float32) for matrix in maps)
        return patches, kernels, tiles

    def _values(self, coefficients: int) -> np.ndarray:
        """[p, n]: takes a polynomial's n coefficients to its values at the points; at infinity, to the highest one."""
        return np.vstack([np.vander(self.points, coefficients, increasing=True), np.eye(coefficients)[-1]])


HALF = Form(2, (0.0, 1.0, -1.0))
"""For graphs with float16 in them: its matrices hold 0, ±1/2 and ±1 only."""

SINGLE = Form(4, (0.0, 11 / 16, -11 / 16, 3 / 2, -3 / 2))
"""For graphs of float32. Of some dozen pairs of points, the one with the smallest errors."""


def function(attributes: dict[str, Any], opset: int, half: bool) -> onnx.FunctionProto:
    """Builds the body of ``rsvl::WinogradConv2d`` (x [B, Cin, H, W], taps [3, 3, Cout, Cin]) → y [B, Cout, H, W].

    It is a Conv with padding 1 and has no attributes; `rsvl.export.variants.winograd` puts it in a Conv's place. A
    runtime brings the taps into their form when it loads the model: in the file they are a Conv's weights.
    """
    form = HALF if half else SINGLE
    body = f"""
        last_two = Constant <value_ints = [-2, -1]> ()
        kernel_map = Constant <value = {_tensor(form.maps()[1])}> ()
        kernel_map_like = CastLike (kernel_map, taps)
        taps_flat = Flatten <axis = 2> (taps)
        mixed = MatMul (kernel_map_like, taps_flat)
        channels = Shape <start = 2> (taps)
        points = Constant <value_ints = [{form.patch**2}]> ()
        kernels_shape = Concat <axis = 0> (points, channels)
        kernels = Reshape (mixed, kernels_shape)
        {convolve(form)}
    """
    return parser.parse_function(
        f'<domain: "rsvl", opset_import: ["": {opset}]> WinogradConv2d (x, taps) => (y) {{{body}}}'
    )


def rotated_kernels(form: Form) -> str:
    """From taps [n, 3, 3, Cout, Cin] and `turn` [B, 9, n·9] to `kernels` [B, p², Cout, Cin], as text of ONNX nodes."""
    return f"""
        kernel_map = Constant <value = {_tensor(form.maps()[1])}> ()
        turn_of_points = MatMul (kernel_map, turn)
        turn_like_taps = CastLike (turn_of_points, taps)
        bases = Flatten <axis = 3> (taps)
        mixed = MatMul (turn_like_taps, bases)
        channels = Shape <start = 3> (taps)
        batch_and_points = Constant <value_ints = [0, {form.patch**2}]> ()
        kernels_shape = Concat <axis = 0> (batch_and_points, channels)
        kernels_by_point = Reshape (mixed, kernels_shape)
        kernels = CastLike (kernels_by_point, x)
    """


def convolve(form: Form) -> str:
    """From x and `kernels` [B or 1, p², Cout, Cin] to y, as the text of ONNX nodes; ``last_two`` holds [-2, -1].

    The third dimension of the strided convolution is the channels, each alone: so its result, [B, p², Cin, …], is
    already what the products take.
    """
    points, tile = form.patch**2, form.tile
    patch_map, _, tile_map = form.maps()
    return f"""
        patch_map_32 = Constant <value = {_tensor(patch_map.reshape(points, 1, 1, form.patch, form.patch))}> ()
        patch_map = CastLike (patch_map_32, x)
        one_axis = Constant <value_ints = [1]> ()
        x_deep = Unsqueeze (x, one_axis)
        patches = Conv <strides = [1, {tile}, {tile}], pads = [0, 1, 1, 0, {tile}, {tile}]> (x_deep, patch_map)
        merge_tiles = Constant <value_ints = [0, 0, 0, -1]> ()
        patches_flat = Reshape (patches, merge_tiles)

        products = MatMul (kernels, patches_flat)
        merge_last = Constant <value_ints = [0, 0, -1]> ()
        products_flat = Reshape (products, merge_last)
        tile_map_32 = Constant <value = {_tensor(tile_map)}> ()
        tile_map = CastLike (tile_map_32, x)
        tiles_flat = MatMul (tile_map, products_flat)

        batch = Constant <value_ints = [0]> ()
        merge = Constant <value_ints = [-1]> ()
        grid = Shape <start = 3> (patches)
        tiles_shape = Concat <axis = 0> (batch, merge, grid)
        tiles = Reshape (tiles_flat, tiles_shape)
        y_whole = DepthToSpace <blocksize = {tile}, mode = "DCR"> (tiles)
        corner = Constant <value_ints = [0, 0]> ()
        size = Shape <start = 2> (x)
        y = Slice (y_whole, corner, size, last_two)
    """


def _tensor(array: np.ndarray) -> str:
    """A float tensor in the text form of ONNX."""
    return f"float[{', '.join(map(str, array.shape))}] {{{', '.join(map(str, array.ravel()))}}}"
