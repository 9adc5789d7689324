"""Fills models from checkpoints, all or nothing, and writes their weights."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

import rsvl.models
from rsvl import __version__, registry
from rsvl.checkpoints.fitting import COUNTER, adapted, check_finite, check_fit, name_of, some_of
from rsvl.checkpoints.following import saved_for, told_by
from rsvl.checkpoints.parts import part_of, without_losses
from rsvl.checkpoints.state_dicts import Checkpoint, read_checkpoint, weight_files
from rsvl.modules.bases.exportable import ENCODERS, ExportableModel
from rsvl.modules.encoders.published import PublishedEncoder
from rsvl.modules.tokenizers.bert import holds_bert_tokenizer
from rsvl.runtime.atomic import replacing
from rsvl.runtime.errors import CheckpointError, UsageError

RANDOM = "random"
SHIPPED = Path(rsvl.models.__path__[0]) / "weights"
"""Where the weights that ship lie, one `NAME.safetensors` a preset."""


def load(
    name: str,
    weights: str | Path | None = None,
    encoder_weights: str | Path | Sequence[str | Path] | None = None,
    tokenizer: str | Path | None = None,
    ema: bool = False,
) -> Any:
    """Builds a model by name, with weights, on the CPU and in evaluation mode.

    Its attribute `source` says where the weights came from, as manifests record it: `weights` (a file's name or
    ``random``) and `sha256`, `ema` where it is their moving average, and with encoder weights `encoder_weights` and
    `encoder_sha256`; several are joined by a comma.

    Args:
        name: a preset of the registry, such as ``cd2fsan``, or ``package.module:callable`` for a module of the user's
            own (see `rsvl.registry.create`), which keeps the weights that it is made with unless others are given.
        weights: a checkpoint of the whole model (see `load_weights`), or ``random`` for fresh weights. By default the
            weights that ship with the preset; where none ship, fresh ones with a warning.
        encoder_weights: one or several checkpoints for the encoders (see `load_encoder_weights`); the rest is fresh, or
            from `weights` where these lack the encoders whole, as of a model that is published without its text tower.
        tokenizer: for a model with a BERT, the folder, tokenizer.json or vocab.txt of that BERT. By default what was
            saved with the weights, or what lies in the folder of the BERT among the encoder weights.
        ema: take the moving average that lies beside the weights (`read_checkpoint`).

    Raises:
        UsageError: no such preset, encoder weights given beside weights that have the encoders, a tokenizer for a
            model that takes none, or a moving average without a checkpoint to take it from.
        CheckpointError: the checkpoint cannot be read or is of another architecture.
        InputError: the tokenizer cannot be read or is of another vocabulary.
    """
    if ema and weights in (None, RANDOM):
        raise UsageError("--ema takes the moving average of a checkpoint: give it with --weights")
    model = registry.create(name)
    if registry.is_user_factory(name) and weights is None and not encoder_weights:
        model.source = {"weights": f"as {name} makes them"}
        return model.eval()
    if isinstance(encoder_weights, str | Path):
        encoder_weights = [encoder_weights]
    if weights is None:
        weights = _default_weights(name, encoder_weights)
    model.source = {"weights": RANDOM}
    if str(weights) != RANDOM:
        load_weights(model, weights, ema, without_encoders=bool(encoder_weights))
        model.source = {"weights": Path(weights).name, "sha256": _sha256(weights)}
        model.source |= {"ema": "true"} if ema else {}
    filled = [name for path in encoder_weights or () for name in load_encoder_weights(model, path)]
    left = [name for name in _encoders(model) if name not in filled]
    if left and encoder_weights and str(weights) == RANDOM:
        warnings.warn(f"{name}: no file fills the {' and '.join(left)}, which starts from random weights", stacklevel=2)
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


def load_weights(model: nn.Module, path: str | Path, ema: bool = False, without_encoders: bool = False) -> None:
    """Fills a model from a checkpoint of it; one that holds its encoders only fills these, with a warning.

    Read are the model's own names, and the layouts in which others publish the model (`ExportableModel.published`) or
    its encoders. A model takes the checkpoint's sizes where it can (`ExportableModel.resized`), and the extra state
    that was saved with the weights, such as the answers that it had learned to give.

    Args:
        model: the model; its dtypes and devices stay.
        path: what `read_checkpoint` reads.
        ema: take the moving average that lies beside the weights (`read_checkpoint`).
        without_encoders: whether the checkpoint lacks encoders, which then stay as they are.

    Raises:
        CheckpointError: unreadable or of another architecture; the model is then unchanged.
        UsageError: it has all encoders although `without_encoders` says that it lacks some.
    """
    with _named(path):
        _fill_whole(model, read_checkpoint(path, ema), without_encoders)


@contextmanager
def _named(path: str | Path) -> Iterator[None]:
    """Names the file in errors of those who know its tensors only."""
    try:
        yield
    except CheckpointError as error:
        if str(path) in str(error):
            raise
        raise CheckpointError(f"{path}: {error}") from error


def _fill_whole(model: nn.Module, checkpoint: Checkpoint, without_encoders: bool) -> None:
    """Fills a model from a checkpoint of it, see `load_weights`."""
    path, own = checkpoint.path, model.state_dict()
    state = _published(model, checkpoint.tensors)
    if state is not None:
        _fill_published(model, checkpoint, state, without_encoders)
    elif not checkpoint.tensors.keys().isdisjoint(own):
        checkpoint = without_losses(checkpoint, own)
        _fill(model, checkpoint, checkpoint.tensors, _given_apart(model, checkpoint.tensors, without_encoders))
    elif encoders := _published_encoders(model, checkpoint.tensors):
        _fill_encoders(model, checkpoint, encoders)
        warnings.warn(f"{path} holds encoders only: the rest of the model stays as it was", stacklevel=3)
    elif part := part_of(checkpoint, lambda tensors: _is_of(model, tensors)):
        _fill_whole(model, part, without_encoders)
    elif others := registry.readers(checkpoint.tensors):
        raise CheckpointError(
            f"{path} is a checkpoint of {' or '.join(others)}, not of {name_of(model)}: use --model {others[0]}"
        )
    else:
        _fill(model, checkpoint, checkpoint.tensors)


def load_encoder_weights(model: nn.Module, path: str | Path) -> list[str]:
    """Fills a model's encoders (`image_encoder`, `text_encoder`) from a published checkpoint.

    Each encoder says which published layouts it reads (`PublishedEncoder`) and fits them to its own image size, windows
    or sentence length. CLIP encoders take a file of both, or one of them where the model has one. A Swin and a BERT
    take a checkpoint each; from the directory of a BERT the model takes the tokenizer, too. A file that rsvl wrote
    for another model gives the encoders that the two share. What a model that is nothing but its encoders adds to
    them, such as a CLIP's `logit_scale`, is filled with them.

    Args:
        model: the model; its dtypes and devices stay.
        path: what `read_checkpoint` reads.

    Returns:
        The names of the encoders that it has filled.

    Raises:
        CheckpointError: unreadable, not of the encoders' kind, of another architecture (patch size, width, layers), or
            the model has no such encoders; the model is then unchanged.
    """
    with _named(path):
        return _fill_from_encoders(model, read_checkpoint(path))


def _fill_from_encoders(model: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Fills a model's encoders, see `load_encoder_weights`."""
    path, state = checkpoint.path, _published(model, checkpoint.tensors)
    if state is not None:
        _fill_published(model, checkpoint, state)
        return list(_encoders(model))
    kinds = dict.fromkeys(encoder.kind for encoder in _encoders(model).values())
    if not kinds:
        raise CheckpointError(f"{name_of(model)} has no encoders that are published: give weights of the whole model")
    encoders = _published_encoders(model, checkpoint.tensors, of_rsvl=True)
    part = None if encoders else part_of(checkpoint, lambda tensors: bool(_published_encoders(model, tensors)))
    if part is not None:
        return _fill_from_encoders(model, part)
    if not encoders:
        what = f"neither {' nor '.join(kinds)}" if len(kinds) > 1 else f"not {next(iter(kinds))}"
        raise CheckpointError(
            f"{path} is {what} (its keys: {some_of(list(checkpoint.tensors))}): give the published weights of one"
        )
    _fill_encoders(model, checkpoint, encoders)
    return list(encoders)


def save_weights(
    model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None, dtype: torch.dtype | None = None
) -> None:
    """Writes a model's parameters and buffers as safetensors; the file appears whole or not at all.

    Args:
        model: the model.
        path: the file to write.
        metadata: strings to store beside; the model's `extra_state`, `rsvl_model` (the preset's name) and
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
        tensors = {key: value for key, value in tensors.items() if not key.endswith(COUNTER)}
    extra = model.extra_state() if isinstance(model, ExportableModel) else {}
    beside = {**(metadata or {}), **extra, "rsvl_model": name_of(model), "rsvl_version": __version__}
    with replacing(path) as unfinished:
        _write_in_order(unfinished, safetensors.torch.save(tensors, beside))


def _write_in_order(path: Path, data: bytes) -> None:
    """Writes safetensors with its metadata sorted, which the library orders at random: equal weights, equal bytes."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(data)[end:])


def _published(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    return model.published(state) if isinstance(model, ExportableModel) else None


def _is_of(model: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether tensors are a model's: in a layout that others publish, or at least half of its own."""
    own = model.state_dict().keys()
    return _published(model, state) is not None or 2 * len(own & state.keys()) >= len(own) > 0


def _encoders(model: nn.Module) -> dict[str, PublishedEncoder]:
    """A model's encoders that read their own published checkpoints, by their names."""
    found = {name: getattr(model, name, None) for name in ENCODERS}
    return {name: encoder for name, encoder in found.items() if isinstance(encoder, PublishedEncoder)}


def _published_encoders(
    model: nn.Module, state: Mapping[str, Tensor], of_rsvl: bool = False
) -> dict[str, dict[str, Tensor]]:
    """The state dicts of the encoders that a file holds, by their names.

    Args:
        model: whose encoders they are for.
        state: the file's tensors.
        of_rsvl: whether a file that rsvl wrote will do, which has the encoders below their names.
    """
    found = {}
    for name, encoder in _encoders(model).items():
        below = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        part = encoder.published(below if of_rsvl and below else state)
        if part is not None:
            found[name] = part
    return found


def _fill(
    model: nn.Module,
    checkpoint: Checkpoint,
    state: Mapping[str, Tensor],
    given_apart: Sequence[str] = (),
    published: bool = False,
) -> list[str]:
    """Fills a model, all or nothing, and sets the extra state that was saved with the weights.

    Args:
        model: the model.
        checkpoint: where the weights come from.
        state: the weights, in the model's names.
        given_apart: the encoders that the weights lack and that stay as they are.
        published: whether the file is in a layout of others. What lies beside it is then followed (`told_by`), and
            entries that have no place in the model are left out; otherwise they are an error.

    Returns:
        The entries that were left out.
    """
    apart = tuple(f"{name}." for name in given_apart)
    told = told_by(model, checkpoint, ENCODERS) if published else {}
    with adapted(model, state, {**told, **checkpoint.metadata}) as before:
        weights = model.state_dict()
        left = [key for key in state if published and key not in weights]
        state = {key: value for key, value in state.items() if key not in left}
        expected = {key: value for key, value in weights.items() if not apart or not key.startswith(apart)}
        check_fit(state, expected, str(checkpoint), name_of(model))
        check_finite(state, expected, str(checkpoint))
    model.load_state_dict(state, strict=False)
    _say_followed(checkpoint, told, before)
    assumed = [key for key in getattr(model, "from_data", ()) if key not in checkpoint.metadata]
    if assumed:
        warnings.warn(
            f"{checkpoint.path} does not say its {' and '.join(assumed)}: those of {name_of(model)} are assumed; the "
            "safetensors that rsvl train writes say them",
            stacklevel=4,
        )
    return left


def _say_followed(checkpoint: Checkpoint, told: Mapping[str, str], before: Mapping[str, str]) -> None:
    """One line of what a checkpoint and its configuration have changed in the model, if anything."""
    changed = [f"{key} is {value}, not {before[key]}" for key, value in told.items() if before.get(key, value) != value]
    if changed:
        warnings.warn(f"{checkpoint.path}: followed as it says: {'; '.join(changed)}", stacklevel=4)


def _fill_published(
    model: Any, checkpoint: Checkpoint, state: Mapping[str, Tensor], without_encoders: bool = False
) -> None:
    """Fills a model from a file of others, with a warning that names what has no place in it."""
    absent = _absent(model, state)
    if absent and not without_encoders:
        kind = _encoders(model)[absent[0]].kind
        raise CheckpointError(
            f"{checkpoint} lacks the {absent[0]} of {name_of(model)}: give it with --encoder-weights ({kind})"
        )
    left = _fill(model, checkpoint, state, _given_apart(model, state, without_encoders), published=True)
    unread = [key for key in left if re.match(model.unread, key)]
    unknown = [key for key in left if not re.match(model.unread, key)]
    kinds = (("that no output depends on", unread), ("unknown", unknown))
    named = "; ".join(f"{len(keys)} {kind} ({some_of(keys)})" for kind, keys in kinds if keys)
    if named:
        warnings.warn(f"{checkpoint.path}: entries left out, {named}", stacklevel=3)


def _absent(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Which of a model's encoders weights lack whole."""
    return [name for name in _encoders(model) if not any(key.startswith(f"{name}.") for key in state)]


def _given_apart(model: nn.Module, state: Mapping[str, Tensor], without_encoders: bool) -> list[str]:
    """The encoders that weights lack, where some are given beside them.

    Raises:
        UsageError: some are, and the weights lack none.
    """
    absent = _absent(model, state) if without_encoders else []
    if without_encoders and not absent:
        raise UsageError("weights of the whole model and encoder weights were both given: give one of them")
    return absent


def _fill_encoders(model: Any, checkpoint: Checkpoint, encoders: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Fills some of a model's encoders, all or nothing; a BERT's directory gives the model its tokenizer, too."""
    state = {f"{name}.{key}": value for name, part in encoders.items() for key, value in part.items()}
    prefixes = tuple(f"{name}." for name in encoders)
    told = told_by(model, checkpoint, tuple(encoders)) | saved_for(checkpoint, tuple(encoders))
    with adapted(model, state, told) as before:
        expected = {key: value for key, value in model.state_dict().items() if key.startswith(prefixes)}
        check_fit(state, expected, str(checkpoint), f"{' and '.join(encoders)} of {name_of(model)}")
        check_finite(state, expected, str(checkpoint))
    model.load_state_dict(state, strict=False)
    _say_followed(checkpoint, told, before)
    if "text_encoder" in encoders and hasattr(model, "use_tokenizer") and holds_bert_tokenizer(checkpoint.path):
        model.use_tokenizer(checkpoint.path)


def _default_weights(name: str, encoder_weights: Sequence[str | Path] | None) -> str | Path:
    shipped = SHIPPED / f"{name}.safetensors"
    if not encoder_weights and shipped.is_file():
        return shipped
    where = "everything but the encoders" if encoder_weights else name
    warnings.warn(f"no weights were given for {name}: {where} starts from random weights", stacklevel=3)
    return RANDOM


def _sha256(path: str | Path) -> str:
    digest = hashlib.sha256()
    for file in weight_files(path):
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
