"""Writes scenes to disk in RRSIS-D's own layout.

    <root>/rrsisd/refs(unc).p            pickle of a list of plain dicts, one a referred object
    <root>/rrsisd/instances.json         COCO: images, annotations (segmentation: a list of one RLE), categories
    <root>/images/rrsisd/JPEGImages/     pictures
    <root>/images/rrsisd/SARImages/      their SAR twins, with `with_sar`

Two things go beyond RRSIS-D: annotations carry `obb` (centre x, centre y, length, width, degrees), and a sentence that
names nothing is a ref with `no_target: True` and `ann_id: -1` (gRefCOCO's convention).
"""

import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from rsvl.data.synth.generate import generate
from rsvl.data.synth.records import Records, SceneRecord, record
from rsvl.runtime.errors import OutputError, UsageError

_IMAGES, _SAR, _NOTES = Path("images/rrsisd/JPEGImages"), Path("images/rrsisd/SARImages"), Path("rrsisd")
_QUALITY = 92


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        root: the data set's folder.
        scenes: number of scenes by split.
        expressions: number of expressions by split, those that name nothing included.
        objects: number of labelled objects in all.
    """

    root: Path
    scenes: dict[str, int]
    expressions: dict[str, int]
    objects: int


@dataclass(frozen=True)
class _Job:
    """One scene to make: its seed is (seed, index)."""

    folder: Path
    seed: int
    index: int
    size: int
    with_sar: bool


def write(
    root: str | Path,
    scenes: int,
    seed: int = 0,
    size: int = 256,
    val: float = 0.1,
    test: float = 0.1,
    workers: int = 1,
    with_sar: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Written:
    """Generate a data set of synthetic scenes and write it in RRSIS-D's layout.

    The files do not depend on `workers`. The data set grows in a temporary sibling of `root` and takes its place when
    it is complete; a run that fails or is interrupted leaves nothing.

    Args:
        root: folder to create; it must be empty or absent.
        scenes: number of scenes, all splits together.
        seed: seed of the data set; scene k has the seed (seed, k).
        size: side of the images, pixels.
        val: scenes of the validation split: a share below 1, or a number.
        test: scenes of the test split: a share below 1, or a number.
        workers: processes.
        with_sar: also write each scene's SAR twin.
        progress: called with (scenes done, scenes in all).

    Raises:
        UsageError: when the numbers do not fit each other or the folder is in use.
        OutputError: when the disk refuses.
    """
    root = Path(root)
    splits = _splits(scenes, val, test)
    if seed < 0 or workers < 1:
        raise UsageError("synth needs a seed of 0 or more and at least one worker")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder: name another one or remove it")
    temporary = root.with_name(f".{root.name}.{os.getpid()}.tmp")
    jobs = [_Job(temporary, seed, index, size, with_sar) for index in range(scenes)]
    records = Records(seed, size)
    try:
        for folder in (_IMAGES, _NOTES, _SAR) if with_sar else (_IMAGES, _NOTES):
            (temporary / folder).mkdir(parents=True)
        for index, made in enumerate(_made(jobs, workers)):
            records.add(made, splits[index])
            if progress is not None:
                progress(index + 1, scenes)
        (temporary / _NOTES / "refs(unc).p").write_bytes(pickle.dumps(records.refs, protocol=4))
        (temporary / _NOTES / "instances.json").write_text(json.dumps(records.instances()))
        temporary.replace(root)
    except OSError as error:
        raise OutputError(
            f"{root}: the data set cannot be written ({error.strerror or error}): check permission and free space"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Written(root, records.scenes, dict(records.sentences), len(records.annotations))


def _splits(scenes: int, val: float, test: float) -> list[str]:
    """Name each scene's split: training scenes first, then validation, then test."""
    if scenes < 1 or val < 0 or test < 0:
        raise UsageError("synth needs at least one scene, and splits of 0 or more")
    n_val, n_test = (round(share * scenes) if share < 1 else int(share) for share in (val, test))
    n_train = scenes - n_val - n_test
    if n_train < 0:
        raise UsageError(
            f"{n_val} validation and {n_test} test scenes do not fit in {scenes}: ask for more scenes or smaller splits"
        )
    return ["train"] * n_train + ["val"] * n_val + ["test"] * n_test


def _made(jobs: list[_Job], workers: int) -> Iterator[SceneRecord]:
    """Do the jobs in order, in this process or in several."""
    if workers == 1:
        yield from map(_make, jobs)
        return
    fresh = get_context("spawn")  # OpenCV's threads do not survive a fork: a forked worker hangs in its first call
    with ProcessPoolExecutor(workers, fresh, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_make, jobs, chunksize=16)


def _make(job: _Job) -> SceneRecord:
    """Generate one scene, write its picture(s), and return its annotations as plain data."""
    scene = generate((job.seed, job.index), job.size, with_sar=job.with_sar)
    name = f"{job.index:06d}.jpg"
    _write_jpeg(job.folder / _IMAGES / name, scene.image[..., ::-1])
    if scene.sar is not None:
        _write_jpeg(job.folder / _SAR / name, scene.sar)
    return record(scene, name)


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    """Write a picture (BGR or gray) as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    path.write_bytes(data.tobytes())
