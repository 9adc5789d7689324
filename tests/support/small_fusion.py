"""The early-fusion models in sizes for a test: every part is there, as in the full presets and as in the tiny ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rsvl import registry
from rsvl.modules.bases.early_fusion import EarlyFusionSegmenter
from rsvl.modules.encoders.bert import BertSizes
from rsvl.modules.encoders.swin import SwinSizes

NAMES = ("cadformer", "fianet", "lavt", "lgce", "rmsin")
TOKENS = 9
START, END = 1, 1023
SWIN = SwinSizes(embed=24, depths=(1, 2, 1, 1), heads=(1, 2, 2, 4), window=2, mlp_ratio=1)
BERT = BertSizes(width=24, layers=4, heads=2, vocabulary=1024, positions=TOKENS, dropout=0.0)
_COMMON: dict[str, Any] = {"image_size": 64, "tokens": TOKENS, "swin": SWIN, "bert": BERT, "decoder": (16, 12, 8)}
_STEM = {"": (), "-tiny": (12, 24)}


def small_preset(name: str, kind: str, **sizes: Any) -> Any:
    """A model's preset, full (kind "") or "-tiny", in small sizes; some of them others.

    A BERT without layers stays without, and a decoder as wide as the words stays so.
    """
    preset = registry.entry(name + kind).preset
    small = {**_COMMON, "stem": _STEM[kind], **sizes}
    if not preset.bert.layers:
        small["bert"] = replace(small["bert"], layers=0)
    if preset.decoder[0] == preset.bert.width:
        small["decoder"] = (small["bert"].width,) * 3
    return replace(preset, **small)


def small_model(name: str, kind: str = "", **sizes: Any) -> EarlyFusionSegmenter:
    """A model with random weights in every place, evaluation mode."""
    torch.manual_seed(0)
    entry = registry.entry(name + kind)
    model = entry.build("test", small_preset(name, kind, **sizes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)  # more would let rounding grow from layer to layer
    return model


def images(count: int) -> Tensor:
    """Noise."""
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def sentences(*words: list[int]) -> Tensor:
    """Token ids [N, 9] of sentences given by their words' ids."""
    rows = [[START, *ids, END] for ids in words]
    return torch.tensor([row + [0] * (TOKENS - len(row)) for row in rows])
