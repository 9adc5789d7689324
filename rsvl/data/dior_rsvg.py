"""Grounding datasets whose objects each have a description, in VOC's XML (DIOR-RSVG, `rsvl synth`).

    Annotations/*.xml                one image each: filename, size, and objects with name, bndbox and description
    JPEGImages/                      the images
    train.txt, val.txt, test.txt     running numbers of the split's objects, one per line

Objects are numbered from 0 through all annotation files in the order of their names, and in each file in the order in
which they stand. (The public loader of DIOR-RSVG walks the folder in the order in which the disk gives it; the numbers
were made on one that gives it by name.) A box is (xmin, ymin, xmax, ymax) with the width xmax - xmin, as the public
loader takes it. There are no masks.

Two elements go beyond DIOR-RSVG: the image's ``sensor``, ``optical`` (which an image without one is) or ``sar``; and
an object's ``no_target`` 1, which has no box: its description refers to nothing in the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from rsvl.data.files import existing_folder, image_size, inside, read_lines
from rsvl.data.plain_xml import read_xml
from rsvl.data.records import ImageRecord, Referring, ReferringDataset
from rsvl.runtime.errors import DatasetError

SENSORS = ("optical", "sar")


class DIORRSVGDataset(ReferringDataset):
    """One split of such a dataset. Objects of one image with the same box are one object described twice."""

    has_masks = False

    def __init__(self, name: str, root: Path, split: str) -> None:
        """Reads all annotations; images are opened only for a size that the annotation does not give.

        Raises:
            DatasetError: a file is missing or damaged, a number names no object, or the split has none.
        """
        self.name, self.split = name, split
        numbers = _numbers(root, split, name)
        self._images = existing_folder([root / "JPEGImages"], name)
        folder = root / "Annotations"
        paths = sorted(folder.glob("*.xml"))
        if not paths:
            raise DatasetError(f"{name}: {folder}/*.xml is missing: unpack the annotations there")
        self._records: list[ImageRecord] = []
        count = 0
        for path in paths:
            tree = read_xml(path)
            objects = tree.findall("object")
            wanted = [(count + i, thing) for i, thing in enumerate(objects) if count + i in numbers]
            count += len(objects)
            if wanted:
                self._records.append(self._image(path, tree, wanted))
        beyond = max(numbers)
        if beyond >= count:
            raise DatasetError(
                f"{name}: {split}.txt names object {beyond}, but {folder} has only {count}: unpack all annotations"
            )
        self.categories = tuple(sorted({r.category for record in self._records for r in record.referrings} - {""}))

    def _decode(self, record: ImageRecord, referring: Referring) -> np.ndarray:
        raise DatasetError(f"{self.name} has boxes only, no masks: take a dataset for segmentation, such as rrsis-d")

    def _image(self, path: Path, tree: Element, objects: list[tuple[int, Element]]) -> ImageRecord:
        try:
            file = inside(self._images, tree.findtext("filename"))
            width, height = _size(tree) or image_size(file)
            referrings = tuple(_referring(number, thing) for number, thing in objects)
            return ImageRecord(file, width, height, referrings, _sensor(tree))
        except ValueError as error:
            raise DatasetError(f"{path}: {error}: the annotation is damaged, download it again") from error


def _numbers(root: Path, split: str, name: str) -> set[int]:
    path = root / f"{split}.txt"
    if not path.is_file():
        found = ", ".join(sorted(p.stem for p in root.glob("*.txt"))) or "none"
        raise DatasetError(f"{name}: {path} is missing: the splits under the root are: {found}")
    numbers = set()
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            try:
                numbers.add(int(line))
            except ValueError:
                raise DatasetError(f"{path}, line {number}: expected an object's number, not {line!r}") from None
    if not numbers or min(numbers) < 0:
        raise DatasetError(f"{path} has no numbers from 0 on: download it again")
    return numbers


def _size(tree: Element) -> tuple[int, int] | None:
    width, height = tree.findtext("size/width"), tree.findtext("size/height")
    return (int(width), int(height)) if width and height else None


def _sensor(tree: Element) -> str:
    sensor = (tree.findtext("sensor") or SENSORS[0]).strip().lower()
    if sensor not in SENSORS:
        raise ValueError(f"the sensor {sensor!r} is neither of {' and '.join(SENSORS)}")
    return sensor


def _referring(number: int, thing: Element) -> Referring:
    sentence = (thing.findtext("description") or "").strip()
    if not sentence:
        raise ValueError(f"object {number} has no description")
    category = (thing.findtext("name") or "").strip()
    if thing.findtext("no_target") == "1":
        return Referring(number, (sentence,), category, no_target=True)
    left, top, right, bottom = _corners(number, thing)
    box = (left, top, right - left, bottom - top)
    return Referring(number, (sentence,), category, box, object_id=box)


def _corners(number: int, thing: Element) -> Iterator[float]:
    corners = [float(thing.findtext(f"bndbox/{corner}") or "nan") for corner in ("xmin", "ymin", "xmax", "ymax")]
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise ValueError(f"object {number} has no box, or an empty one")
    return iter(corners)
