"""The datasets by name: what each is, how its files lie, and how to open one."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

from rsvl.data.captions import open_captions
from rsvl.data.dior_rsvg import DIORRSVGDataset
from rsvl.data.floodnet import open_floodnet
from rsvl.data.image_folder import open_image_folder
from rsvl.data.optsar_rsvg import OptSARRSVGDataset
from rsvl.data.records import CaptionDataset, ClassificationDataset, QuestionDataset, ReferringDataset, Split
from rsvl.data.refcoco import RefCOCODataset, RefCOCOLayout
from rsvl.data.refsegrs import RefSegRSDataset, RefSegRSLayout
from rsvl.data.rsvqa import QuestionLayout, open_questions
from rsvl.runtime.errors import DatasetError, UsageError


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset that rsvl reads.

    Attributes:
        name: its name on the command line.
        title: its published name.
        layout: how its files lie under the root, in words.
        open: reads a split, given the name, the root and the split.
        kind: what `open` returns.
        masks: for expressions, whether their targets have masks, not boxes alone.
    """

    name: str
    title: str
    layout: str
    open: Callable[[str, Path, str], Split[Any]]
    kind: type[Any] = ReferringDataset
    masks: bool = True


def _refcoco(folder: str, *more_images: str) -> RefCOCOLayout:
    images = (f"images/{folder}/JPEGImages", *more_images)
    return RefCOCOLayout(f"{folder}/refs(unc).p", f"{folder}/instances.json", images)


def _open_rrsis_d(name: str, root: Path, split: str) -> ReferringDataset:
    return RefCOCODataset(name, root, split, _refcoco("rrsisd"))


def _open_rrsis_hr(name: str, root: Path, split: str) -> ReferringDataset:
    return RefCOCODataset(name, root, split, _refcoco("rrsishr"))


def _open_refsegrs(name: str, root: Path, split: str) -> ReferringDataset:
    return RefSegRSDataset(name, root, split, RefSegRSLayout("images", "masks", ".tif"))


def _open_risbench(name: str, root: Path, split: str) -> ReferringDataset:
    # Published as phrase lists; a RefCOCO-style conversion of it is also passed around.
    converted = _refcoco("risbench", "RISBench_dataset/img_rgb", "img_rgb")
    if (root / converted.refs).is_file():
        return RefCOCODataset(name, root, split, converted)
    unpacked = root / "RISBench_dataset"
    return RefSegRSDataset(name, unpacked if unpacked.is_dir() else root, split, RefSegRSLayout("img_rgb", "mask"))


def _open_dior_rsvg(name: str, root: Path, split: str) -> ReferringDataset:
    return DIORRSVGDataset(name, _unpacked(root, "DIOR_RSVG"), split)


def _open_optsar_rsvg(name: str, root: Path, split: str) -> ReferringDataset:
    # Published as COCO's JSON; the synthetic scenes have DIOR-RSVG's form with a sensor per image.
    folder = _unpacked(root, "OptSAR-RSVG", "OptSAR_RSVG")
    return (DIORRSVGDataset if (folder / "Annotations").is_dir() else OptSARRSVGDataset)(name, folder, split)


def _coco_objects(weak_masks: bool) -> Callable[[str, Path, str], ReferringDataset]:
    def opened(name: str, root: Path, split: str) -> ReferringDataset:
        from rsvl.data.coco_objects import COCOObjects  # its sentences need OpenCV, the other datasets do not

        return COCOObjects(name, root, split, weak_masks)

    return opened


def _unpacked(root: Path, *folders: str) -> Path:
    """The folder that an archive was packed with, where it stands between."""
    return next((root / folder for folder in folders if (root / folder).is_dir()), root)


def _questions(tables: str, *folders: str, count_ranges: bool = False) -> Callable[[str, Path, str], QuestionDataset]:
    layout = QuestionLayout(tables, folders, count_ranges)
    return lambda name, root, split: open_questions(name, root, split, layout)


def _captions(captions: str, *images: str) -> Callable[[str, Path, str], CaptionDataset]:
    return lambda name, root, split: open_captions(name, root, split, captions, images)


def _scenes(name: str, root: Path, split: str) -> ClassificationDataset:
    return open_image_folder(name, root, split, draws=True)


_DIOR_RSVG = "Annotations/*.xml, JPEGImages/, {train,val,test}.txt of running object numbers"
_SPLITS = "SPLIT/CLASS/*, or SPLIT.txt with lines of CLASS/FILE"
_WITHOUT_SPLITS = {
    "eurosat": "EuroSAT",
    "ucmerced": "UC Merced Land Use",
    "aid": "AID",
    "nwpu-resisc45": "NWPU-RESISC45",
}
"""Sets of scene classes that were published without a split."""
_COCO = "annotations.json and the images it names; split all, FIELD=VALUE, or a name as in train.json"
_TABLES = "_split_{train,val,test}_{images,questions,answers}.json"

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
        DatasetInfo("dior-rsvg", "DIOR-RSVG", _DIOR_RSVG, _open_dior_rsvg, masks=False),
        DatasetInfo(
            "optsar-rsvg",
            "OptSAR-RSVG, and what `rsvl synth` writes",
            "{train,val,test}.json, images/{train,val,test}/; "
            f"or {_DIOR_RSVG}, with <sensor>optical or sar</sensor>",
            _open_optsar_rsvg,
            masks=False,
        ),
        DatasetInfo("coco", "your own boxes and polygons, with sentences from the labels", _COCO, _coco_objects(False)),
        DatasetInfo(
            "coco-weak-masks",
            "the same, with the ellipse in each box where there is no polygon",
            _COCO,
            _coco_objects(True),
        ),
        DatasetInfo(
            "rsvqa-lr",
            "RSVQA, low resolution",
            f"LR{_TABLES}, Images_LR/*.tif",
            _questions("LR_split_{split}_{table}.json", "Images_LR", "data", count_ranges=True),
            QuestionDataset,
        ),
        DatasetInfo(
            "rsvqa-hr",
            "RSVQA, high resolution (second test split: test_phili)",
            f"USGS{_TABLES}, Data/*.tif",
            _questions("USGS_split_{split}_{table}.json", "Data"),
            QuestionDataset,
        ),
        DatasetInfo(
            "floodnet-vqa",
            "FloodNet's questions (Track 2)",
            "Question.json, Images/*.JPG; split all, train or val",
            open_floodnet,
            QuestionDataset,
        ),
        DatasetInfo(
            "osvqa",
            "RSVQA's form with optical and SAR files, for OSVQA (not public), and what `rsvl synth` writes",
            f"OSVQA{_TABLES}; images name their files as optical and sar",
            _questions("OSVQA_split_{split}_{table}.json"),
            QuestionDataset,
        ),
        DatasetInfo(
            "scenes",
            "one folder per class: any such set, and what `rsvl synth` writes",
            f"CLASS/*.{{jpg,png,tif}} as split all; for others {_SPLITS}",
            open_image_folder,
            ClassificationDataset,
        ),
        *(
            DatasetInfo(
                name,
                f"{title}, one folder per class",
                f"CLASS/*.{{jpg,png,tif}}; splits are drawn at random, or {_SPLITS}",
                _scenes,
                ClassificationDataset,
            )
            for name, title in _WITHOUT_SPLITS.items()
        ),
        DatasetInfo(
            "rsicd",
            "RSICD",
            "dataset_rsicd.json, RSICD_images/",
            _captions("dataset_rsicd.json", "RSICD_images", "images"),
            CaptionDataset,
        ),
        DatasetInfo(
            "rsitmd",
            "RSITMD",
            "dataset_RSITMD.json, images/",
            _captions("dataset_RSITMD.json", "images"),
            CaptionDataset,
        ),
        DatasetInfo(
            "ucm-captions",
            "UCM-captions and Sydney-captions",
            "dataset.json, imgs/",
            _captions("dataset.json", "imgs"),
            CaptionDataset,
        ),
    )
}


Kind = TypeVar("Kind", QuestionDataset, ClassificationDataset, CaptionDataset)

#: What each kind of dataset holds, for messages.
_HOLDS: dict[type[Any], str] = {
    ReferringDataset: "expressions",
    QuestionDataset: "questions",
    ClassificationDataset: "scene classes",
    CaptionDataset: "captions",
}


@overload
def open_dataset(name: str, root: str | Path, split: str, *, masks: bool = ...) -> ReferringDataset: ...
@overload
def open_dataset(name: str, root: str | Path, split: str, kind: type[Kind], *, masks: bool = ...) -> Kind: ...
def open_dataset(
    name: str, root: str | Path, split: str, kind: type[Any] = ReferringDataset, *, masks: bool = False
) -> Split[Any]:
    """Opens one split of a dataset; only its annotations are read now.

    Args:
        name: a key of `DATASETS`.
        root: the folder under which the dataset's files lie as published (see `DatasetInfo.layout`).
        split: ``train``, ``val`` or ``test``, as far as the dataset has it.
        kind: what is wanted of it: `ReferringDataset` (also for grounding), `QuestionDataset`,
            `ClassificationDataset` or `CaptionDataset`.
        masks: whether it must have masks, as segmentation does.

    Raises:
        UsageError: no dataset of that name (the message suggests the nearest), one of another kind, or without masks.
        DatasetError: a missing or damaged file, or a split that is not there; the message names the path and the
            splits that are.

    Examples:
        >>> dataset = open_dataset("rrsis-d", "scenes", "train", masks=True)
        >>> len(dataset), dataset[0].referrings[1].sentences
        (4, ('the brown building', 'the smallest building'))
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name.lower(), DATASETS, n=2, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(sorted(DATASETS))}"
        raise UsageError(f"unknown dataset {name!r}: {hint}")
    info = DATASETS[name]
    if info.kind is not kind or (masks and not info.masks):
        has, wanted = (_HOLDS[info.kind], _HOLDS[kind]) if info.kind is not kind else ("boxes", "masks")
        fit = ", ".join(other.name for other in DATASETS.values() if other.kind is kind and (other.masks or not masks))
        raise UsageError(f"{name} has {has}, not the {wanted} wanted here: take one of {fit}")
    folder = Path(root)
    if not folder.is_dir():
        raise DatasetError(f"{name}: the root {folder} is not a folder: expected {info.layout} under it")
    return info.open(name, folder, split)
