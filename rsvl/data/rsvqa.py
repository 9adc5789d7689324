"""Questions about images in three linked JSON files: RSVQA (LR, HR) and, with SAR beside optical, OSVQA's form.

    <set>_split_<split>_images.json      {"images": [{"id", "questions_ids", "active", …}]}
    <set>_split_<split>_questions.json   {"questions": [{"id", "img_id", "type", "question", "answers_ids", "active"}]}
    <set>_split_<split>_answers.json     {"answers": [{"id", "question_id", "answer", "active"}]}

The tables list everything and mark what is not of the split by ``active`` false; such an entry may have no other field
but its id. RSVQA's image files are named by the image's id, such as ``Images_LR/17.tif``. OSVQA is not public; here an
image of it names its own files, ``optical`` and ``sar``, relative to the root, either of which may be null, and may
say the ``condition`` of the optical one and outline its ``objects``; a question may list those that it is about, by
their places in that list.

RSVQA's own code answers in ranges, and so do these records: areas such as ``35m2`` become ``between 10m2 and 100m2``,
and in LR counts become ``between 0 and 10`` and so on (0 stays 0).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsvl.data.files import existing, existing_folder, inside, read_json
from rsvl.data.records import OutlinedObject, Question, QuestionDataset
from rsvl.runtime.errors import DatasetError

_SUFFIXES = (".tif", ".png", ".jpg")
_LIMITS = (10, 100, 1000)

ImageFiles = Callable[[dict[str, Any]], tuple[Path | None, Path | None]]
"""From an entry of the images table to its optical and SAR file."""


@dataclass(frozen=True)
class QuestionLayout:
    """Where such a dataset keeps its files, relative to its root.

    Attributes:
        tables: the three files' name, with ``{split}`` and ``{table}``.
        folders: of the images named by id, in the order of preference; none where entries name their own files.
        count_ranges: whether counts are given as ranges.
    """

    tables: str
    folders: tuple[str, ...] = ()
    count_ranges: bool = False


def open_questions(name: str, root: Path, split: str, layout: QuestionLayout) -> QuestionDataset:
    """Reads one split's tables.

    Raises:
        DatasetError: a file is missing or not laid out as published, an image has neither file, or ids do not fit.
    """
    images, questions, answers = (
        _table(root, split, table, layout, name) for table in ("images", "questions", "answers")
    )
    files_of = _by_id(existing_folder([root / f for f in layout.folders], name)) if layout.folders else _named(root)
    try:
        found = [
            (
                *files_of(image),
                tuple(_questions(image, questions, answers, layout.count_ranges)),
                str(image.get("condition", "")),
                _outlined(image["objects"]) if "objects" in image else None,
            )
            for image in images.values()
        ]
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise DatasetError(f"{name}: the tables of {split!r} do not fit each other: {error!r} is missing") from error
    return QuestionDataset(name, split, found)


def _outlined(objects: list[dict[str, Any]]) -> tuple[OutlinedObject, ...]:
    return tuple(
        OutlinedObject(sys.intern(str(each["category"])), tuple((float(x), float(y)) for x, y in each["outline"]))
        for each in objects
    )


def _table(root: Path, split: str, table: str, layout: QuestionLayout, name: str) -> dict[int, dict[str, Any]]:
    """The active entries of a table by id."""
    path = root / layout.tables.format(split=split, table=table)
    if not path.is_file():
        before, after = layout.tables.format(split="\0", table=table).split("\0")
        splits = sorted(p.name[len(before) : -len(after)] for p in root.glob(f"{before}*{after}"))
        if splits:
            raise DatasetError(f"{name}: {path} is missing: the root has the splits {', '.join(splits)}")
    data = read_json(existing(path, name), f"a table of {table}")
    try:
        return {entry["id"]: entry for entry in data[table] if entry.get("active", True)}
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is not a table of {table}: {error!r} is missing or damaged") from error


def _by_id(folder: Path) -> ImageFiles:
    names = {path.stem: path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES}

    def files_of(image: dict[str, Any]) -> tuple[Path | None, Path | None]:
        return names.get(str(image["id"]), folder / f"{image['id']}{_SUFFIXES[0]}"), None

    return files_of


def _named(root: Path) -> ImageFiles:
    def files_of(image: dict[str, Any]) -> tuple[Path | None, Path | None]:
        optical, sar = (None if image[s] is None else inside(root, image[s]) for s in ("optical", "sar"))
        if optical is None and sar is None:
            raise DatasetError(f"image {image['id']} of {root} has neither an optical nor a SAR file")
        return optical, sar

    return files_of


def _questions(
    image: dict[str, Any],
    questions: dict[int, dict[str, Any]],
    answers: dict[int, dict[str, Any]],
    count_ranges: bool,
) -> Iterator[Question]:
    for key in image["questions_ids"]:
        if key not in questions:
            continue
        asked = questions[key]
        answer = str(answers[asked["answers_ids"][0]]["answer"]).strip()
        # A million questions share few answers and types: interning keeps each of them once in memory.
        answer, kind = sys.intern(in_ranges(answer, count_ranges)), sys.intern(str(asked["type"]))
        objects = tuple(int(index) for index in asked.get("objects", ()))
        if objects and not all(0 <= index < len(image["objects"]) for index in objects):
            raise IndexError(f"object {max(objects)} of question {key}")
        yield Question(int(key), str(asked["question"]), answer, kind, objects)


def in_ranges(answer: str, count_ranges: bool) -> str:
    """An answer as RSVQA's own code takes it: areas, and counts if asked for, by their order of magnitude."""
    unit = "m2" if answer.endswith("m2") else ""
    digits = answer.removesuffix(unit) if unit else answer
    if not digits.isdigit() or int(digits) == 0 or not (unit or count_ranges):
        return answer
    value = int(digits)
    if value > _LIMITS[-1]:
        return f"more than {_LIMITS[-1]}{unit}"
    above = next(limit for limit in _LIMITS if value <= limit)
    below = max((limit for limit in _LIMITS if limit < above), default=0)
    return f"between {below}{unit} and {above}{unit}"
