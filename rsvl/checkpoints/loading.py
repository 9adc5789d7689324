"""Fills models from checkpoints, all or nothing, and writes their weights."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import rsvl.models
from rsvl import __version__, registry
from rsvl.checkpoints.activation import follow_activation
from rsvl.checkpoints.extra_state import notes_of, restored
from rsvl.checkpoints.state_dicts import read_metadata, read_state_dict, weight_files
from rsvl.checkpoints.swin_bert import BERT, fit_swin_or_bert, has_swin_and_bert, holds_tokenizer
from rsvl.modules.encoders.clip_keys import (
    SCALE,
    TEXT_POSITIONS,
    VISION_POSITIONS,
    convert_clip,
    fit_positions,
    is_clip,
)
from rsvl.modules.encoders.clip_sizes import resized
from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import CheckpointError, UsageError

RANDOM = "random"
SHIPPED = Path(rsvl.models.__path__[0]) / "weights"
"""Where the weights that ship lie, one `NAME.safetensors` a preset."""

_ENCODERS = ("image_encoder.", "text_encoder.")
_COUNTER = ".num_batches_tracked"
_SHOWN = 3


def load(
    name: str,
    weights: str | Path | None = None,
    encoder_weights: str | Path | Sequence[str | Path] | None = None,
    tokenizer: str | Path | None = None,
) -> Any:
    """Builds a model by name, with weights, on the CPU and in evaluation mode.

    Its attribute `source` says where the weights came from, as manifests record it: `weights` (a file's name or
    ``random``) and `sha256`, and with encoder weights `encoder_weights` and `encoder_sha256`; several are joined by a
    comma.

    Args:
        name: a preset of the registry, such as ``cd2fsan``, or ``package.module:callable`` for a module of the user's
            own (see `rsvl.registry.create`), which keeps the weights that it is made with unless others are given.
        weights: a checkpoint of the whole model (see `load_weights`), or ``random`` for fresh weights. By default the
            weights that ship with the preset; where none ship, fresh ones with a warning.
        encoder_weights: one or several checkpoints for the encoders (see `load_encoder_weights`); the rest is fresh.
        tokenizer: for a model with a BERT, the folder, tokenizer.json or vocab.txt of that BERT. By default what was
            saved with the weights, or what lies in the folder of the BERT among the encoder weights.

    Raises:
        UsageError: no such preset, both whole weights and encoder weights given, or a tokenizer for a model that takes
            none.
        CheckpointError: the checkpoint cannot be read or is of another architecture.
        InputError: the tokenizer cannot be read or is of another vocabulary.
    """
    model = registry.create(name)
    if registry.is_own(name) and weights is None and not encoder_weights:
        model.source = {"weights": f"as {name} makes them"}
        return model.eval()
    if isinstance(encoder_weights, str | Path):
        encoder_weights = [encoder_weights]
    if weights is None:
        weights = _default_weights(name, encoder_weights)
    if str(weights) != RANDOM and encoder_weights:
        raise UsageError("weights of the whole model and encoder weights were both given: give one of them")
    model.source = {"weights": RANDOM}
    if str(weights) != RANDOM:
        load_weights(model, weights)
        model.source = {"weights": Path(weights).name, "sha256": _sha256(weights)}
    for path in encoder_weights or ():
        load_encoder_weights(model, path)
    if encoder_weights:
        model.source |= {
            "encoder_weights": ", ".join(Path(path).name for path in encoder_weights),
            "encoder_sha256": ", ".join(_sha256(path) for path in encoder_weights),
        }
    if tokenizer is not None:
        if not hasattr(model, "use_tokenizer"):
            raise UsageError(f"{name} brings its own tokenizer: leave --tokenizer out")
        model.use_tokenizer(tokenizer)
    return model.eval()


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fills a model from a checkpoint of it; a CLIP checkpoint fills its encoders, with a warning about the rest.

    A model that is a CLIP takes the sizes of the checkpoint's, where they are others (`clip_sizes`). What the model
    noted when the weights were saved (`notes`, such as the answers that it had learned to give) it takes up again
    (`restore`).

    Args:
        model: the model; its dtypes and devices stay.
        path: what `read_state_dict` reads.

    Raises:
        CheckpointError: unreadable or of another architecture; the model is then unchanged.
    """
    state = read_state_dict(path)
    if is_clip(state):
        with resized(model, convert_clip(state)):
            load_encoder_weights(model, path)
        if any(not key.startswith(_ENCODERS) and key != SCALE for key in model.state_dict()):
            warnings.warn(f"{path} holds CLIP's encoders only: the rest of the model stays as it was", stacklevel=2)
        return
    notes = read_metadata(path)
    written_for = notes.get("rsvl_model", "")
    with resized(model, _encoders_of_ours(state)), restored(model, notes):
        weights = model.state_dict()
        expected = {key: value for key, value in weights.items() if key in state or not key.endswith(_COUNTER)}
        _check_fit(state, expected, f"{path} ({written_for})" if written_for else str(path), _name(model))
    model.load_state_dict(state)


def load_encoder_weights(model: nn.Module, path: str | Path) -> None:
    """Fills a model's encoders (`image_encoder`, `text_encoder`) from a published checkpoint.

    CLIP encoders take an OpenAI, open_clip or Hugging Face file of both. A Swin and a BERT take a checkpoint each: the
    Swin its authors', timm's, torchvision's or Hugging Face's, its position biases fitted to the model's windows
    (`fit_windows`); the BERT a Hugging Face file or directory, whose tokenizer the model then uses.

    Of a CLIP, position embeddings are fitted to the model's image size and sentence length (`fit_positions`); a model
    that has a `logit_scale` gets that, too, and one whose image encoder is no CLIP takes the text encoder alone. A file
    that rsvl wrote for another model with CLIP encoders gives those.

    Args:
        model: the model; its dtypes and devices stay.
        path: what `read_state_dict` reads.

    Raises:
        CheckpointError: unreadable, not of the encoders' kind, of another architecture (patch size, width, layers), or
            the model has no such encoders; the model is then unchanged.
    """
    weights = model.state_dict()
    if has_swin_and_bert(weights):
        _load_swin_or_bert(model, path, weights)
        return
    vision, text = weights.get(f"image_encoder.{VISION_POSITIONS}"), weights.get(f"text_encoder.{TEXT_POSITIONS}")
    if text is None:
        raise CheckpointError(f"{_name(model)} has no CLIP encoders: give weights of the whole model instead")
    published = read_state_dict(path)
    try:
        state = convert_clip(_encoders_of_ours(published) or published)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is {error}") from None
    scale = state.pop(SCALE, None)
    taken = _ENCODERS if vision is not None else ("text_encoder.",)
    state = {key: value for key, value in state.items() if _place(key).startswith(taken)}
    state = fit_positions(state, vision_tokens=0 if vision is None else len(vision), text_tokens=len(text))
    state = {_place(key): value for key, value in state.items()}
    expected = {key: value for key, value in weights.items() if key.startswith(taken)}
    _check_fit(state, expected, str(path), f"the encoders of {_name(model)}")
    follow_activation(model, published, Path(path))
    if scale is not None and SCALE in weights:
        state[SCALE] = scale
    model.load_state_dict(state, strict=False)


def _load_swin_or_bert(model: Any, path: str | Path, weights: Mapping[str, Tensor]) -> None:
    published = read_state_dict(path)
    try:
        prefix, state = fit_swin_or_bert(published, weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path} is {error}") from None
    expected = {key: value for key, value in weights.items() if key.startswith(prefix)}
    _check_fit(state, expected, str(path), f"{prefix.rstrip('.')} of {_name(model)}")
    model.load_state_dict(state, strict=False)
    if prefix == BERT and holds_tokenizer(path):
        model.use_tokenizer(path)


def save_weights(
    model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Writes a model's parameters and buffers as safetensors; the file appears whole or not at all.

    Args:
        model: the model.
        path: the file to write.
        metadata: strings to store beside; the model's own `notes`, `rsvl_model` (the preset's name) and
            `rsvl_version` are added.
        dtype: stores the parameters in this type, such as ``torch.float16`` for a file of half the size; buffers
            (running statistics) keep theirs, and loading gives the model's own types again. What only counts the
            batches that a norm has seen is then left out.

    Raises:
        OutputError: the file cannot be written, such as on a full disk; what was there before is untouched.
    """
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if dtype is not None:
        tensors |= {key: tensors[key].to(dtype) for key, _ in model.named_parameters()}
        tensors = {key: value for key, value in tensors.items() if not key.endswith(_COUNTER)}
    notes = {**(metadata or {}), **notes_of(model), "rsvl_model": _name(model), "rsvl_version": __version__}
    with replacing(path) as unfinished:
        unfinished.write_bytes(safetensors.torch.save(tensors, notes))


def _default_weights(name: str, encoder_weights: Sequence[str | Path] | None) -> str | Path:
    shipped = SHIPPED / f"{name}.safetensors"
    if not encoder_weights and shipped.is_file():
        return shipped
    where = "everything but the encoders" if encoder_weights else name
    warnings.warn(f"no weights were given for {name}: {where} starts from random weights", stacklevel=3)
    return RANDOM


def _encoders_of_ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The CLIP encoders of a model that rsvl saved, in transformers' names; empty for other checkpoints."""
    return {key.split(".", 1)[1]: value for key, value in state.items() if key.startswith(_ENCODERS)}


def _name(model: nn.Module) -> str:
    spec: Any = getattr(model, "spec", None)
    return str(spec.name) if spec is not None else type(model).__name__


def _place(key: str) -> str:
    """Where a CLIP weight in transformers' names (or of a convolutional stem) belongs in a model."""
    if key.startswith(("vision_model.", "visual_projection.", "stem.")):
        return f"image_encoder.{key}"
    return f"text_encoder.{key}" if key.startswith(("text_model.", "text_projection.")) else key


def _check_fit(given: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str, target: str) -> None:
    """Raises a `CheckpointError` that names the keys and shapes that differ, if any do."""
    differing = [
        f"{key} is {list(value.shape)} and should be {list(expected[key].shape)}"
        for key, value in given.items()
        if key in expected and value.shape != expected[key].shape
    ]
    parts = [
        ("other shapes", differing),
        ("missing", [key for key in expected if key not in given]),
        ("unexpected", [key for key in given if key not in expected]),
    ]
    report = "; ".join(f"{what}: {_some(names)}" for what, names in parts if names)
    if report:
        raise CheckpointError(f"{source} does not fit {target} ({report}): give a checkpoint of the same architecture")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    for file in weight_files(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
