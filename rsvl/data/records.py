"""The one inner form that every data set is converted into: images with the expressions that refer to parts of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

import numpy as np

from rsvl.runtime.errors import DatasetError


@dataclass(frozen=True)
class Referring:
    """One referred object (or group of objects, or nothing) of an image, with the sentences that name it.

    Attributes:
        ref_id: the data set's own id of this reference, unique in its split.
        sentences: the expressions, each of which names this object; at least one.
        category: the object's class name, or ``""`` where the data set gives none.
        bbox: (x, y, width, height) in pixels of the image, or None where the data set gives none.
        no_target: the sentences name nothing in the image; the mask is empty.
        object_id: equal for two references of an image that name the same object.
        segmentation: the mask as the data set stores it; read it through `ReferringDataset.mask`.
    """

    ref_id: int
    sentences: tuple[str, ...]
    category: str = ""
    bbox: tuple[float, float, float, float] | None = None
    no_target: bool = False
    object_id: Hashable = None
    segmentation: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ImageRecord:
    """One image of a split: its file, its size in pixels and all that is referred to in it."""

    path: Path
    width: int
    height: int
    referrings: tuple[Referring, ...]


class ReferringDataset(Sequence[ImageRecord], ABC):
    """One split of a data set: a sequence of `ImageRecord`, in the order of the published files.

    Attributes:
        name: the data set's name in `rsvl.data.DATASETS`.
        split: the split's name, such as ``train``.
        categories: the class names, sorted; empty where the data set has no classes.
    """

    name: str
    split: str
    categories: tuple[str, ...]

    @overload
    def __getitem__(self, index: int) -> ImageRecord: ...
    @overload
    def __getitem__(self, index: slice) -> list[ImageRecord]: ...
    def __getitem__(self, index: int | slice) -> ImageRecord | list[ImageRecord]:
        """The image at that position, or a list of images for a slice."""
        if isinstance(index, slice):
            return [self._record(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self._record(index % len(self))

    @property
    def sentence_count(self) -> int:
        """How many (image, sentence) pairs the split has; this is what the papers count as samples."""
        return sum(len(referring.sentences) for record in self for referring in record.referrings)

    def mask(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        """Decodes what the expressions refer to.

        Returns:
            bool [H, W] at the image's own size; all False for an expression that names nothing.

        Raises:
            DatasetError: the mask is damaged, missing, or not of the image's size.
        """
        if referring.no_target:
            return np.zeros((record.height, record.width), dtype=bool)
        mask = self._decode(record, referring)
        if mask.shape != (record.height, record.width):
            raise DatasetError(
                f"reference {referring.ref_id} of {record.path.name}: its mask is {mask.shape[1]}x{mask.shape[0]}, "
                f"the image {record.width}x{record.height}: the annotation belongs to another version of the image"
            )
        return mask

    def coverage(self, record: ImageRecord, referring: Referring) -> float:
        """The share of the image's pixels that the mask covers, 0…1 (decodes the mask)."""
        return float(self.mask(record, referring).mean())

    @abstractmethod
    def _record(self, index: int) -> ImageRecord:
        """The image at a position from 0 to len(self) - 1."""

    @abstractmethod
    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        """The mask of an expression that has a target, bool [H, W]."""


def inside(folder: Path, file_name: object) -> Path:
    """The path of a file that an annotation names, which must lie in its folder.

    Raises:
        DatasetError: not a name, absolute, or climbing out of the folder.
    """
    if not isinstance(file_name, str) or not file_name:
        raise DatasetError(f"an annotation names {file_name!r} as a file in {folder}: the annotation file is damaged")
    path = Path(file_name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"an annotation names {file_name!r}, which leads out of {folder}: refusing to read it")
    return folder / path
