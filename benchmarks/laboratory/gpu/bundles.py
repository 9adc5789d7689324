"""The parts that export and run CD2FSAN's bundles: ONNX Runtime's providers and TensorRT engines."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.benchmarks.laboratory.gpu.record import Row
from rsvl.benchmarks.timing import Percentiles, interleaved
from rsvl.runtime.backends.tensorrt.plugins import GROUP
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import MissingComponentError, VerificationError
from rsvl.runtime.loading import load
from rsvl.runtime.tasks import compare

PRECISIONS, BATCHES, ROUNDS = ("fp32", "fp16"), (1, 8), 15
_WARM_UP = 3


def export(scratch: Path) -> Iterator[Row]:
    """Exports CD2FSAN with random weights in each precision, for the parts after this one.

    Raises:
        MissingComponentError: no GPU to run them on, or a package that exporting needs is absent.
        VerificationError: the graphs disagree with PyTorch.
    """
    import torch

    from rsvl.benchmarks.laboratory.gpu.cd2fsan import MODEL, build
    from rsvl.benchmarks.laboratory.gpu.device import first_gpu

    first_gpu()
    yield from write_bundles(build(MODEL, torch.device("cpu")), scratch)


def write_bundles(model: Any, scratch: Path) -> Iterator[Row]:
    """Exports a model in each precision."""
    from rsvl.export import export as write

    for precision in PRECISIONS:
        started = time.perf_counter()
        written = write(model, _path(scratch, precision), precision)
        size = sum(file.stat().st_size for file in written.path.rglob("*") if file.is_file())
        yield {"precision": precision, "seconds": time.perf_counter() - started, "MB": size / 1e6}


def run(scratch: Path, provider: str) -> Iterator[Row]:
    """Checks and times the bundles on one of ONNX Runtime's providers.

    Raises:
        MissingComponentError: it is not installed or does not start; there is no bundle.
        VerificationError: outputs differ from those that the export recorded.
    """
    for precision in PRECISIONS:
        yield from timed(_exported(scratch, precision), provider)


def run_engines(scratch: Path, backend: str, with_plugins: str = "") -> Iterator[Row]:
    """Builds the bundles' engines, checks and times them.

    Args:
        scratch: where the bundles are.
        backend: ``tensorrt`` or ``tensorrt_rtx``.
        with_plugins: empty, or anything to let the plugins take their operations.

    Raises:
        MissingComponentError: no GPU, no such TensorRT, or there is no bundle.
        EngineError: an engine cannot be built or loaded.
        VerificationError: outputs differ from those that the export recorded.
    """
    from rsvl.plugins import OPERATIONS
    from rsvl.runtime.backends.cuda.cuda_device import find_device
    from rsvl.runtime.backends.tensorrt import BuildConfig, build_engines, find_tensorrt

    device, why_not = find_device()
    if device is None:
        raise MissingComponentError(why_not)
    api = find_tensorrt(backend, device.gpu)
    sys.path.append(str(list_plugins(scratch)))
    architecture = "any" if api.needs_gpu else device.gpu.sm
    config = BuildConfig(api, device.gpu, architecture, plugins=tuple(OPERATIONS) if with_plugins else ())
    for precision in PRECISIONS:
        exported = _exported(scratch, precision)
        own = exported.with_name(f"{backend}-{with_plugins}-{exported.name}")
        shutil.copytree(exported, own, copy_function=os.link)  # engines go beside the graphs
        for built in build_engines(Bundle(own), config):
            engine = built.engine
            yield {
                "precision": precision,
                "graph": engine.key.graph,
                "layers": engine.layers,
                "MB": engine.size / 1e6,
                "build seconds": engine.seconds,
            }
        yield from timed(own, "engines")


def list_plugins(scratch: Path) -> Path:
    """Lists rsvl's plugins as an installed rsvl does, for a checkout that is not; returns the folder to import from."""
    from rsvl.plugins import OPERATIONS

    lines = [f"{name} = rsvl.plugins:register" for name in OPERATIONS]
    folder = scratch / "listed"
    listed = folder / "rsvl_plugins-0.dist-info"
    listed.mkdir(parents=True, exist_ok=True)
    (listed / "METADATA").write_text("Metadata-Version: 2.1\nName: rsvl-plugins\nVersion: 0\n", encoding="utf-8")
    (listed / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]), encoding="utf-8")
    return folder


def timed(bundle: Path, provider: str, rounds: int = ROUNDS) -> Iterator[Row]:
    """Yields a row per batch size, from arrays in main memory and back to it; then checks the golden outputs.

    Raises:
        VerificationError: outputs differ from those that the export recorded.
    """
    opened = Bundle(bundle)
    precision, (golden, expected) = opened.manifest.precision, read_golden(opened)
    runner = load(opened, provider)
    measures = compare(runner.spec, expected, runner.run(**golden), precision)
    for batch in BATCHES:
        call = partial(runner.run, **_repeated(golden, batch))
        for _ in range(_WARM_UP):
            call()
        found = Percentiles.of(interleaved({"": call}, rounds)[""])
        yield {
            "provider": runner.provider,
            "precision": precision,
            "batch": batch,
            "p50 ms": found.p50,
            "p90 ms": found.p90,
            "images per second": batch * found.per_second,
            "agreement": ", ".join(map(str, measures)),
        }
    if not all(measure.passed for measure in measures):
        raise VerificationError(f"{bundle.name} on {provider}: outputs differ from those that the export recorded")


def _path(scratch: Path, precision: str) -> Path:
    return scratch / f"{precision}.bundle"


def _exported(scratch: Path, precision: str) -> Path:
    path = _path(scratch, precision)
    if not path.is_dir():
        raise MissingComponentError(f"there is no bundle in {precision}: see the part export")
    return path


def _repeated(arrays: dict[str, Any], batch: int) -> dict[str, np.ndarray]:
    return {name: array[np.arange(batch) % len(array)] for name, array in arrays.items()}
