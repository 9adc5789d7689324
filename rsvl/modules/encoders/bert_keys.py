"""BERT's published state dicts in the names of `rsvl.modules.encoders.bert`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_WORDS = "embeddings.word_embeddings.weight"
_POSITIONS = "embeddings.position_embeddings.weight"
# The heads of BERT's training, the pooler, and constants that old versions saved.
_NOT_WEIGHTS = re.compile(r"(cls|pooler|classifier)\.|embeddings\.(position_ids|token_type_ids)$")


def is_bert(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a BERT as Hugging Face publishes it."""
    return _WORDS in state or f"bert.{_WORDS}" in state


def convert_bert(state: Mapping[str, Tensor], positions: int) -> dict[str, Tensor]:
    """Renames the weights of a BERT to those of transformers' `BertModel` without its pooler.

    A ``bert.`` in front is taken off; a layer norm's ``gamma`` and ``beta`` (files from TensorFlow's time) become
    ``weight`` and ``bias``; the heads of its training and the pooler are left out. Position embeddings are cut to the
    first `positions`; they are never extended.
    """
    state = {key.removeprefix("bert."): value for key, value in state.items()}
    converted = {
        re.sub(r"\.beta$", ".bias", re.sub(r"\.gamma$", ".weight", key)): value
        for key, value in state.items()
        if not _NOT_WEIGHTS.match(key)
    }
    if _POSITIONS in converted:
        converted[_POSITIONS] = converted[_POSITIONS][:positions]
    return converted
