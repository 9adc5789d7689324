"""FloodNet's questions (Track 2 of its challenge): drone images after a hurricane, one JSON object a file.

    Question.json         {"0": {"Image_ID": "10165.JPG", "Question", "Ground_Truth", "Question_Type"}, "1": …}
    Valid_Question.json   the same without Ground_Truth, as Test_Question.json: the challenge kept the answers
    Images/               10165.JPG …

The split ``all`` is every question that has an answer. Since the published validation and test questions have none,
``val`` is a tenth of the images of ``Question.json``, by a checksum of their names, and ``train`` is the rest.
"""

from __future__ import annotations

import sys
import zlib
from pathlib import Path
from typing import Any

from rsvl.data.files import existing, existing_folder, inside, read_json
from rsvl.data.records import Question, QuestionDataset
from rsvl.runtime.errors import DatasetError

_FILE = "Question.json"
_FOLDERS = ("Images", "Images/Train_Image", "Train_Image")
_SPLITS = ("all", "train", "val")


def open_floodnet(name: str, root: Path, split: str) -> QuestionDataset:
    """Reads the questions of a split; no image is opened.

    Raises:
        DatasetError: a file is missing or damaged, or a split without answers.
    """
    if split not in _SPLITS:
        raise DatasetError(
            f"{name}: {root} has no split {split!r} with answers: the challenge kept those of its validation and test "
            f"questions; take {', '.join(_SPLITS)}"
        )
    path = existing(root / _FILE, name)
    folder = existing_folder([root / each for each in _FOLDERS], name)
    of_image: dict[str, list[Question]] = {}
    try:
        for key, entry in read_json(path, "FloodNet's questions").items():
            image = entry["Image_ID"]
            inside(folder, image)
            if split == "all" or _held_out(image) == (split == "val"):
                of_image.setdefault(image, []).append(_question(key, entry))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} is not FloodNet's questions: {error!r} is missing or damaged") from error
    return QuestionDataset(
        name, split, [(folder / image, None, tuple(asked), "", None) for image, asked in of_image.items()]
    )


def _held_out(image: str) -> bool:
    return zlib.crc32(image.encode()) % 10 == 0


def _question(key: str, entry: dict[str, Any]) -> Question:
    answer = entry["Ground_Truth"]
    if not isinstance(answer, str | int):
        raise TypeError(f"the answer {answer!r} to question {key}")
    text, kind = str(entry["Question"]), sys.intern(str(entry["Question_Type"]))
    return Question(int(key), text, sys.intern(str(answer).strip()), kind)
