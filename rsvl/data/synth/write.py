"""Writes scenes to disk in RRSIS-D's own layout.

    <root>/rrsisd/refs(unc).p            pickle of a list of plain dicts, one a referred object
    <root>/rrsisd/instances.json         COCO: images, annotations (segmentation: a list of one RLE), categories
    <root>/images/rrsisd/JPEGImages/     pictures
    <root>/images/rrsisd/SARImages/      their SAR twins, with `with_sar`

Two things go beyond RRSIS-D: annotations carry `obb` (centre x, centre y, length, width, degrees), and a sentence that
names nothing is a ref with `no_target: True` and `ann_id: -1` (gRefCOCO's convention).
"""

import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rsvl.data.synth.catalog import CATEGORIES
from rsvl.data.synth.generate import generate
from rsvl.data.synth.scene import Scene
from rsvl.runtime.errors import OutputError, UsageError

_QUALITY = 92


@dataclass(frozen=True)
class Written:
    """What was written: counts by split and in all."""

    root: Path
    scenes: dict[str, int]
    expressions: dict[str, int]
    objects: int


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

    The files do not depend on `workers`. The annotation files are written last, so a killed run leaves no data set.

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
    if scenes < 1 or seed < 0 or workers < 1:
        raise UsageError("synth needs at least one scene, a seed of 0 or more and at least one worker")
    n_val, n_test = _count(val, scenes), _count(test, scenes)
    if n_val + n_test > scenes:
        raise UsageError(
            f"{n_val} validation and {n_test} test scenes do not fit in {scenes}: ask for fewer or more scenes"
        )
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(f"{root} exists and is not an empty folder: name another one or remove it")
    splits = ["train"] * (scenes - n_val - n_test) + ["val"] * n_val + ["test"] * n_test
    try:
        return _write(root, splits, seed, size, workers, with_sar, progress)
    except OSError as error:
        raise OutputError(f"cannot write the data set to {root}: {error.strerror or error}") from error


def _count(share: float, scenes: int) -> int:
    """Turn a share below 1 into a number of scenes; take a number as it is."""
    return round(share * scenes) if share < 1 else int(share)


def _write(
    root: Path,
    splits: list[str],
    seed: int,
    size: int,
    workers: int,
    with_sar: bool,
    progress: Callable[[int, int], None] | None,
) -> Written:
    images_dir = root / "images" / "rrsisd" / "JPEGImages"
    sar_dir = root / "images" / "rrsisd" / "SARImages"
    images_dir.mkdir(parents=True)
    if with_sar:
        sar_dir.mkdir(parents=True)
    jobs = [(seed, k, size, str(images_dir), str(sar_dir) if with_sar else None) for k in range(len(splits))]
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    refs: list[dict[str, Any]] = []
    counts = dict.fromkeys(("train", "val", "test"), 0)
    sentences = dict(counts)
    sent_id = 0
    for k, record in enumerate(_results(jobs, workers)):
        split, image_id = splits[k], k + 1
        images.append({"id": image_id, "file_name": record["file_name"], "width": size, "height": size})
        first = len(annotations) + 1
        for annotation in record["annotations"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **annotation})
        for ref in record["refs"]:
            target = ref["target"]
            sents = []
            for text in ref["texts"]:
                sents.append({"raw": text, "sent": text, "tokens": text.split(), "sent_id": sent_id})
                sent_id += 1
            entry: dict[str, Any] = {
                "ref_id": len(refs) + 1,
                "ann_id": -1 if target is None else first + target,
                "image_id": image_id,
                "category_id": ref["category_id"],
                "split": split,
                "file_name": record["file_name"],
                "sentences": sents,
                "sent_ids": [s["sent_id"] for s in sents],
            }
            if target is None:
                entry["no_target"] = True
            refs.append(entry)
            sentences[split] += len(sents)
        counts[split] += 1
        if progress is not None:
            progress(k + 1, len(splits))
    instances = {
        "info": {"description": "rsvl synthetic scenes", "seed": seed, "size": size},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": c.id, "name": c.name, "supercategory": "object"} for c in CATEGORIES.values()],
    }
    notes = root / "rrsisd"
    notes.mkdir()
    _replace(notes / "refs(unc).p", pickle.dumps(refs, protocol=4))
    _replace(notes / "instances.json", json.dumps(instances).encode())
    return Written(root, counts, sentences, len(annotations))


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _results(jobs: list[tuple[int, int, int, str, str | None]], workers: int) -> Iterator[dict[str, Any]]:
    """Run the jobs in order, in this process or in several."""
    if workers == 1:
        yield from map(_job, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        yield from pool.map(_job, jobs, chunksize=16)


def _job(job: tuple[int, int, int, str, str | None]) -> dict[str, Any]:
    """Generate one scene, write its picture(s), and return its annotations as plain data."""
    seed, index, size, images_dir, sar_dir = job
    scene = generate((seed, index), size, with_sar=sar_dir is not None)
    name = f"{index:06d}.jpg"
    _jpeg(Path(images_dir) / name, scene.image[..., ::-1])
    if sar_dir is not None and scene.sar is not None:
        _jpeg(Path(sar_dir) / name, scene.sar)
    return {"file_name": name, "annotations": _annotations(scene), "refs": _refs(scene)}


def _jpeg(path: Path, image: np.ndarray) -> None:
    """Write a picture (BGR or gray) as JPEG."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    path.write_bytes(data.tobytes())


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    """COCO annotations of a scene's objects, without ids."""
    from pycocotools import mask as coco_mask

    found = []
    for thing in scene.objects:
        rle = coco_mask.encode(np.asfortranarray(thing.mask.astype(np.uint8)))
        found.append(
            {
                "category_id": CATEGORIES[thing.category].id,
                "segmentation": [{"size": [int(n) for n in rle["size"]], "counts": rle["counts"].decode("ascii")}],
                "bbox": [float(v) for v in thing.bbox],
                "obb": [round(float(v), 2) for v in thing.obb],
                "area": int(thing.area),
                "iscrowd": 0,
            }
        )
    return found


def _refs(scene: Scene) -> list[dict[str, Any]]:
    """A scene's expressions, gathered by the object they name; each that names nothing stands alone."""
    by_target: dict[int, list[str]] = {}
    empty = []
    for expression in scene.expressions:
        if expression.target is None:
            noun = str(dict(expression.program)["noun"])
            category = next((c.id for c in CATEGORIES.values() if noun in c.nouns), 0)
            empty.append({"target": None, "texts": [expression.text], "category_id": category})
        else:
            by_target.setdefault(expression.target, []).append(expression.text)
    named = [
        {"target": i, "texts": texts, "category_id": CATEGORIES[scene.objects[i].category].id}
        for i, texts in sorted(by_target.items())
    ]
    return named + empty
