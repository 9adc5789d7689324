"""Writes a dataset of synthetic scenes to disk, in the public layout of its task (`TASKS`)."""

import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2

from rsvl.data.synth.captions import CaptionLabels
from rsvl.data.synth.classification import ClassLabels
from rsvl.data.synth.grounding import GroundingLabels
from rsvl.data.synth.labels import SPLITS, Job, Labels
from rsvl.data.synth.look import LOOKS
from rsvl.data.synth.segmentation import SegmentationLabels
from rsvl.data.synth.vqa import VQALabels
from rsvl.runtime.errors import OutputError, UsageError
from rsvl.runtime.manifest import SEGMENTATION
from rsvl.runtime.progress import Progress, silent
from rsvl.runtime.temporary import LockedFolder

#: Every task that there are labels for.
TASKS: dict[str, type[Labels]] = {
    SEGMENTATION: SegmentationLabels,
    "grounding": GroundingLabels,
    "vqa": VQALabels,
    "classification": ClassLabels,
    "captions": CaptionLabels,
}


@dataclass(frozen=True)
class Written:
    """What was written.

    Attributes:
        root: the dataset's folder.
        scenes: number of scenes by split.
        unit: what the labels are, such as ``expressions``.
        labels: number of labels by split, no-target ones included.
        objects: number of labelled objects in all.
    """

    root: Path
    scenes: dict[str, int]
    unit: str
    labels: dict[str, int]
    objects: int


def write(
    root: str | Path,
    scenes: int,
    seed: int = 0,
    size: int = 256,
    val: float = 0.1,
    test: float = 0.1,
    workers: int = 1,
    progress: Progress = silent,
    *,
    task: str = SEGMENTATION,
    sensor: str | None = None,
    look: str = LOOKS[0],
) -> Written:
    """Generate a dataset of synthetic scenes and write it in the layout of a task.

    The files do not depend on `workers`. The dataset grows in a temporary sibling of `root` and takes its place when
    it is complete; a run that fails or is interrupted leaves nothing.

    Args:
        root: folder to create; it must be empty or absent.
        scenes: number of scenes, all splits together.
        seed: seed of the dataset; scene k has the seed (seed, k).
        size: side of the images, pixels.
        val: scenes of the validation split: a share below 1, or a number.
        test: scenes of the test split: a share below 1, or a number.
        workers: processes.
        progress: called after every scene.
        task: a key of `TASKS`.
        sensor: what the images show: ``optical``, ``sar`` or ``both``, as far as the task knows it; by default the
            first of its `Labels.sensors`.
        look: ``drawn``, or ``photo``: with the tones, the haze, the fine detail and the losses of photographs.

    Raises:
        UsageError: when the numbers do not fit each other, the task has no such images or the folder is in use.
        OutputError: when the disk refuses.

    Examples:
        >>> written = write("ships", scenes=4, size=64, val=1, test=1)
        >>> written.scenes
        {'train': 2, 'val': 1, 'test': 1}
    """
    root = Path(root)
    splits = _splits(scenes, val, test)
    if seed < 0 or workers < 1:
        raise UsageError("synth needs a seed of 0 or more and at least one worker")
    if look not in LOOKS:
        raise UsageError(f"synthetic images do not look {look!r}: choose {' or '.join(LOOKS)}")
    labels = _labels(task, seed, size, sensor)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder: name another one or remove it")
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with LockedFolder(f".{root.name}.tmp-", root.absolute().parent) as sibling:
            temporary = sibling.path / root.name
            jobs = [Job(temporary, seed, index, split, size, labels.sensor, look) for index, split in enumerate(splits)]
            for folder in labels.folders:
                (temporary / folder).mkdir(parents=True)
            for index, made in enumerate(_made(labels, jobs, workers)):
                labels.add(made, splits[index])
                progress(index + 1, scenes)
            labels.finish(temporary)
            temporary.replace(root)
    except OSError as error:
        raise OutputError(
            f"{root}: the dataset cannot be written ({error.strerror or error}): check permission and free space"
        ) from error
    counts = Counter(splits)
    return Written(root, {s: counts[s] for s in SPLITS}, labels.unit, dict(labels.counts), labels.objects)


def _labels(task: str, seed: int, size: int, sensor: str | None) -> Labels:
    if task not in TASKS:
        raise UsageError(f"no synthetic labels for the task {task!r}: there are some for {', '.join(TASKS)}")
    kind = TASKS[task]
    if sensor is not None and sensor not in kind.sensors:
        raise UsageError(f"synthetic scenes for {task} have no {sensor!r} images: choose {' or '.join(kind.sensors)}")
    return kind(seed, size, sensor or kind.sensors[0])


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


def _made(labels: Labels, jobs: list[Job], workers: int) -> Iterator[Any]:
    """Do the jobs in order, in this process or in several."""
    if workers == 1:
        yield from map(labels.make, jobs)
        return
    fresh = get_context("spawn")  # OpenCV's threads do not survive a fork: a forked worker hangs in its first call
    with ProcessPoolExecutor(workers, fresh, initializer=_prepare_worker) as pool:
        try:
            yield from pool.map(labels.make, jobs, chunksize=16)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _prepare_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process: the first one ends the others
    cv2.setNumThreads(1)
