"""Caption datasets in the form of RSICD: one JSON file of images with their sentences and split.

``{"images": [{"filename", "split", "sentences": [{"raw"}, …]}, …]}`` beside a folder of images.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rsvl.data.files import existing, existing_folder, inside, read_json
from rsvl.data.records import CaptionDataset, CaptionedImage
from rsvl.runtime.errors import DatasetError


def open_captions(name: str, root: Path, split: str, captions: str, images: tuple[str, ...]) -> CaptionDataset:
    """Reads one split; no image is opened.

    Args:
        name: the dataset's name.
        root: its folder.
        split: the split's name in the file.
        captions: the JSON file, relative to the root.
        images: folders of images relative to the root, in the order of preference.

    Raises:
        DatasetError: a file is missing or not laid out as published, or there is no such split.
    """
    path = existing(root / captions, name)
    entries = read_json(path, "a file of captions").get("images")
    folder = existing_folder([root / image for image in images], name)
    try:
        found = [_captioned(entry, folder) for entry in entries or () if entry["split"] == split]
        if not found:
            splits = ", ".join(sorted({str(entry["split"]) for entry in entries or ()})) or "none"
            raise DatasetError(f"{path} has no split {split!r}: it has {splits}")
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError(f"{path} is not a file of captions: {error!r} is missing or damaged") from error
    return CaptionDataset(name, split, found)


def _captioned(entry: dict[str, Any], folder: Path) -> CaptionedImage:
    sentences = tuple(text for sentence in entry["sentences"] if (text := str(sentence["raw"]).strip()))
    if not sentences:
        raise DatasetError(f"{entry['filename']} in {folder} has no caption: download the captions again")
    return CaptionedImage(inside(folder, entry["filename"]), sentences)
