"""A model of two graphs that exports in a moment."""

from __future__ import annotations

from torch import Tensor

from rsvl.modules.bases.exportable import ExportableModel
from rsvl.modules.layers.rotated_conv import RotatedConv2d
from rsvl.runtime.manifest import GraphSpec, ModelSpec, TensorSpec


class Chain(ExportableModel):
    """Two graphs: a number doubled, and a kernel rotated by it."""

    def __init__(self) -> None:
        super().__init__()
        x, twice = TensorSpec("x", ("batch", 6)), TensorSpec("twice", ("batch", 6))
        image, y = TensorSpec("image", ("batch", 3, 8, 8)), TensorSpec("y", ("batch", 1, 8, 8))
        graphs = (GraphSpec("text", (x,), (twice,)), GraphSpec("head", (image, twice), (y,)))
        self.spec = ModelSpec("chain", "turning", "none", (), None, graphs)
        self.conv = RotatedConv2d(3, 1, 3, bases=3)

    def encode_text(self, x: Tensor) -> tuple[Tensor]:
        return (2 * x,)

    def head(self, image: Tensor, twice: Tensor) -> tuple[Tensor]:
        theta, gate = twice.chunk(2, dim=-1)
        return (self.conv(image, theta, gate),)


def build() -> Chain:
    """As `rsvl export --model chain:build` calls it."""
    return Chain()
