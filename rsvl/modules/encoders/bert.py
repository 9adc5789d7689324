"""BERT's words on the modules of transformers, with its layers at hand one by one; its published state dicts.

The state-dict keys below ``bert.`` are those of transformers' `BertModel` without its pooler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from transformers import BertConfig, BertModel


@dataclass(frozen=True)
class BertSizes:
    """Sizes of a BERT.

    Attributes:
        width: channels of a word.
        layers: number of layers.
        heads: attention heads of a layer.
        vocabulary: size of the token vocabulary; id 0 is padding.
        positions: the longest sentence that it has embeddings for.
        dropout: in training.
    """

    width: int
    layers: int
    heads: int
    vocabulary: int
    positions: int = 512
    dropout: float = 0.1


BERT_BASE = BertSizes(width=768, layers=12, heads=12, vocabulary=30522)
"""BERT-base, uncased."""


class BertWords(nn.Module):
    """BERT without its pooler.

    Args:
        sizes: its sizes.
    """

    kind: ClassVar[str] = "a BERT (of Hugging Face)"

    def __init__(self, sizes: BertSizes) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=sizes.vocabulary,
            hidden_size=sizes.width,
            intermediate_size=4 * sizes.width,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            max_position_embeddings=sizes.positions,
            hidden_dropout_prob=sizes.dropout,
            attention_probs_dropout_prob=sizes.dropout,
        )
        config._attn_implementation = "sdpa"
        self.bert = BertModel(config, add_pooling_layer=False)

    def forward(self, tokens: Tensor, bias: Tensor) -> Tensor:
        """Encodes sentences int64 [B, T] with their padding bias float [B, T] (`padding_bias`) → words [B, T, D]."""
        return self.layers(self.embed(tokens), bias)

    def embed(self, tokens: Tensor) -> Tensor:
        """The words before the first layer [B, T, D] of sentences int64 [B, T]."""
        return self.bert.embeddings(input_ids=tokens)

    def layers(self, words: Tensor, bias: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """Passes words [B, T, D] through the layers `first` to `last` - 1, counted from 0; by default through all."""
        for layer in self.bert.encoder.layer[first:last]:
            words = layer(words, bias[:, None, None, :].to(words.dtype))
        return words

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's weights from a published BERT (`convert_bert`); None where it is something else."""
        if not is_bert(state):
            return None
        positions = len(self.bert.embeddings.position_embeddings.weight)
        return {f"bert.{key}": value for key, value in convert_bert(state, positions).items()}


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
