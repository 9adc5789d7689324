"""What a model notes beside its weights because their names and shapes do not tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from torch import nn

from rsvl.runtime.errors import CheckpointError


@runtime_checkable
class Noting(Protocol):
    """A model whose declaration came in part from its training: its answers, or its activation."""

    def notes(self) -> dict[str, str]:
        """What to save beside the weights."""

    def restore(self, notes: Mapping[str, str]) -> None:
        """Takes up what `notes` gave; other entries are passed over."""


def notes_of(model: nn.Module) -> dict[str, str]:
    """What the model notes; nothing for a model that has nothing to note."""
    return model.notes() if isinstance(model, Noting) else {}


@contextmanager
def restored(model: nn.Module, notes: Mapping[str, str]) -> Iterator[None]:
    """Lets the model take up what was noted; where the block finds that the weights do not fit, it is as it was.

    Raises:
        CheckpointError: the notes are damaged.
    """
    if not isinstance(model, Noting):
        yield
        return
    before, weights = model.notes(), model.state_dict()  # the weights themselves, not copies
    try:
        model.restore(notes)
    except ValueError as error:
        raise CheckpointError(f"the checkpoint's notes of its model are damaged ({error}): save it anew") from None
    try:
        yield
    except CheckpointError:
        model.restore(before)
        model.load_state_dict(weights)
        raise
