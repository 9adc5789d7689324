"""A small COCO annotation file of boxes and polygons, as people label their own images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
CATEGORIES = [{"id": 1, "name": "Building"}, {"id": 2, "name": "storage_tank"}, {"id": 3, "name": "cyclist"}]
#: A building in the upper left and one in the lower right; a tank, as a box alone, and the cut corner of another.
ANNOTATIONS: list[dict[str, Any]] = [
    {"id": 1, "image_id": 1, "category_id": 1, "bbox": [4, 4, 10, 6], "segmentation": [[4, 4, 14, 4, 14, 10, 4, 10]]},
    {"id": 2, "image_id": 1, "category_id": 1, "bbox": [40, 26, 16, 12], "area": 192,
     "segmentation": [[40, 26, 56, 26, 56, 38, 40, 38]]},
    {"id": 3, "image_id": 2, "category_id": 2, "bbox": [20, 10, 12, 12]},
    {"id": 4, "image_id": 2, "category_id": 2, "bbox": [52, 32, 8, 8], "truncated": 1},
]  # fmt: skip
IMAGES: list[dict[str, Any]] = [
    {"id": 1, "file_name": "one.png", "width": WIDTH, "height": HEIGHT, "site": "A", "tile": [19, 309614, 261632]},
    {"id": 2, "file_name": "two.png", "width": WIDTH, "height": HEIGHT, "site": "B", "tile": [21, 1238459, 1046531]},
    {"id": 3, "file_name": "three.png", "width": WIDTH, "height": HEIGHT, "site": "B", "split": "night"},
]


def write(root: Path, file: str = "annotations.json", folder: str = "images", **tables: Any) -> Path:
    """Writes the file and its images under a root; returns the root. `tables` replaces tables of the file."""
    content = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES, **tables}
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    (root / file).write_text(json.dumps(content))
    for index, image in enumerate(IMAGES):
        pixels = np.random.default_rng(index).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
        Image.fromarray(pixels).save(root / folder / image["file_name"])
    return root
