"""The convolution of ``rsvl::RotatedConv2d`` with 3×3 kernels, in Winograd's form F(2×2, 3×3).

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.1. Each 2×2 tile of the output
comes from a 4×4 patch of the input, and patches overlap by two. With ``d`` a patch and ``g`` a kernel, the tile is

    ``Aᵀ · ((G·g·Gᵀ) ⊙ (Bᵀ·d·B)) · A``

summed over input channels before the last step: 16 products of matrices, one for each of a patch's points, instead of
9 with four times the columns, so 4/9 of the multiplications. To bring the kernels into that form costs next to nothing
here: ``G·g·Gᵀ`` is a linear map of the nine taps, as the rotation is, and the two are one small matrix. The map of the
patches is a strided convolution by constants, the map back one product by a constant: nothing is gathered tap by tap.

Points of a patch are sums of up to four values and in float16 need that much room: `rsvl.export.precision` leaves it.
Its float32 error is that of the direct form.
"""

from __future__ import annotations

import numpy as np

KERNEL_SIZE = 3
_TILE, _PATCH = 2, 4

_B_T = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
_A_T = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)


def convolution() -> str:
    """From x, taps and `turn` [B, 9, n·9] to y, as the text of ONNX nodes; `last_two` holds [-2, -1].

    The third dimension of the strided convolution is the channels, each alone: so its result, [B, 16, Cin, …], is
    already what the products take.
    """
    points = _PATCH**2
    patch_map = np.kron(_B_T, _B_T).reshape(points, 1, 1, _PATCH, _PATCH)
    return f"""
        kernel_map = Constant <value = {_tensor(np.kron(_G, _G))}> ()
        turn_of_points = MatMul (kernel_map, turn)
        turn_like_taps = CastLike (turn_of_points, taps)
        bases = Flatten <axis = 3> (taps)
        mixed = MatMul (turn_like_taps, bases)
        channels = Shape <start = 3> (taps)
        batch_and_points = Constant <value_ints = [0, {points}]> ()
        kernels_shape = Concat <axis = 0> (batch_and_points, channels)
        kernels_by_point = Reshape (mixed, kernels_shape)
        kernels = CastLike (kernels_by_point, x)

        patch_map_32 = Constant <value = {_tensor(patch_map)}> ()
        patch_map = CastLike (patch_map_32, x)
        one_axis = Constant <value_ints = [1]> ()
        x_deep = Unsqueeze (x, one_axis)
        patches = Conv <strides = [1, {_TILE}, {_TILE}], pads = [0, 1, 1, 0, {_TILE}, {_TILE}]> (x_deep, patch_map)
        merge_tiles = Constant <value_ints = [0, 0, 0, -1]> ()
        patches_flat = Reshape (patches, merge_tiles)

        products = MatMul (kernels, patches_flat)
        merge_last = Constant <value_ints = [0, 0, -1]> ()
        products_flat = Reshape (products, merge_last)
        tile_map_32 = Constant <value = {_tensor(np.kron(_A_T, _A_T))}> ()
        tile_map = CastLike (tile_map_32, x)
        tiles_flat = MatMul (tile_map, products_flat)

        batch = Constant <value_ints = [0]> ()
        merge = Constant <value_ints = [-1]> ()
        grid = Shape <start = 3> (patches)
        tiles_shape = Concat <axis = 0> (batch, merge, grid)
        tiles = Reshape (tiles_flat, tiles_shape)
        y_even = DepthToSpace <blocksize = {_TILE}, mode = "DCR"> (tiles)
        corner = Constant <value_ints = [0, 0]> ()
        size = Shape <start = 2> (x)
        y = Slice (y_even, corner, size, last_two)
    """


def _tensor(array: np.ndarray) -> str:
    """A float tensor in the text form of ONNX."""
    return f"float[{', '.join(map(str, array.shape))}] {{{', '.join(map(str, array.ravel()))}}}"
