"""BERT's words on the modules of transformers, with its layers at hand one by one; its published state dicts.

The state-dict keys below ``bert.`` are those of transformers' `BertModel` without its pooler.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from transformers import BertConfig, BertModel

from rsvl.modules.encoders.published import (
    Configuration,
    Told,
    settings_of,
    transformer_settings,
    with_settings,
    with_weights_of,
)


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
        own = convert_bert(state, len(self.bert.embeddings.position_embeddings.weight))
        if not self.bert.encoder.layer:  # the embeddings alone
            own = {key: value for key, value in own.items() if key.startswith("embeddings.")}
        return {f"bert.{key}": value for key, value in own.items()}

    def told(self, state: Mapping[str, Tensor], configuration: Configuration) -> Told:
        """See `ConfiguredEncoder`; of Hugging Face's configuration."""
        described = configuration.files.get(_CONFIGURATION)
        return Told() if described is None else _told(state, configuration, described)

    def settings(self) -> dict[str, str]:
        """See `ConfiguredEncoder`: `heads`, `layer_norm_eps` and `activation`."""
        return settings_of(self.bert.config)

    def configure(self, settings: Mapping[str, str]) -> None:
        """See `ConfiguredEncoder`."""
        config = with_settings(self.bert.config, settings, ACTIVATIONS)
        if config is not None:
            self.bert = with_weights_of(self.bert, BertModel(config, add_pooling_layer=False))


ACTIVATIONS = ("gelu", "gelu_new", "relu")
"""Of the feed-forward layers, those that BERTs are published with."""

_CONFIGURATION = "config.json"


def _told(state: Mapping[str, Tensor], configuration: Configuration, described: Mapping[str, Any]) -> Told:
    kind = described.get("model_type")
    if kind not in (None, "bert"):
        raise configuration.refusal(_CONFIGURATION, f"model_type is {kind!r}, not 'bert': give weights of a BERT")
    try:
        config = BertConfig.from_dict(dict(described))
        settings = settings_of(config)
        transformer_settings(settings, config.hidden_size, ACTIVATIONS)
    except Exception as error:  # the library raises what it likes for values that it cannot use
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        problem = f"cannot be followed as a BERT's configuration ({reason}): give weights of a usual BERT"
        raise configuration.refusal(_CONFIGURATION, problem) from None
    for field, usual in (("position_embedding_type", "absolute"), ("is_decoder", False)):
        if (value := described.get(field, usual)) != usual:
            raise configuration.refusal(_CONFIGURATION, f"{field} is {value!r}, not {usual!r}: give a usual BERT")
    weights = _sizes(state)
    configuration.check(_CONFIGURATION, {field: getattr(config, field) for field in weights}, weights)
    return Told(settings)


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The sizes of a BERT by the names of its configuration's fields, as far as its weights tell them."""
    shapes = convert_bert(state, 1 << 30)
    found: dict[str, int] = {}
    if _WORDS in shapes:
        found["vocab_size"], found["hidden_size"] = shapes[_WORDS].shape
    if _POSITIONS in shapes:
        found["max_position_embeddings"] = len(shapes[_POSITIONS])
    layers = {key.split(".")[2] for key in shapes if key.startswith("encoder.layer.")}
    return found | ({"num_hidden_layers": len(layers)} if layers else {})


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
