"""OptSAR-RSVG's published layout, small and made up: what a reader takes, and what it skips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CATEGORIES = ["optical vehicle", "optical bridge", "sar ship"]


def annotation(number: int, image: int, category: int, caption: str | None, box: list[float], **more: Any) -> Any:
    """One as published: numbers from 0, a box of (x, y, width, height)."""
    name = CATEGORIES[category]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "category_name": name,
        "caption": caption,
        "bbox": box,
        **more,
    }


ANNOTATIONS = [
    annotation(0, 1, 0, "The red car on the left ", [10, 20, 30.5, 12]),
    annotation(1, 1, 1, "the long bridge", [0, 100, 640, 40], iscrowd=0),
    annotation(2, 2, 2, "the ship near the pier", [5, 6, 7, 8]),
    annotation(3, 1, 0, "the vehicle beside the bridge", [10, 20, 30.5, 12]),
    annotation(4, 1, 0, "  ", [1, 1, 5, 5]),
    annotation(5, 1, 0, None, [1, 1, 5, 5]),
    annotation(6, 1, 0, "many cars", [1, 1, 5, 5], iscrowd=1),
    annotation(7, 2, 2, "a ship without an extent", [1, 1, 0, 5]),
]
IMAGES = [
    {"id": 1, "file_name": "opt_000001.jpg", "width": 800, "height": 600},
    {"id": 2, "file_name": "sar_000001.jpg", "width": 512, "height": 512},
    {"id": 3, "file_name": "opt_000002.jpg", "width": 800, "height": 800},
]


def write(root: Path, split: str = "train", **changed: Any) -> Path:
    """Writes a split's annotations, with tables changed."""
    (root / "images" / split).mkdir(parents=True, exist_ok=True)
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)]
    tables = {"images": IMAGES, "annotations": ANNOTATIONS, "categories": categories}
    (root / f"{split}.json").write_text(json.dumps({**tables, **changed}))
    return root
