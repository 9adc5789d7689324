"""The data sets by name: what each is, how its files lie, and how to open one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from rsvl.data.phrase_list import PhraseLayout, PhraseListDataset
from rsvl.data.records import CaptionDataset, ClassificationDataset, QuestionDataset, ReferringDataset, Split
from rsvl.data.refer import ReferDataset, ReferLayout
from rsvl.runtime.errors import DatasetError, UsageError


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that rsvl reads.

    Attributes:
        name: its name on the command line.
        title: its published name.
        layout: how its files lie under the root, in words.
        open: reads a split, given the name, the root and the split.
        kind: what `open` returns.
    """

    name: str
    title: str
    layout: str
    open: Callable[[str, Path, str], Split[Any]]
    kind: type[Split[Any]] = ReferringDataset


def _refer(folder: str, *more_images: str) -> ReferLayout:
    images = (f"images/{folder}/JPEGImages", *more_images)
    return ReferLayout(f"{folder}/refs(unc).p", f"{folder}/instances.json", images)


def _open_rrsis_d(name: str, root: Path, split: str) -> ReferringDataset:
    return ReferDataset(name, root, split, _refer("rrsisd"))


def _open_rrsis_hr(name: str, root: Path, split: str) -> ReferringDataset:
    return ReferDataset(name, root, split, _refer("rrsishr"))


def _open_refsegrs(name: str, root: Path, split: str) -> ReferringDataset:
    return PhraseListDataset(name, root, split, PhraseLayout("images", "masks", ".tif"))


def _open_risbench(name: str, root: Path, split: str) -> ReferringDataset:
    # Published as phrase lists; a RefCOCO-style conversion of it is also passed around.
    converted = _refer("risbench", "RISBench_dataset/img_rgb", "img_rgb")
    if (root / converted.refs).is_file():
        return ReferDataset(name, root, split, converted)
    unpacked = root / "RISBench_dataset"
    return PhraseListDataset(name, unpacked if unpacked.is_dir() else root, split, PhraseLayout("img_rgb", "mask"))


DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            "rrsis-d",
            "RRSIS-D, and what `rsvl synth` writes",
            "rrsisd/refs(unc).p, rrsisd/instances.json, images/rrsisd/JPEGImages/",
            _open_rrsis_d,
        ),
        DatasetInfo(
            "rrsis-hr",
            "RRSIS-HR",
            "rrsishr/refs(unc).p, rrsishr/instances.json, images/rrsishr/JPEGImages/",
            _open_rrsis_hr,
        ),
        DatasetInfo(
            "risbench",
            "RISBench",
            "img_rgb/*.png, mask/*.png, output_phrase_{train,val,test}.txt (or risbench/refs(unc).p, instances.json)",
            _open_risbench,
        ),
        DatasetInfo(
            "refsegrs",
            "RefSegRS",
            "images/*.tif, masks/*.tif, output_phrase_{train,val,test}.txt",
            _open_refsegrs,
        ),
    )
}


Kind = TypeVar("Kind", QuestionDataset, ClassificationDataset, CaptionDataset)

#: What each kind of data set holds, for messages.
_HOLDS: dict[type[Split[Any]], str] = {
    ReferringDataset: "expressions",
    QuestionDataset: "questions",
    ClassificationDataset: "scene classes",
    CaptionDataset: "captions",
}


@overload
def open_dataset(name: str, root: str | Path, split: str) -> ReferringDataset: ...
@overload
def open_dataset(name: str, root: str | Path, split: str, kind: type[Kind]) -> Kind: ...
def open_dataset(name: str, root: str | Path, split: str, kind: type[Split[Any]] = ReferringDataset) -> Split[Any]:
    """Opens one split of a data set; only its annotations are read now.

    Args:
        name: a key of `DATASETS`.
        root: the folder under which the data set's files lie as published (see `DatasetInfo.layout`).
        split: ``train``, ``val`` or ``test``, as far as the data set has it.
        kind: what is wanted of it: `ReferringDataset` (also for grounding), `QuestionDataset`,
            `ClassificationDataset` or `CaptionDataset`.

    Raises:
        UsageError: no data set of that name (the message suggests the nearest), or one of another kind.
        DatasetError: a missing or damaged file, or a split that is not there; the message names the path and the
            splits that are.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=2, cutoff=0.4) or sorted(DATASETS)
        raise UsageError(f"unknown data set {name!r}: did you mean {' or '.join(near)}?")
    info = DATASETS[name]
    if info.kind is not kind:
        fit = ", ".join(other.name for other in DATASETS.values() if other.kind is kind)
        raise UsageError(f"{name} has {_HOLDS[info.kind]}, not the {_HOLDS[kind]} wanted here: take one of {fit}")
    folder = Path(root)
    if not folder.is_dir():
        raise DatasetError(f"{name}: the root {folder} is not a folder: expected {info.layout} under it")
    return info.open(name, folder, split)
