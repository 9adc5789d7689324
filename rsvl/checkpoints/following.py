"""What the configuration beside published weights changes in a model: its encoders' settings and its images' pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from rsvl.checkpoints.state_dicts import Checkpoint
from rsvl.modules.bases.exportable import IMAGE_ENCODER
from rsvl.modules.encoders.pixels import Pixels, check_shown_whole, told_of_pixels
from rsvl.modules.encoders.published import ConfiguredEncoder


def told_by(model: Any, checkpoint: Checkpoint, encoders: Sequence[str]) -> dict[str, str]:
    """What published weights and the configuration beside them say of a model, as its extra state.

    What a model keeps as its own although the configuration tells another, such as the size of its images, is said in
    one line.

    Args:
        model: the model to fill.
        checkpoint: tensors in a layout of others, and the configuration.
        encoders: which of the model's encoders it fills.

    Raises:
        CheckpointError: the configuration contradicts the weights, or says what the model cannot do.
    """
    told: dict[str, str] = {}
    kept: dict[str, int] = {}
    untold: dict[str, str] = {}
    for name in encoders:
        encoder = getattr(model, name, None)
        if isinstance(encoder, ConfiguredEncoder):
            said = encoder.told(checkpoint.tensors, checkpoint.configuration)
            told |= {f"{name}.{key}": value for key, value in said.settings.items()}
            kept |= said.kept
            untold |= {setting: encoder.settings()[setting] for setting in said.untold}
    if IMAGE_ENCODER in encoders and isinstance(getattr(model, IMAGE_ENCODER, None), ConfiguredEncoder):
        pixels = told_of_pixels(checkpoint.configuration)
        if pixels is not None:
            told |= _images(model, checkpoint, pixels, kept.get("image_size", 0))
    for setting, own in untold.items():
        if not checkpoint.metadata:
            warnings.warn(
                f"{checkpoint.path}: nothing tells the {setting} that it was trained with, {_name(model)} has {own}: "
                "give another preset, or the folder with its configuration, if that is not so",
                stacklevel=5,
            )
    if not getattr(model, "shows_as_encoder", False):
        _say_kept(model, checkpoint, kept)
    return told


def saved_for(checkpoint: Checkpoint, encoders: Sequence[str]) -> dict[str, str]:
    """What rsvl saved beside the weights of another model of the encoders that the two share, as extra state."""
    found: dict[str, str] = {}
    for name in encoders:
        if "activation" in checkpoint.metadata:  # a CLIP's, of earlier versions
            found[f"{name}.activation"] = checkpoint.metadata["activation"]
        found |= {key: value for key, value in checkpoint.metadata.items() if key.startswith(f"{name}.")}
    pixels = ("image_mean", "image_std") if IMAGE_ENCODER in encoders else ()
    return found | {key: checkpoint.metadata[key] for key in pixels if key in checkpoint.metadata}


def _name(model: Any) -> str:
    spec = getattr(model, "spec", None)
    return type(model).__name__ if spec is None else str(spec.name)


def _say_kept(model: Any, checkpoint: Checkpoint, theirs: Mapping[str, int]) -> None:
    """One line of the sizes that the model keeps as its own, to which position embeddings are fitted."""
    spec = getattr(model, "spec", None)
    if spec is None:
        return
    own = {"image_size": spec.images[0].size if spec.images else 0, "tokens": spec.text.tokens if spec.text else 0}
    words = {"image_size": "images of {} pixels", "tokens": "sentences of {} tokens"}
    kept = [f"{words[name].format(own[name])}, not {size}" for name, size in theirs.items() if own[name] != size]
    if kept:
        warnings.warn(
            f"{checkpoint.path}: {spec.name} keeps {' and '.join(kept)}: positions are fitted to that", stacklevel=5
        )


def _images(model: Any, checkpoint: Checkpoint, pixels: Pixels, image_size: int) -> dict[str, str]:
    """The preprocessing that the model takes of the published one."""
    told = {f"image_{name}": ", ".join(map(str, getattr(pixels, name))) for name in ("mean", "std")}
    if not model.shows_as_encoder:
        return told
    check_shown_whole(pixels, checkpoint.configuration, image_size)
    if pixels.shorter:
        warnings.warn(
            f"{checkpoint.path}: images that are not square are squeezed, while {pixels.file} cuts out their middle",
            stacklevel=6,
        )
    return told | {"image_resize": pixels.resize}
