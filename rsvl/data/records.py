"""The inner forms that datasets are converted into: one record per image, by kind of label.

Expressions that refer to parts of images (`ReferringDataset`: segmentation and grounding), questions with answers
(`QuestionDataset`), scene classes (`ClassificationDataset`) and captions (`CaptionDataset`). Each is a `Split`: a
sequence of records in the order of the published files.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, overload

import numpy as np

from rsvl.data.files import image_size
from rsvl.data.views import View
from rsvl.runtime.errors import DatasetError

Record = TypeVar("Record")
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the image."""


@dataclass(frozen=True)
class Referring:
    """One referred object (or group of objects, or nothing) of an image, with the sentences that name it.

    Attributes:
        ref_id: the dataset's own id of this reference, unique in its split.
        sentences: the expressions, each of which names this object; at least one.
        category: the object's class name, or ``""`` where the dataset gives none.
        bbox: (x, y, width, height) in pixels of the image, or None where the dataset gives none.
        no_target: the sentences refer to nothing in the image; the mask is empty.
        object_id: equal for two references of an image that name the same object.
        segmentation: the mask as the dataset stores it; read it through `ReferringDataset.mask`.
        boxes: of each object, where the sentences name several; `bbox` is around all of them then.
    """

    ref_id: int
    sentences: tuple[str, ...]
    category: str = ""
    bbox: Box | None = None
    no_target: bool = False
    object_id: Hashable = None
    segmentation: Any = field(default=None, repr=False, compare=False)
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True)
class ImageRecord:
    """One image of a split: its file, its size in pixels and all that is referred to in it.

    `sensor` says what took it: ``optical`` or ``sar``. With a `view`, only that of the file is seen, and sizes, boxes
    and masks are in pixels of the view. `part` is which part of a mixture of datasets it is from.
    """

    path: Path
    width: int
    height: int
    referrings: tuple[Referring, ...]
    sensor: str = "optical"
    view: View | None = None
    part: int = 0


@dataclass(frozen=True, slots=True)
class Question:
    """A question about an image and its answer; `type` is the kind of question, as the dataset calls it.

    `objects` are those of the record, by index, that one must look at to answer: to train on. Empty where the dataset
    does not say.
    """

    question_id: int
    text: str
    answer: str
    type: str
    objects: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class OutlinedObject:
    """An object of an image: its class and the corners (x, y) of its outline in pixels, which may lie outside."""

    category: str
    outline: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class QuestionRecord:
    """What is asked about one place: its optical and its SAR image, either of which may be absent, and questions.

    `width` and `height` are the images' size in pixels; a pair is of one size. `condition` is what the dataset says
    of the optical image, such as ``cloudy``; empty where it says nothing. `objects` are those that it outlines, to
    train on and not to answer from; None where it outlines none in any image.
    """

    optical: Path | None
    sar: Path | None
    width: int
    height: int
    questions: tuple[Question, ...]
    condition: str = ""
    objects: tuple[OutlinedObject, ...] | None = None


QuestionEntry = tuple[Path | None, Path | None, tuple[Question, ...], str, tuple[OutlinedObject, ...] | None]
"""What a `QuestionRecord` is made of except the images' size: optical, SAR, questions, condition, objects."""


@dataclass(frozen=True)
class LabelledImage:
    """An image and the name of its scene class, in words that can stand in a sentence."""

    path: Path
    label: str


@dataclass(frozen=True)
class CaptionedImage:
    """An image and the sentences that describe it, at least one."""

    path: Path
    sentences: tuple[str, ...]


class Split(Sequence[Record], ABC, Generic[Record]):
    """One split of a dataset: a sequence of records, one per image, in the order of the published files.

    A subclass sets `_records`; where its entries are not the records themselves, it makes them in `_record`.

    Attributes:
        name: the dataset's name in `rsvl.data.DATASETS`.
        split: the split's name, such as ``train``.
    """

    name: str
    split: str
    _records: Sequence[Any]

    def __len__(self) -> int:
        """How many images the split has."""
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        """The record at that position, or a list of records for a slice."""
        if isinstance(index, slice):
            return [self._record(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return self._record(index % len(self))

    def _record(self, index: int) -> Record:
        """The record at a position from 0 to len(self) - 1."""
        return cast(Record, self._records[index])


class ReferringDataset(Split[ImageRecord]):
    """One split of a dataset whose sentences refer to parts of its images.

    Attributes:
        categories: the class names, sorted; empty where the dataset has no classes.
        has_masks: whether there are masks, not boxes alone.
        makes_sentences: whether `viewed` can make an image's sentences anew, so that a view may turn it and cut it.
    """

    categories: tuple[str, ...]
    has_masks: bool = True
    makes_sentences: bool = False

    def varied(self, index: int, rng: np.random.Generator) -> ImageRecord:
        """An image to train on, the same for the same randomness; unless the dataset is augmented, as it is."""
        return self[index]

    def viewed(self, index: int, view: View, rng: np.random.Generator) -> ImageRecord:
        """What a view of an image shows; only whole images, where the dataset makes no sentences."""
        return replace(self[index], view=view)

    def categories_of(self, record: ImageRecord) -> tuple[str, ...]:
        """The classes that are labelled in an image; of others it is not known whether they are there."""
        return self.categories

    @property
    def sentence_count(self) -> int:
        """How many (image, sentence) pairs the split has; this is what the papers count as samples."""
        return sum(len(referring.sentences) for record in self for referring in record.referrings)

    def mask(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        """Decodes what the expressions refer to.

        Returns:
            bool [H, W] at the image's own size; all False for a no-target expression.

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

    def box(self, record: ImageRecord, referring: Referring) -> Box | None:
        """What the expressions refer to as a box: `Referring.bbox`, or the mask's where the dataset gives none.

        Returns:
            (x, y, width, height) in pixels of the image, or None for a no-target expression.

        Raises:
            DatasetError: the mask is needed and damaged, missing, or not of the image's size.
        """
        if referring.no_target:
            return None
        if referring.bbox is not None:
            return referring.bbox
        rows, columns = np.nonzero(self.mask(record, referring))
        if not rows.size:
            return None
        left, top = columns.min(), rows.min()
        return float(left), float(top), float(columns.max() + 1 - left), float(rows.max() + 1 - top)

    @abstractmethod
    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        """The mask of an expression that has a target, bool [H, W]."""


class QuestionDataset(Split[QuestionRecord]):
    """One split of a dataset of questions about images."""

    def __init__(self, name: str, split: str, records: Iterable[QuestionEntry]) -> None:
        """Holds the entry of each image; the images' sizes are read on request.

        Raises:
            DatasetError: no image has a question.
        """
        self.name, self.split = name, split
        self._records = [record for record in records if record[2]]
        if not self._records:
            raise DatasetError(f"{name}: the split {split!r} has no questions: download its annotations again")

    def _record(self, index: int) -> QuestionRecord:
        optical, sar, questions, condition, objects = self._records[index]
        sizes = [(path, image_size(path)) for path in (optical, sar) if path is not None]
        (first, size), (last, other) = sizes[0], sizes[-1]
        if size != other:
            raise DatasetError(
                f"{first} is {size[0]}x{size[1]} and {last} {other[0]}x{other[1]}: a pair must be of one size: "
                "resample one of them"
            )
        return QuestionRecord(optical, sar, *size, questions, condition, objects)

    @property
    def questions(self) -> list[Question]:
        """All questions, image by image; no image is opened."""
        return [question for record in self._records for question in record[2]]

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """The classes of the outlined objects, sorted."""
        return tuple(sorted({thing.category for record in self._records for thing in record[4] or ()}))

    @cached_property
    def types(self) -> tuple[str, ...]:
        """The kinds of question, sorted."""
        return tuple(sorted({question.type for question in self.questions}))

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The answers, the commonest in this split first, equally common ones in the order of the alphabet."""
        counts = Counter(question.answer for question in self.questions)
        return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer)))


class ClassificationDataset(Split[LabelledImage]):
    """One split of a dataset of scenes with classes.

    Attributes:
        classes: all the dataset's class names, sorted; those without an image in this split too.
    """

    def __init__(self, name: str, split: str, images: Iterable[LabelledImage], classes: Iterable[str]) -> None:
        self.name, self.split = name, split
        self._records = tuple(images)
        self.classes = tuple(sorted(classes))


class CaptionDataset(Split[CaptionedImage]):
    """One split of a dataset of images with captions."""

    def __init__(self, name: str, split: str, images: Iterable[CaptionedImage]) -> None:
        self.name, self.split = name, split
        self._records = tuple(images)
