"""Which part of a file is the model's, where a training saved it below a name, or beside its loss and other modules."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from rsvl.checkpoints.fitting import some_of
from rsvl.checkpoints.state_dicts import AVERAGES, Checkpoint, without_wrappers
from rsvl.modules.bases.exportable import ENCODERS
from rsvl.runtime.errors import CheckpointError

_LOSS = re.compile(r"(criterion|criterions|loss|losses|loss_fn|loss_func)\.")
"""Entries of the modules that trainings compute their loss with, where they have any."""


def part_of(checkpoint: Checkpoint, fits: Callable[[Mapping[str, Tensor]], bool]) -> Checkpoint | None:
    """The tensors below the one name that fit, as a checkpoint: below Lightning's ``model.``, say, or ``net.module.``.

    What lies beside them is named in one line.

    Args:
        checkpoint: whose tensors do not fit as they are.
        fits: whether tensors do, by their names and shapes; they have no numbers.

    Returns:
        None where nothing fits.

    Raises:
        CheckpointError: tensors below several names do.
    """
    shapes = {key: value.to("meta") for key, value in checkpoint.tensors.items()}
    found = _below(shapes, fits)
    weights = [name for name in found if name.split(".")[0] not in AVERAGES] or found
    if not weights:
        return None
    if len(weights) > 1:
        raise CheckpointError(f"{checkpoint} holds the model below {' and '.join(weights)}: save one of them alone")
    prefix = f"{weights[0]}."
    left = [key for key in checkpoint.tensors if not key.startswith(prefix)]
    if left:
        warnings.warn(
            f"{checkpoint.path}: the tensors below {prefix} are taken, {len(left)} others are not ({some_of(left)})",
            stacklevel=4,
        )
    return replace(checkpoint, tensors=_group(checkpoint.tensors, weights[0]))


def without_losses(checkpoint: Checkpoint, expected: Mapping[str, Tensor]) -> Checkpoint:
    """A checkpoint without what belongs to its training's loss, which one line names.

    Args:
        checkpoint: any.
        expected: the model's own entries, which stay.
    """
    losses = [key for key in checkpoint.tensors if _LOSS.match(key) and key not in expected]
    if not losses:
        return checkpoint
    warnings.warn(f"{checkpoint.path}: {len(losses)} entries of a loss are left out ({some_of(losses)})", stacklevel=4)
    kept = {key: value for key, value in checkpoint.tensors.items() if key not in losses}
    return replace(checkpoint, tensors=kept)


def _below(state: Mapping[str, Tensor], fits: Callable[[Mapping[str, Tensor]], bool]) -> list[str]:
    """The names, or paths of names, below which tensors fit."""
    names = dict.fromkeys(key.split(".")[0] for key in state if "." in key)
    found: list[str] = []
    for name in names:
        group = _group(state, name)
        if name in ENCODERS:
            continue  # encoders of another model of rsvl
        if fits(group):
            found.append(name)
        elif 2 * len(group) > len(state) and group.keys() != state.keys():
            found += [f"{name}.{below}" for below in _below(group, fits)]
    return found


def _group(state: Mapping[str, Tensor], path: str) -> dict[str, Tensor]:
    """The tensors below a path of names, by the names that follow it."""
    prefix = f"{path}."
    return without_wrappers({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
