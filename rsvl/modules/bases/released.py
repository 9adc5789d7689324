"""LAVT's released checkpoints and those of the models after it: what they share of names and layouts.

Their files hold the network under ``model``, with Swin below ``backbone`` and BERT below ``text_encoder``, or BERT
apart under ``bert_model``, as LAVT's first ones do and LGCE's training does by default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rsvl.modules.encoders.bert import convert_bert
from rsvl.modules.encoders.swin import convert_swin
from rsvl.modules.key_rules import Rules, renamed
from rsvl.modules.layers.mask_decoder import MASK_DECODER_KEYS
from rsvl.modules.layers.pixel_word import PIXEL_WORD_KEYS

RELEASED_PARTS = frozenset({"backbone.cim.", "backbone.tmem.", "classifier.msb1.", "classifier.transformer_fusion1."})
"""By which of these a released checkpoint tells whose it is."""

FAMILY_KEYS: Rules = ((r"^backbone\.norm(\d)\.", r"norms.\1."), *MASK_DECODER_KEYS, *PIXEL_WORD_KEYS)

_SWIN = re.compile(r"backbone\.(?=patch_embed\.|layers\.\d\.(blocks|downsample)\.)")
_BERT = re.compile(r"(text_encoder|bert_model)\.")
_JOINED = re.compile(r"(.+)\.query&key_value\.(weight|bias)$")


def from_released(state: Mapping[str, Tensor], rules: Rules, model: Any) -> dict[str, Tensor]:
    """The tensors of a released checkpoint under our names, in our layouts; entries that have no place keep theirs.

    Args:
        state: the checkpoint's tensors.
        rules: renames what belongs to neither encoder. ``query&key_value`` stands for a matrix of all three, which
            becomes that of the queries and that of keys and values.
        model: what they are for, an `rsvl.modules.bases.early_fusion.EarlyFusionSegmenter`.
    """
    parts = dict(model.named_children())
    swin = {_SWIN.sub("", key): value for key, value in state.items() if _SWIN.match(key)}
    bert = {_BERT.sub("", key): value for key, value in state.items() if _BERT.match(key)}
    own = {f"image_encoder.{key}": value for key, value in convert_swin(swin).items()}
    own |= {f"text_encoder.bert.{key}": value for key, value in convert_bert(bert, model.preset.bert.positions).items()}
    for key, value in state.items():
        if not _SWIN.match(key) and not _BERT.match(key):
            name = renamed(key, rules)
            own.update(_entry(name, value) if name.split(".")[0] in parts else {key: value})
    return own


def _entry(key: str, value: Tensor) -> dict[str, Tensor]:
    """An entry in our layout: convolutions of one word or pixel are linear layers here, rotated kernels taps first."""
    if value.dim() == 3 and value.shape[-1] == 1:
        value = value[..., 0]
    if key.endswith(".conv.taps"):
        value = value.permute(0, 3, 4, 1, 2)
    joined = _JOINED.match(key)
    if joined is None:
        return {key: value}
    third = len(value) // 3
    name, kind = joined.groups()
    return {f"{name}.query.{kind}": value[:third], f"{name}.key_value.{kind}": value[third:]}
