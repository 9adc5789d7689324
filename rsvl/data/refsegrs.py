"""Phrase-list datasets: one text file per split whose lines name an image and a phrase (RefSegRS, RISBench).

Under the root lie ``output_phrase_<split>.txt``, a folder of images and a folder of masks of the same file names. A
line is the image's id, a space, and the phrase. RefSegRS' ids have no extension (``.tif`` in ``images/`` and
``masks/``); RISBench's are file names (``.png`` in ``img_rgb/`` and ``mask/``). Masks hold 0 and 255; as in RefSegRS'
own code, values above 50 belong to the object. There are no classes and no boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from rsvl.data.files import image_size, inside, read_lines
from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import DatasetError
from rsvl.runtime.images.formats import PILLOW_FORMATS

MASK_ABOVE = 50


@dataclass(frozen=True)
class RefSegRSLayout:
    """Where a phrase-list dataset keeps its files, relative to its root; `suffix` completes an id to a file name."""

    images: str
    masks: str
    suffix: str = ""
    phrases: str = "output_phrase_{split}.txt"


class RefSegRSDataset(ReferringDataset):
    """One split of a phrase-list dataset. Phrases of the same image share its one mask and so are one `Referring`."""

    categories = ()

    def __init__(self, name: str, root: Path, split: str, layout: RefSegRSLayout) -> None:
        """Reads the phrase list; images and masks are opened on request.

        Raises:
            DatasetError: a file or folder is missing, or a line is not an id and a phrase.
        """
        self.name, self.split = name, split
        self._images, self._masks = root / layout.images, root / layout.masks
        phrases = root / layout.phrases.format(split=split)
        if not phrases.is_file():
            raise DatasetError(f"{name}: {phrases} is missing: the root has {_splits(root, layout)}")
        for folder in (self._images, self._masks):
            if not folder.is_dir():
                raise DatasetError(f"{name}: the folder {folder} is missing: unpack it there")
        self._records = list(_read(phrases, layout.suffix).items())
        if not self._records:
            raise DatasetError(f"{name}: {phrases} has no lines: download it again")

    @property
    def sentence_count(self) -> int:
        """How many (image, phrase) pairs the split has."""
        return sum(len(phrases) for _, phrases in self._records)

    def _record(self, index: int) -> ImageRecord:
        file_name, phrases = self._records[index]
        path = inside(self._images, file_name)
        width, height = image_size(path)
        referring = Referring(index, phrases, object_id=file_name, segmentation=file_name)
        return ImageRecord(path, width, height, (referring,))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        path = inside(self._masks, referring.segmentation)
        try:
            with Image.open(path, formats=PILLOW_FORMATS) as image:
                values = np.asarray(image)
        except (OSError, ValueError, SyntaxError) as error:
            raise DatasetError(f"{path} is not a readable mask ({error}): download it again") from error
        if values.ndim == 3:
            values = values[..., :3].max(axis=2)
        return values > (MASK_ABOVE if values.max() > 1 else 0)


def _read(path: Path, suffix: str) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        name, _, phrase = line.strip().partition(" ")
        if not phrase.strip():
            raise DatasetError(f"{path}, line {number}: expected an id, a space and a phrase, not {line.strip()!r}")
        grouped[name + suffix] = (*grouped.get(name + suffix, ()), phrase.strip())
    return grouped


def _splits(root: Path, layout: RefSegRSLayout) -> str:
    before, after = layout.phrases.split("{split}")
    found = sorted(p.name[len(before) : -len(after)] for p in root.glob(f"{before}*{after}"))
    return f"the splits {', '.join(found)}" if found else "no phrase lists at all"
