"""Which of a model's Swin and BERT encoders a published checkpoint fills, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rsvl.modules.encoders.bert_keys import convert_bert, is_bert
from rsvl.modules.encoders.swin_keys import convert_swin, fit_windows, is_swin
from rsvl.runtime.errors import CheckpointError

SWIN, BERT = "image_encoder.", "text_encoder.bert."
_TOKENIZERS = ("tokenizer.json", "vocab.txt")
_POSITIONS = f"{BERT}embeddings.position_embeddings.weight"


def has_swin_and_bert(weights: Mapping[str, Tensor]) -> bool:
    """Whether a model's weights hold a `SwinEncoder` and a `BertWords` (`rsvl.modules.encoders`)."""
    return _POSITIONS in weights


def holds_tokenizer(path: str | Path) -> bool:
    """Whether a checkpoint is a directory with BERT's tokenizer beside the weights."""
    return any((Path(path) / name).is_file() for name in _TOKENIZERS)


def fit_swin_or_bert(state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> tuple[str, dict[str, Tensor]]:
    """A Swin's or a BERT's published weights at their places in a model, fitted to its windows or sentence length.

    Args:
        state: a checkpoint's tensors.
        weights: the model's own.

    Returns:
        What every key of the encoder starts with, and its weights.

    Raises:
        CheckpointError: the checkpoint is neither of the two.
    """
    if is_bert(state):
        return BERT, {f"{BERT}{key}": value for key, value in convert_bert(state, len(weights[_POSITIONS])).items()}
    if not is_swin(state):
        shown = ", ".join(list(state)[:3])
        raise CheckpointError(
            f"neither a Swin Transformer nor a BERT (its keys: {shown}, …): give weights that timm, torchvision or "
            "Hugging Face published"
        )
    placed = {f"{SWIN}{key}": value for key, value in convert_swin(state).items()}
    return SWIN, fit_windows(placed, weights)
