"""What is asked of a scene, complete: two runs of the same plan make the same parts, bit for bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rsvl.runtime.bundle import MANIFEST, Bundle, sha256
from rsvl.runtime.images.area import Area
from rsvl.runtime.images.formats import VRT, identify
from rsvl.runtime.images.options import ReadOptions
from rsvl.runtime.images.tiling import Tile
from rsvl.runtime.images.vrt import check_vrt
from rsvl.runtime.scenes.blocks import PIXELS

PLAN = "plan.json"
"""Its file beside the parts."""

_FORMAT = 1
"""Of the parts: a plan of another format does not find its parts usable."""


@dataclass(frozen=True)
class Plan:
    """What is asked of a scene.

    Attributes:
        scene: its file.
        bundle: the bundle's folder or file.
        provider: what runs it, by the name that `rsvl.runtime.load` takes.
        threads: CPU threads of each process; None for the backend's own choice. They change no answer.
        sentences: what to find.
        threshold: probability above which a pixel is taken.
        tile: side of the tiles, or ``auto``.
        overlap: of the tiles, as a part of a tile.
        scales: at which the scene is looked at (`rsvl.runtime.images.tiling.plan_scales`).
        batch: how many tiles the model is given at once; another number may round otherwise.
        reading: how the scene is to be read.
        area: where to look, in pixels; None for everywhere.
        probability: whether the parts keep every probability.
        block_pixels: the most pixels of a block.
        hashes: SHA-256 of the scene's and the bundle's contents, by `of`.
    """

    scene: Path
    bundle: Path
    provider: str
    threads: int | None
    sentences: tuple[str, ...]
    threshold: float
    tile: Tile = "auto"
    overlap: float = 0.25
    scales: tuple[float, ...] = (1.0,)
    batch: int = 1
    reading: ReadOptions = field(default_factory=ReadOptions)
    area: Area | None = None
    probability: bool = False
    block_pixels: int = PIXELS
    hashes: tuple[str, str] = ("", "")

    @property
    def sensor(self) -> str:
        """What took the scene, ``optical`` or ``sar``."""
        return self.reading.sensor or "optical"

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it, with the plan's own hash: of everything but names of files and the number of threads."""
        asked = {
            "format": _FORMAT,
            "scene_sha256": self.hashes[0],
            "bundle_sha256": self.hashes[1],
            "provider": self.provider,
            "sentences": [_sentence(text) for text in self.sentences],
            "threshold": self.threshold,
            "tile": self.tile,
            "overlap": self.overlap,
            "scales": self.scales,
            "batch": self.batch,
            "reading": asdict(self.reading),
            "area": self.area,
            "probability": self.probability,
            "block_pixels": self.block_pixels,
        }
        text = json.dumps(asked, sort_keys=True)
        return {"plan_sha256": hashlib.sha256(text.encode()).hexdigest(), "scene": str(self.scene), **asked}


def hash_in(folder: Path) -> str | None:
    """The hash of the plan whose parts lie in a folder; None where there is none."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return str(json.loads((folder / PLAN).read_text(encoding="utf-8"))["plan_sha256"])
    return None


def hashes_of(scene: Path, bundle: Bundle) -> tuple[str, str]:
    """SHA-256 of a scene's file, with those that a VRT puts together, and of a bundle's manifest, with all others."""
    files = [scene, *(check_vrt(scene) if identify(scene) is VRT else ())]
    return _together([sha256(file) for file in files]), sha256(bundle.root / MANIFEST)


def _together(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _sentence(text: str) -> Any:
    marks = getattr(text, "marks", None)
    return str(text) if marks is None else [str(text), {kind: list(phrases) for kind, phrases in sorted(marks.items())}]
