"""Training batches: dataclasses whose fields are the keyword names of a model's forward pass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

Some = TypeVar("Some", bound="Batch")
Item = TypeVar("Item")


@dataclass
class Batch:
    """What a training step takes. Fields are joined along their first axis, but for those that are `shared`.

    Attributes:
        image_fields: the fields that hold images float [B, C, S, S], which an `image_index` counts.
        shared: the fields that are equal in all batches of a dataset.
    """

    image_fields: ClassVar[tuple[str, ...]] = ("images",)
    shared: ClassVar[tuple[str, ...]] = ()

    def arguments(self) -> dict[str, Any]:
        """The forward pass's keyword arguments."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def to(self: Some, device: torch.device) -> Some:
        """The batch on another device, images in the layout that convolutions are fast in."""
        moved = {k: v.to(device, non_blocking=True) for k, v in self.arguments().items() if isinstance(v, Tensor)}
        for name in self.image_fields:
            moved[name] = moved[name].contiguous(memory_format=torch.channels_last)
        return replace(self, **moved)


def join(parts: Sequence[Some]) -> Some:
    """Joins batches; each sentence's `image_index` is counted on."""
    first = parts[0]
    counts = [getattr(part, part.image_fields[0]).shape[0] for part in parts]
    joined = {}
    for each in fields(first):
        values = [getattr(part, each.name) for part in parts]
        if each.name == "image_index":
            values = [value + sum(counts[:index]) for index, value in enumerate(values)]
        joined[each.name] = values[0] if each.name in first.shared else torch.cat(values)
    return replace(first, **joined)


class TrainingSet(Dataset, ABC):
    """A dataset as batches of one image each, resampled in every epoch, reproducibly by the seed.

    Attributes:
        epoch: which epoch the next batches are for; the loop counts it on.
        can_augment: whether `augmented` varies the images.
    """

    epoch: int = 0
    can_augment: ClassVar[bool] = False

    @abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Batch:
        """A batch of one image."""

    def augmented(self, batch: Any, generator: torch.Generator) -> Any:
        """A batch with its images varied at random; as it is where the task has no way for that.

        Args:
            batch: several images' batches, joined.
            generator: where the randomness comes from.
        """
        return batch


def draw(items: Sequence[Item], count: int, *seed: int) -> list[Item]:
    """`count` of the items in random order, the same for the same seed; some repeat where there are fewer.

    A batch of constant size spares the convolutions of a new size's preparation.
    """
    rng = np.random.default_rng(seed)
    return [items[int(i)] for i in np.resize(rng.permutation(len(items)), count)]
