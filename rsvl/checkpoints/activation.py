"""Which activation a CLIP's weights were trained with, as far as their files tell.

Weights trained with the other one fit in shape and silently give worse features.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from rsvl.modules.encoders.clip_keys import is_clip, is_openai
from rsvl.runtime.errors import CheckpointError


def activation_of(state: Mapping[str, Tensor], path: Path) -> str | None:
    """The activation that a published CLIP was trained with; None where nothing says it.

    Args:
        state: the checkpoint's tensors as they were read.
        path: its file or directory.

    Raises:
        CheckpointError: a configuration beside the weights is damaged.
    """
    if not is_clip(state):
        return None
    return _of_directory(path) or ("quick_gelu" if is_openai(state) else None)


def warn_of_another_activation(model: nn.Module, activation: str | None, path: Path) -> None:
    """Warns where a model's CLIP text encoder has another activation than the weights were trained with."""
    text = getattr(getattr(model, "text_encoder", None), "text_model", None)
    if activation is None or text is None or text.config.hidden_act == activation:
        return
    name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
    warnings.warn(
        f"{path} was trained with {activation}, {name} has {text.config.hidden_act}: its features will differ",
        stacklevel=4,
    )


def _of_directory(path: Path) -> str | None:
    """What the configuration beside the weights says, Hugging Face's or open_clip's."""
    hugging_face, open_clip = path / "config.json", path / "open_clip_config.json"
    if hugging_face.is_file():
        return str(_part(hugging_face, "vision_config").get("hidden_act", "quick_gelu"))
    if open_clip.is_file():
        return "quick_gelu" if _part(open_clip, "model_cfg").get("quick_gelu", False) else "gelu"
    return None


def _part(path: Path, name: str) -> dict[str, Any]:
    """An object within the JSON object of a file; empty where it has none of that name."""
    try:
        part = json.loads(path.read_text(encoding="utf-8")).get(name, {})
        if not isinstance(part, dict):
            raise ValueError(f"its {name} is no object")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a model's configuration ({error}): download it again"
        ) from error
    return part
