"""Scene classification datasets: one folder per class (AID, EuroSAT, UC Merced, NWPU-RESISC45 and `rsvl synth`).

A class is called by its folder's name in words ("AnnualCrop" is "annual crop", "open_water" is "open water"), so that
it can stand in a sentence. The class folders lie under the root or under its only folders
(``UCMerced_LandUse/Images/…``). A split is

- ``all``: every image;
- otherwise a folder of class folders of that name (``<root>/train/<class>/…``), or a text file of that name
  (``<root>/train.txt``) whose lines are images as ``<class>/<file>``; of three sets also the lists of Neumann et al.,
  "In-domain representation learning for remote sensing", 2020, whose lines are files alone (``eurosat-train.txt``);
- where there is neither, drawn at random (`rsvl.data.random_split`), for the public sets that have no split of their
  own and whose papers draw training shares at random.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rsvl.data.files import inside, read_lines
from rsvl.data.random_split import drawn, parse
from rsvl.data.records import ClassificationDataset, LabelledImage
from rsvl.runtime.errors import DatasetError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
_SPLITS = ("train", "val", "test")
_OWN_LISTS = tuple(f"{split}.txt" for split in _SPLITS)
#: What the names of the lists of Neumann et al. begin with.
_LISTS = {"eurosat": "eurosat", "ucmerced": "uc_merced", "nwpu-resisc45": "resisc45"}
#: UC Merced's names that nothing but knowing them takes apart.
_COMPOUNDS = {
    "baseballdiamond": "baseball diamond", "denseresidential": "dense residential", "golfcourse": "golf course",
    "mediumresidential": "medium residential", "mobilehomepark": "mobile home park", "parkinglot": "parking lot",
    "sparseresidential": "sparse residential", "storagetanks": "storage tanks", "tenniscourt": "tennis court",
}  # fmt: skip


def open_image_folder(name: str, root: Path, split: str, draws: bool = False) -> ClassificationDataset:
    """Lists one split's images; none is opened.

    Args:
        name: the dataset's.
        root: the folder of its files.
        split: the split's name; of one that is drawn with its seed, as ``train@1``.
        draws: whether ``train``, ``val`` and ``test`` are drawn at random where nothing says what they are. With a seed
            they are drawn in any case.

    Raises:
        DatasetError: no class folders, no such split, or a list that names a missing file.
    """
    top = _top(root)
    divided = [folder for folder in (top / split for split in _SPLITS) if folder.is_dir()]
    homes = divided or [top]
    classes = sorted({in_words(folder.name) for home in homes for folder in _folders(home) if any(_images(folder))})
    if not classes:
        raise DatasetError(f"{name}: one folder per class is missing under {root}: unpack the images there")
    if split == "all":
        images = [image for home in homes for image in _labelled(home)]
    elif top / split in divided:
        images = list(_labelled(top / split))
    elif (listed := _list(name, root, top, split)) is not None:
        images = list(_listed(listed, top))
    elif (seed := parse(split)) is not None and (draws or "@" in split):
        images = drawn(name, [image for home in homes for image in _labelled(home)], split.partition("@")[0], seed)
    else:
        there = ", ".join(["all", *(folder.name for folder in divided)])
        raise DatasetError(
            f"{name}: {root} has no split {split!r}: it has {there}; or list its images in {split}.txt as CLASS/FILE, "
            "or draw train@SEED, val@SEED and test@SEED at random"
        )
    return ClassificationDataset(name, split, images, classes)


def _top(root: Path) -> Path:
    """The folder of the class folders: below the root as long as there is one folder that has folders itself."""
    while len(inner := _folders(root)) == 1 and inner[0].name not in _SPLITS and _folders(inner[0]):
        root = inner[0]
    return root


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.suffix.lower() in _SUFFIXES)


def _labelled(home: Path) -> Iterator[LabelledImage]:
    for folder in _folders(home):
        for path in _images(folder):
            yield LabelledImage(path, in_words(folder.name))


def _list(name: str, root: Path, top: Path, split: str) -> Path | None:
    names = [f"{split}.txt", *([f"{_LISTS[name]}-{split}.txt"] if name in _LISTS else [])]
    return next((folder / file for file in names for folder in (root, top) if (folder / file).is_file()), None)


def _listed(path: Path, top: Path) -> Iterator[LabelledImage]:
    stems: dict[str, Path | None] = {}  # None for those that are there twice
    for found in _labelled(top) if path.name not in _OWN_LISTS else ():
        stems[found.path.stem] = None if found.path.stem in stems else found.path
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        image = inside(top, line.strip())
        if len(Path(line.strip()).parts) < 2:
            image = stems.get(image.stem) or top  # the lists name the files of one of the forms that are passed around
        if not image.is_file():
            raise DatasetError(f"{path}, line {number}: {line.strip()!r} is no image under {top}: expected CLASS/FILE")
        yield LabelledImage(image, in_words(image.parent.name))


def in_words(folder: str) -> str:
    """A class folder's name as words: taken apart at capitals, underscores and hyphens, in lower case."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder)
    words = " ".join(re.split(r"[\s_-]+", apart)).strip().lower()
    return _COMPOUNDS.get(words, words)
