"""The data sets by name: what each is, how its files lie, and how to open one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rsvl.data.phrase_list import PhraseLayout, PhraseListDataset
from rsvl.data.records import ReferringDataset
from rsvl.data.refer import ReferDataset, ReferLayout
from rsvl.runtime.errors import DatasetError, UsageError


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that rsvl reads: its name, title, the layout under its root in words, and its reader."""

    name: str
    title: str
    layout: str
    open: Callable[[str, Path, str], ReferringDataset]


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


def open_dataset(name: str, root: str | Path, split: str) -> ReferringDataset:
    """Opens one split of a data set; only its annotations are read now.

    Args:
        name: a key of `DATASETS`.
        root: the folder under which the data set's files lie as published (see `DatasetInfo.layout`).
        split: ``train``, ``val`` or ``test``, as far as the data set has it.

    Raises:
        UsageError: no data set of that name; the message suggests the nearest.
        DatasetError: a missing or damaged file, or a split that is not there; the message names the path and the
            splits that are.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=2, cutoff=0.4) or sorted(DATASETS)
        raise UsageError(f"unknown data set {name!r}: did you mean {' or '.join(near)}?")
    folder = Path(root)
    if not folder.is_dir():
        raise DatasetError(f"{name}: the root {folder} is not a folder: expected {DATASETS[name].layout} under it")
    return DATASETS[name].open(name, folder, split)
