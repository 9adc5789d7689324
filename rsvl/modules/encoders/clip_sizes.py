"""How large a CLIP is, as far as the shapes of its weights tell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from rsvl.modules.encoders.clip_keys import TEXT_POSITIONS, VISION_POSITIONS

_PATCHES = "vision_model.embeddings.patch_embedding.weight"
_WORDS = "text_model.embeddings.token_embedding.weight"
_SHARED = "visual_projection.weight"


@runtime_checkable
class Resizable(Protocol):
    """A model that can become as large as a published CLIP."""

    def resized(self, sizes: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Has these sizes (`clip_sizes`) from now on; its earlier ones where the block raises a `CheckpointError`."""


@contextmanager
def resized(model: nn.Module, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Lets a model that can take the sizes of a CLIP's weights; where they do not fit after all, it is as it was.

    Args:
        model: any model; most have sizes of their own and keep them.
        state: the weights, in transformers' names.
    """
    sizes = clip_sizes(state) if isinstance(model, Resizable) else {}
    if isinstance(model, Resizable) and sizes:
        with model.resized(sizes):
            yield
    else:
        yield


def clip_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The sizes of a CLIP.

    Args:
        state: its weights, in transformers' names.

    Returns:
        `image_size` and `patch` in pixels, `tokens`, (width, layers) of `vision` and `text`, `vocabulary` and
        `embed_dim`; nothing where weights are missing that tell them. How many heads there are they do not tell.
    """
    if not {_PATCHES, _WORDS, _SHARED, VISION_POSITIONS, TEXT_POSITIONS} <= state.keys():
        return {}
    patch = state[_PATCHES].shape[-1]
    return {
        "image_size": patch * math.isqrt(len(state[VISION_POSITIONS]) - 1),
        "patch": patch,
        "tokens": len(state[TEXT_POSITIONS]),
        "vision": (state[_PATCHES].shape[0], _layers(state, "vision_model.encoder.layers.")),
        "text": (state[_WORDS].shape[1], _layers(state, "text_model.encoder.layers.")),
        "vocabulary": len(state[_WORDS]),
        "embed_dim": len(state[_SHARED]),
    }


def _layers(keys: Iterable[str], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in keys if key.startswith(prefix)})
