"""BERT's words on the modules of transformers, with its layers at hand one by one.

The state-dict keys below ``bert.`` are those of transformers' `BertModel` without its pooler.
"""

from __future__ import annotations

from dataclasses import dataclass

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
