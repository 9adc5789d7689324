"""What an encoder has that reads its own published checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class PublishedEncoder(Protocol):
    """An encoder that knows the layouts in which its weights are published.

    Attributes:
        kind: what such a file holds and who publishes it, as messages name it.
    """

    kind: ClassVar[str]

    def published(self, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """The encoder's own state dict from the tensors of a file; None where they are of something else."""
