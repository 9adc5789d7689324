"""What Hugging Face's and timm's configurations say of a Swin Transformer, held against its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor
from transformers import SwinConfig

from rsvl.modules.encoders.published import Configuration, Told, transformer_settings

ACTIVATIONS = ("gelu",)
"""Of the feed-forward layers, those that Swin Transformers are published with."""

_FILE = "config.json"
_TABLE = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\..*\.relative_position_bias_table$")


def told_of_swin(state: Mapping[str, Tensor], configuration: Configuration) -> Told:
    """What is said of a Swin Transformer: `layer_norm_eps` and `activation`.

    Args:
        state: its weights, in the names of `SwinEncoder`.
        configuration: what lies beside them.

    Raises:
        CheckpointError: a configuration that is damaged, contradicts the weights or is of another model.
    """
    described = configuration.files.get(_FILE)
    if described is None:
        return Told()
    kind, architecture = described.get("model_type"), described.get("architecture")
    if isinstance(architecture, str) and not architecture.startswith("swin_"):
        raise configuration.refusal(_FILE, f"architecture is {architecture!r}: give weights of a Swin Transformer")
    if isinstance(architecture, str):
        return Told()  # timm's, which has one Swin Transformer only
    if kind not in (None, "swin"):
        raise configuration.refusal(_FILE, f"model_type is {kind!r}, not 'swin': give weights of a Swin Transformer")
    return _hugging_face(state, configuration, described)


def _hugging_face(state: Mapping[str, Tensor], configuration: Configuration, described: Mapping[str, Any]) -> Told:
    try:
        config = SwinConfig.from_dict(dict(described))
        settings = {"layer_norm_eps": str(config.layer_norm_eps), "activation": str(config.hidden_act)}
        transformer_settings(settings, config.embed_dim, ACTIVATIONS)
    except Exception as error:  # the library raises what it likes for values that it cannot use
        reason = (str(error).splitlines() or [type(error).__name__])[-1].strip()
        problem = f"cannot be followed as a Swin Transformer's configuration ({reason}): give weights of a usual one"
        raise configuration.refusal(_FILE, problem) from None
    heads = {(int(m[1]), int(m[2])): value.shape[1] for key, value in state.items() if (m := _TABLE.match(key))}
    stages = sorted({stage for stage, _ in heads})
    weights = {
        "depths": [sum(stage == found for found, _ in heads) for stage in stages],
        "num_heads": [heads[stage, 0] for stage in stages if (stage, 0) in heads],
        "qkv_bias": any(key.endswith("q_proj.bias") for key in state),
        "use_absolute_embeddings": any("position_embeddings" in key for key in state),
    }
    told = {field: getattr(config, field) for field in weights}
    told = {field: list(value) if isinstance(value, tuple) else value for field, value in told.items()}
    configuration.check(_FILE, told, weights)
    return Told(settings)
