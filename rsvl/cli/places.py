"""Which places `rsvl run` goes through: files, folders, patterns and lists, each with a name for its results."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from rsvl.cli.stac import asset_of, is_stac
from rsvl.runtime.errors import InputError, UsageError

# fmt: off
SUFFIXES = frozenset((
    ".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".vrt", ".ntf", ".nitf", ".img", ".webp", ".bmp", ".gif",
    ".ppm", ".pgm", ".pnm",
))
# fmt: on
"""Of the files that are taken from a folder."""

_RESULTS = ("-overlay.png", "-masks.tif", "-probability.tif", "-labels.tif")
"""What the names of results end with: they are not images to run on."""

_MAGIC = frozenset("*?[")
_MOST_LINES = 1_000_000


@dataclass(frozen=True)
class Place:
    """The images of one place and the name of its results.

    Attributes:
        images: by sensor, ``optical`` and ``sar``.
        stem: what the names of its files begin with; no other place's do.
    """

    images: dict[str, Path]
    stem: str

    @property
    def name(self) -> str:
        """The images' paths, for people."""
        return " and ".join(str(path) for path in self.images.values())


def find_places(images: Sequence[Path], sar: Sequence[Path], asset: str | None = None) -> list[Place]:
    """The places that the arguments name.

    Args:
        images: files, folders, patterns (``scenes/*.tif``) and ``@LIST``, a text file of these, one per line.
        sar: the same for the SAR images: one for each image, or none; or they alone.
        asset: which file of STAC items is taken; None for the usual one (`rsvl.cli.stac`).

    Raises:
        UsageError: none, not as many of each, or an asset where there is no item.
        InputError: a folder or pattern without images, or a list or item that cannot be read or leads elsewhere.
    """
    named = [expand(images), expand(sar)]
    if asset is not None and not any(is_stac(path) for paths in named for path in paths):
        raise UsageError("--asset says which file of STAC items is taken, and none is given: leave it out")
    optical, radar = ([asset_of(path, asset) if is_stac(path) else path for path in paths] for paths in named)
    if not optical and not radar:
        raise UsageError("no image: name an IMAGE, or a SAR image with --sar")
    if optical and radar and len(optical) != len(radar):
        raise UsageError(f"{len(optical)} images and {len(radar)} of --sar: give one --sar for each image, or none")
    pairs = [
        {sensor: path for sensor, path in zip(("optical", "sar"), pair, strict=True) if path is not None}
        for pair in zip_longest(optical, radar)  # the absent ones are None
    ]
    stems = unique_stems([next(iter(pair.values())) for pair in pairs])
    return [Place(pair, stem) for pair, stem in zip(pairs, stems, strict=True)]


def expand(arguments: Iterable[Path]) -> list[Path]:
    """Files from files, folders, patterns and lists, in the order of the arguments, those of one in order of name."""
    found: list[Path] = []
    for path in arguments:
        text = str(path)
        if path.is_dir():
            found += _of_folder(path)
        elif text.startswith("@") and not path.exists():
            found += expand(_lines_of(Path(text[1:])))
        elif _MAGIC & set(text) and not path.exists():
            matches = sorted(map(Path, glob.glob(text, recursive=True)))  # noqa: PTH207  # the pattern may be absolute
            if not matches:
                raise InputError(f"{text}: no file is called so: check the pattern")
            found += matches
        else:
            found.append(path)
    return found


def unique_stems(paths: Sequence[Path]) -> list[str]:
    """A name for the results of each file: its stem, and where several share it, with suffix, folder or a number."""
    stems = [path.stem for path in paths]
    for longer in (lambda path: path.name.replace(".", "-"), lambda path: f"{path.absolute().parent.name}-{path.name}"):
        shared = {stem for stem, count in Counter(stems).items() if count > 1}
        stems = [longer(path) if stem in shared else stem for path, stem in zip(paths, stems, strict=True)]
    taken: set[str] = set()
    for i, stem in enumerate(stems):
        number = 2
        while stems[i] in taken:
            stems[i], number = f"{stem}-{number}", number + 1
        taken.add(stems[i])
    return stems


def _of_folder(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    found = [path for path in paths if not path.name.startswith(".") and not path.name.endswith(_RESULTS)]
    if not found:
        raise InputError(
            f"{folder}: no images in this folder: name the files, or a pattern for those of other suffixes"
        )
    return found


def _lines_of(path: Path) -> list[Path]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no UTF-8 text"
        raise InputError(f"{path}: cannot be read as a list of images ({reason}): write one path per line") from error
    found = [Path(line) for line in map(str.strip, lines[:_MOST_LINES]) if line and not line.startswith("#")]
    if any(str(each).startswith("@") for each in found):
        raise InputError(f"{path}: a list in a list: name images, folders and patterns in it")
    return found
