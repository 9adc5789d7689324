"""Whether a bundle is whole, and whether this very device computes what the export computed."""

from __future__ import annotations

import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsvl.runtime.bundle import GOLDEN, Bundle
from rsvl.runtime.errors import BundleError
from rsvl.runtime.features import IMAGE, MASK, TOKENS
from rsvl.runtime.session import Session, to_numpy


@dataclass(frozen=True)
class Limits:
    """What a device may differ by: the masks' least IoU, and the largest difference relative to the largest logit."""

    iou: float
    difference: float


#: By the bundle's precision; the IoU limits are those that the export itself is held to.
LIMITS = {
    "fp32": Limits(0.995, 0.02),
    "fp16": Limits(0.99, 0.05),
    "bf16": Limits(0.98, 0.1),
    "int8": Limits(0.95, 0.2),
}


@dataclass(frozen=True)
class CheckReport:
    """What `rsvl check` found. Hashes, schema and paths are right whenever there is a report: otherwise it raises.

    Attributes:
        bundle: the bundle that was checked.
        model: the model's name.
        precision: the bundle's precision, which sets the limits.
        files: how many files were hashed.
        provider: what ran the golden test.
        samples: how many sentences the golden test has.
        iou: the least IoU between a mask and the expected one, 0…1.
        difference: largest absolute difference of the logits.
        relative_difference: the same, divided by the largest expected logit.
        limits: what was allowed.
        seconds: time of the golden run, loading left out.
    """

    bundle: str
    model: str
    precision: str
    files: int
    provider: str
    samples: int
    iou: float
    difference: float
    relative_difference: float
    limits: Limits
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether the golden test stays within the limits."""
        return self.iou >= self.limits.iou and self.relative_difference <= self.limits.difference


def check(bundle: str | Path, provider: str | None = None, threads: int | None = None) -> CheckReport:
    """Checks a bundle's schema, paths and hashes and runs its golden test on this device.

    Args:
        bundle: a bundle's directory or `.rsvl` file.
        provider: force an ONNX Runtime provider; None takes the one that `load` would.
        threads: CPU threads; None takes the physical cores.

    Raises:
        BundleError: damaged, incomplete, unsafe, written by a newer rsvl, or without a golden test.
        MissingComponentError: the forced provider is not installed.
    """
    opened = Bundle(bundle, check=True)
    golden = _read_golden(opened)
    session = Session(opened, provider, threads)
    started = time.perf_counter()
    logits = _run(session, opened, golden)
    seconds = time.perf_counter() - started
    expected = golden[MASK].astype(np.float32)
    if logits.shape != expected.shape:
        raise BundleError(
            f"{bundle}: golden test expects {expected.shape}, the graphs give {logits.shape}: export again"
        )
    difference = float(np.abs(logits - expected).max())
    manifest = opened.manifest
    return CheckReport(
        bundle=str(bundle),
        model=manifest.model.name,
        precision=manifest.precision,
        files=len(manifest.files),
        provider=session.provider,
        samples=len(expected),
        iou=_least_iou(logits, expected, manifest.model.threshold),
        difference=difference,
        relative_difference=difference / max(float(np.abs(expected).max()), 1e-6),
        limits=LIMITS.get(manifest.precision, LIMITS["int8"]),
        seconds=seconds,
    )


def _read_golden(bundle: Bundle) -> dict[str, np.ndarray]:
    try:
        with np.load(bundle.path(GOLDEN), allow_pickle=False) as archive:
            return {name: archive[name] for name in (IMAGE, TOKENS, MASK)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise BundleError(f"{bundle.source}: its golden test cannot be read ({error}): export it again") from error


def _run(session: Session, bundle: Bundle, golden: dict[str, np.ndarray]) -> np.ndarray:
    """The golden input through all graphs as one batch; a single image serves all sentences."""
    sentences, images = len(golden[TOKENS]), len(golden[IMAGE])
    image = np.repeat(golden[IMAGE], sentences // images, axis=0)
    raw = {IMAGE: image, TOKENS: golden[TOKENS]}
    outputs = session.run(raw, [graph.name for graph in bundle.manifest.model.graphs])
    return to_numpy(outputs[MASK])


def _least_iou(logits: np.ndarray, expected: np.ndarray, threshold: float) -> float:
    """The least IoU over the samples [N, 1, h, w]; two empty masks agree."""
    limit = np.log(threshold / (1 - threshold)) if 0 < threshold < 1 else 0.0
    ours, theirs = (a.reshape(len(a), -1) > limit for a in (logits, expected))
    union = (ours | theirs).sum(axis=1)
    both = (ours & theirs).sum(axis=1)
    return float(np.where(union == 0, 1.0, both / np.maximum(union, 1)).min())
