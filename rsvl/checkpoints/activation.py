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

from rsvl.checkpoints.extra_state import Noting
from rsvl.modules.encoders.clip_keys import is_openai
from rsvl.runtime.errors import CheckpointError


def follow_activation(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Gives a model the activation of a CLIP checkpoint that names it, or warns that the model has another.

    Args:
        model: a model with a CLIP `text_encoder`; one that notes its activation takes up the checkpoint's.
        state: the checkpoint's tensors as they were read.
        path: its file or directory.

    Raises:
        CheckpointError: a configuration beside the weights is damaged, or names an activation that no CLIP has.
    """
    theirs = _of_directory(path) or ("quick_gelu" if is_openai(state) else None)
    if theirs is None:
        return
    if isinstance(model, Noting):
        model.restore({"activation": theirs})
    ours: Any = model.get_submodule("text_encoder.text_model").config
    if theirs != ours.hidden_act:
        name = getattr(getattr(model, "spec", None), "name", type(model).__name__)
        warnings.warn(
            f"{path} was trained with {theirs}, {name} has {ours.hidden_act}: its features will differ", stacklevel=4
        )


def _of_directory(path: Path) -> str | None:
    """What the configuration beside the weights says, Hugging Face's or open_clip's."""
    theirs, open_clips = path / "config.json", path / "open_clip_config.json"
    if theirs.is_file():
        return str(_part(theirs, "vision_config").get("hidden_act", "quick_gelu"))
    if open_clips.is_file():
        return "quick_gelu" if _part(open_clips, "model_cfg").get("quick_gelu", False) else "gelu"
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
