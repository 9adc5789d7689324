"""RSMamba's encoder: Mamba's mixer over the patches of an image in three orders.

"RSMamba: Remote Sensing Image Classification with State Space Model", arXiv 2403.19654 (GRSL 2024), section II. Every
layer reads the patches forward, reversed and shuffled, with the same weights, and weighs the three by a gate.

The released code draws a new shuffle at every call, in evaluation too, so that its answers vary. Here training does so;
in evaluation every layer has one of its own, the same in every process and in an export. What does not depend on the
order (the norm, the projection before the scan and that after it) is computed once instead of three times: the three
sums that the last projection would map are weighed before it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.modules.layers.mamba import MambaMixer, MambaSizes, convert_mixer

_EPSILON = 1e-6
_ORDERS_SEED = 2024


@dataclass(frozen=True)
class RSMambaSizes:
    """Sizes of an RSMamba.

    Attributes:
        layers: how many there are.
        mixer: sizes of their mixers.
        patch: pixels of a patch's side.
        stride: pixels from one patch to the next; patches overlap where it is less than `patch`.
    """

    layers: int
    mixer: MambaSizes
    patch: int = 16
    stride: int = 8


BASE = RSMambaSizes(24, MambaSizes(192, 384, 12))
LARGE = RSMambaSizes(36, MambaSizes(256, 512, 16))
HUGE = RSMambaSizes(48, MambaSizes(320, 640, 20))


class RSMambaEncoder(nn.Module):
    """The patches, their positions and the layers, for square images of one size.

    Args:
        sizes: its sizes.
        image_size: side of the image in pixels, a multiple of the stride.

    Attributes:
        side: patches along a side of the image.
        orders: the shuffle of each layer in evaluation, int64 [layers, side²]: place t reads ``orders[layer, t]``.
        places: where each token lies in its layer's shuffle, int64 [layers, side²].
    """

    kind: ClassVar[str] = "an RSMamba of its authors"
    orders: Tensor
    places: Tensor

    def __init__(self, sizes: RSMambaSizes, image_size: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.side = image_size // sizes.stride
        width = sizes.mixer.width
        self.patches = nn.Conv2d(3, width, sizes.patch, sizes.stride, bias=False)
        self.positions = nn.Parameter(torch.empty(1, self.side**2, width))
        self.norm = nn.LayerNorm(width, _EPSILON)  # one for all layers
        self.layers = nn.ModuleList(Layer(sizes.mixer) for _ in range(sizes.layers))
        self.last_norm = nn.LayerNorm(width, _EPSILON)
        for name in ("orders", "places"):
            self.register_buffer(name, torch.empty(0, dtype=torch.int64), persistent=False)
        self.set_orders(fixed_orders(sizes.layers, self.side**2))
        nn.init.kaiming_normal_(self.patches.weight)
        nn.init.normal_(self.positions, std=0.02)

    def set_orders(self, orders: Tensor) -> None:
        """Sets the shuffles of evaluation, int64 [layers, side²]."""
        self.orders = orders.to(self.positions.device)
        self.places = self.orders.argsort(1)

    def tokens(self, image: Tensor) -> Tensor:
        """The tokens after the last layer and its norm.

        Args:
            image: normalised, float [B, 3, S, S].

        Returns:
            [B, side², width], row by row.
        """
        return self._run(image)[-1]

    def forward(self, image: Tensor) -> list[Tensor]:
        """The image's maps after each quarter of the layers, all of the same side; the last one is normed.

        Args:
            image: normalised, float [B, 3, S, S].

        Returns:
            Four of [B, width, side, side].
        """
        return [tokens.transpose(1, 2).unflatten(2, (self.side, self.side)) for tokens in self._run(image)]

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a checkpoint of the authors' or of an encoder like this; None for any other."""
        if is_rsmamba(state):
            below = {key.removeprefix(_BELOW): value for key, value in state.items() if key.startswith(_BELOW)}
            return dict(_converted(key, value) for key, value in below.items() if not key.startswith("ln2."))
        return dict(state) if {"positions", "last_norm.weight", "layers.0.mixer.state.A_log"} <= set(state) else None

    def _run(self, image: Tensor) -> list[Tensor]:
        border = self.sizes.patch - self.sizes.stride
        tokens = self.patches(F.pad(image, (0, border, 0, border))).flatten(2).transpose(1, 2) + self.positions
        orders, places = self.orders, self.places
        if self.training:
            orders = torch.rand(orders.shape, device=orders.device).argsort(1)
            places = orders.argsort(1)
        count, quarters = len(self.layers), []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, self.norm, orders[index], places[index])
            if (index + 1) * 4 // count > index * 4 // count:
                quarters.append(tokens)
        return [*quarters[:-1], self.last_norm(tokens)]


class Layer(nn.Module):
    """A mixer over the tokens in three orders, and a gate."""

    def __init__(self, sizes: MambaSizes) -> None:
        super().__init__()
        self.mixer = MambaMixer(sizes)
        self.gate = nn.Linear(3 * sizes.width, 3, bias=False)

    def forward(self, tokens: Tensor, norm: nn.Module, order: Tensor, place: Tensor) -> Tensor:
        """Adds what the three orders see.

        Args:
            tokens: [B, L, width].
            norm: before the mixer.
            order: int64 [L]; the third path's place t reads token ``order[t]``.
            place: int64 [L], the inverse of `order`.

        Returns:
            [B, L, width].
        """
        x, multiplier = self.mixer.gated(norm(tokens))
        three = torch.stack((x, x.flip(1), x.index_select(1, order))).flatten(0, 1)
        forward, backward, shuffled = self.mixer.scan(three).unflatten(0, (3, -1))
        shuffled = shuffled.index_select(1, place)
        paths = torch.stack((forward, backward.flip(1), shuffled), 1) * multiplier.unsqueeze(1)  # [B, 3, L, inner]
        means = self.mixer.out_proj(paths.mean(2))
        gates = self.gate(means.flatten(1)).softmax(1)
        return tokens + self.mixer.out_proj((paths * gates[:, :, None, None]).sum(1))


def fixed_orders(layers: int, tokens: int) -> Tensor:
    """A shuffle of so many tokens for each layer, int64 [layers, tokens], the same in every process."""
    generator = torch.Generator().manual_seed(_ORDERS_SEED)
    return torch.stack([torch.randperm(tokens, generator=generator, device="cpu") for _ in range(layers)])


_BELOW = "backbone."
_NAMES = {
    "pos_embed": "positions",
    "patch_embed.projection.weight": "patches.weight",
    "pre_norm.weight": "norm.weight",
    "pre_norm.bias": "norm.bias",
    "ln1.weight": "last_norm.weight",
    "ln1.bias": "last_norm.bias",
}


def is_rsmamba(state: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint is the authors', by the names of its entries."""
    return {"backbone.pos_embed", "backbone.gate_layers.0.0.weight", "backbone.layers.0.A_log"} <= set(state)


def _converted(name: str, value: Tensor) -> tuple[str, Tensor]:
    """An entry of the authors' backbone by our name and in our layout."""
    layer = re.fullmatch(r"layers\.(\d+)\.(.+)", name)
    if layer:
        name, value = convert_mixer(layer[2], value)
        return f"layers.{layer[1]}.mixer.{name}", value
    gate = re.fullmatch(r"gate_layers\.(\d+)\.0\.weight", name)
    return (f"layers.{gate[1]}.gate.weight" if gate else _NAMES.get(name, name)), value
