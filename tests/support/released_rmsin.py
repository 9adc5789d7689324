"""A small RMSIN's weights under the names and in the layouts of its authors' checkpoint."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from rsvl.models.rmsin import RMSIN
from rsvl.modules.bases.released import FAMILY_KEYS, from_released
from rsvl.modules.layers.adaptive_rotation import ADAPTIVE_ROTATION_KEYS

State = dict[str, Tensor]
_LAYOUT = re.compile(r"backbone\.(patch_embed|layers\.0\.downsample)\.")


def released_state(model: RMSIN, names: State) -> State:
    """A released checkpoint's entries with a small model's weights.

    Args:
        model: it has fewer blocks and channels than the released one.
        names: the released entries, of which names and dimensions count.
    """
    weights, released = model.state_dict(), {}
    for name, full in names.items():
        own = _own_names(model, name, names)
        if own and all(key in weights for key in own):
            value = torch.cat([weights[key] for key in own]) if len(own) > 1 else weights[own[0]]
            released[name] = value.permute(0, 3, 4, 1, 2) if full.dim() == 5 else _with_dimensions(value, full.dim())
        elif re.match(model.unread, name):
            released[name] = torch.zeros(full.dim() * (1,))
    return released


def _own_names(model: RMSIN, name: str, names: State) -> list[str]:
    """What an entry becomes; beside it lie those by which Swin's layout is told."""
    rules = (*model.released_keys, *FAMILY_KEYS, *ADAPTIVE_ROTATION_KEYS)
    others = {key: value for key, value in names.items() if _LAYOUT.match(key) and key != name}
    without = from_released(others, rules, model)
    return [key for key in from_released({**others, name: names[name]}, rules, model) if key not in without]


def _with_dimensions(value: Tensor, count: int) -> Tensor:
    """A linear layer's matrix as a convolution of one pixel or word, where it is one there."""
    return value.reshape((*value.shape, *(1,) * (count - value.dim())))
