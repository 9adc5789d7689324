"""Tells relatives of CLIP by their tensors' names, whose towers compute something else than CLIP's transformers."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rsvl.runtime.errors import CheckpointError

_ADAPTER = re.compile(r"\.lora_(A|B|down|up)\b|\.lora_magnitude_vector\b")
# What a tower is, by the beginning of a name that only such a one has; where several do, the first.
_IMAGES = (
    (r"visual\.layer1\.", "a CLIP with a ResNet"),
    (r"visual\.trunk\.|visual\.head\.", "a CLIP whose image encoder is timm's (ConvNeXt, EVA, SigLIP, MobileCLIP)"),
    (r"image_encoder\.model\.", "a MobileCLIP, whose image encoder is a convolutional one"),
    (r"visual\.blocks\.", "an EVA-CLIP"),
    (r"vision_model\.head\.|vision_model\.embeddings\.patch_embedding\.bias$", "a SigLIP"),
    (r"visual_encoder\.", "a BLIP"),
)
_TEXT = (
    (r"text_decoder\.", "a CoCa, which has a decoder of text beside its encoders"),
    (r"text\.transformer\.encoder\.block\.|text\.transformer\.shared\.", "a CLIP whose text encoder is a T5"),
    (
        r"text\.transformer\.(embeddings|encoder)\.|text_model\.(roberta|embeddings\.word_embeddings)\b|bert\.",
        "a CLIP whose text encoder is a BERT or an XLM-R, as those of several languages",
    ),
)
# Text towers as CLIP's in their names and shapes, whose words attend to those behind them, too.
_BOTH_WAYS = r"image_encoder\.model\.network\.|visual\.trunk\.(?!patch_embed\.backbone\.)"
_NOT_BOTH_WAYS = r"visual\.trunk\.patch_embed\.backbone\."


def refuse_other_images(names: Iterable[str]) -> None:
    """Raises a `CheckpointError` where a file's image encoder is a relative of CLIP's vision transformer.

    Args:
        names: of its tensors.
    """
    _refuse(names, _IMAGES, "give one with CLIP's own vision transformer, as ViT-B/32")


def refuse_other_text(names: Iterable[str]) -> None:
    """Raises a `CheckpointError` where a file's text encoder is another than CLIP's, with a tokenizer of its own."""
    _refuse(names, _TEXT, "its words and tokens are not CLIP's; give one with CLIP's own text encoder")


def refuse_text_both_ways(names: Iterable[str]) -> None:
    """Raises a `CheckpointError` where a file's text encoder has no causal mask, as its image encoder gives away.

    Of Apple's models those with a convolutional image encoder have none, and neither has MobileCLIP2-L-14; MobileCLIP-B
    and MobileCLIP2-B have one.
    """
    names = list(names)
    if any(re.match(_BOTH_WAYS, name) for name in names) and not any(re.match(_NOT_BOTH_WAYS, name) for name in names):
        raise CheckpointError(
            "this is a CLIP whose image encoder is not CLIP's, and whose text encoder may attend in both directions, "
            "which its tensors do not tell: of Apple's models give MobileCLIP-B or MobileCLIP2-B"
        )


def _refuse(names: Iterable[str], kinds: tuple[tuple[str, str], ...], remedy: str) -> None:
    for name in names:
        if _ADAPTER.search(name):
            raise CheckpointError("this is an adapter (LoRA) and no model: merge it into its model, and give that")
        found = next((what for pattern, what in kinds if re.match(pattern, name)), None)
        if found is not None:
            raise CheckpointError(f"this is {found}: {remedy}")
