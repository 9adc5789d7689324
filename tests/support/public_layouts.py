"""Small datasets in the public layouts, written the way the public files are."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

HEIGHT, WIDTH = 24, 40


def box_mask(x: int, y: int, w: int, h: int) -> np.ndarray:
    """A mask [HEIGHT, WIDTH] with one filled box."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's compressed run-length code, as it stands in JSON."""
    code = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(mask.shape), "counts": code["counts"].decode("ascii")}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's uncompressed run-length code: column-major run lengths, the first of zeros."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]]).astype(int)))
    bounds = np.concatenate([[0], edges, [flat.size]] if not flat[-1] else [[0], edges])
    return {"size": list(mask.shape), "counts": np.diff(bounds).tolist()}


SHIP, TANK = box_mask(4, 2, 10, 6), box_mask(20, 10, 8, 8)


def reference(ref_id: int, ann_id: Any, image_id: int, split: str, *sentences: str, **more: Any) -> dict[str, Any]:
    """A reference as RRSIS-D pickles it."""
    texts = [
        {"tokens": s.split(), "raw": s, "sent": s.lower(), "sent_id": ref_id * 10 + i} for i, s in enumerate(sentences)
    ]
    return {
        "ref_id": ref_id,
        "ann_id": ann_id,
        "image_id": image_id,
        "category_id": more.pop("category_id", 0),
        "split": split,
        "file_name": f"{image_id:05d}.jpg",
        "sentences": texts,
        "sent_ids": [text["sent_id"] for text in texts],
        **more,
    }


REFERENCES = [
    reference(1, 11, 1, "train", "The white ship", "ship at the top"),
    reference(2, 12, 1, "train", "a storage tank", category_id=1),
    reference(3, -1, 1, "train", "the red bridge", no_target=True),
    reference(4, 13, 2, "val", "The ship"),
    reference(5, 14, 3, "testA", "both of them"),
]

INSTANCES: dict[str, list[dict[str, Any]]] = {
    "images": [{"id": i, "file_name": f"{i:05d}.jpg", "width": WIDTH, "height": HEIGHT} for i in (1, 2, 3)],
    "categories": [{"id": 0, "name": "ship"}, {"id": 1, "name": "storage tank"}],
    "annotations": [
        {"id": 11, "image_id": 1, "category_id": 0, "bbox": [4, 2, 10, 6], "segmentation": [compressed(SHIP)]},
        {"id": 12, "image_id": 1, "category_id": 1, "bbox": [20, 10, 8, 8], "segmentation": uncompressed(TANK)},
        {"id": 13, "image_id": 2, "category_id": 0, "bbox": [4, 2, 10, 6], "segmentation": compressed(SHIP)},
        {
            "id": 14,
            "image_id": 3,
            "category_id": 0,
            "bbox": [4, 2, 24, 16],
            "segmentation": [[4, 2, 14, 2, 14, 8, 4, 8], [20, 10, 28, 10, 28, 18, 20, 18]],
        },
    ],
}


def write_refer(root: Path, folder: str = "rrsisd", refs: Any = None, instances: Any = None, protocol: int = 4) -> Path:
    """Writes a RefCOCO-style dataset in the layout of RRSIS-D."""
    images = root / "images" / folder / "JPEGImages"
    images.mkdir(parents=True)
    (root / folder).mkdir()
    (root / folder / "refs(unc).p").write_bytes(pickle.dumps(refs or REFERENCES, protocol))
    (root / folder / "instances.json").write_text(json.dumps(instances or INSTANCES))
    for entry in INSTANCES["images"]:
        Image.new("RGB", (WIDTH, HEIGHT), (entry["id"], 80, 60)).save(images / entry["file_name"])
    return root


def write_phrases(root: Path, lines: dict[str, list[str]], images: str, masks: str, suffix: str) -> Path:
    """Writes a phrase-list dataset; every image has the ship's mask."""
    for folder in (images, masks):
        (root / folder).mkdir(parents=True)
    for split, found in lines.items():
        (root / f"output_phrase_{split}.txt").write_text("".join(line + "\n" for line in found))
        for name in {line.split(" ")[0] + suffix for line in found}:
            Image.new("RGB", (WIDTH, HEIGHT)).save(root / images / name)
            Image.fromarray(SHIP.astype(np.uint8) * 255).save(root / masks / name)
    return root
