"""Time and memory of image encoders as images grow: LWGANet's and RSMamba's beside a ViT-B's.

python -m rsvl.benchmarks.laboratory.encoder_scaling --threads 2 --plot docs/encoder-scaling.svg

Float32, batch 1, random weights, noise; each measurement in its own process, which runs the encoder and takes the
fastest of its runs. By PyTorch, where attention never holds all pairs of places, and by ONNX Runtime, as an export
writes it. What needs more memory than `--memory-gb` is recorded as such. A measurement that is on record is replaced;
`--encoder`, `--side` and `--runner` choose some.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rsvl.benchmarks.bundle.footprint import peak_mb
from rsvl.benchmarks.bundle.runners import onnx_session
from rsvl.benchmarks.bundle.subprocess_json import run_json
from rsvl.benchmarks.machine import cores, describe, hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.papers.published import read
from rsvl.benchmarks.plot import check_drawable
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.benchmarks.scaling_plot import Curve, Panel, draw
from rsvl.export.graphs import write_graph
from rsvl.export.variants import write_variants
from rsvl.modules.encoders.lwganet import L0, L2, LWGANetEncoder
from rsvl.modules.encoders.rsmamba import BASE, RSMambaEncoder
from rsvl.runtime.errors import InputError, RsvlError
from rsvl.runtime.manifest import GraphSpec, TensorSpec

SIDES = (512, 1024, 2048)
PYTORCH, ONNX_RUNTIME = "PyTorch", "ONNX Runtime"
_MODULE = "rsvl.benchmarks.laboratory.encoder_scaling"
_ENOUGH_S, _RUNS = 10.0, 5
"""No further run is begun after so many seconds, or so many runs."""


class ViTBase(nn.Module):
    """ViT-B/16 without a class token: 12 layers of width 768 with 12 heads; [B, 3, S, S] → tokens [B, (S/16)², 768]."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 768, 16, 16)
        self.positions = nn.Parameter(torch.randn(1, (side // 16) ** 2, 768) * 0.02)
        self.layers = nn.Sequential(*(_ViTLayer(768, 12) for _ in range(12)))
        self.norm = nn.LayerNorm(768)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See the class."""
        return [self.norm(self.layers(self.patches(image).flatten(2).transpose(1, 2) + self.positions))]


class _ViTLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.first_norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        split = self.query_key_value(self.first_norm(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(*split.unbind()).transpose(1, 2).flatten(2))
        return x + self.mlp(self.second_norm(x))


ENCODERS: dict[str, Callable[[int], nn.Module]] = {
    "LWGANet L0": lambda side: LWGANetEncoder(L0),
    "LWGANet L2": lambda side: LWGANetEncoder(L2),
    "RSMamba-B": lambda side: RSMambaEncoder(BASE, side),
    "ViT-B/16": ViTBase,
}


@dataclass(frozen=True)
class Point:
    """One encoder on images of one size.

    Attributes:
        encoder: a key of `ENCODERS`.
        runner: `PYTORCH` or `ONNX_RUNTIME`.
        side: of the square image in pixels.
        seconds: of the fastest run; None if it failed.
        peak_mb: megabytes of main memory that loading and running it added to the process.
        failure: why there are none.
    """

    encoder: str
    runner: str
    side: int
    seconds: float | None = None
    peak_mb: float | None = None
    failure: str = ""

    @property
    def key(self) -> tuple[str, str, int]:
        """What identifies it in a record."""
        return self.encoder, self.runner, self.side


@dataclass(frozen=True)
class Record:
    """Everything that was measured on one machine with so many threads."""

    hardware: str
    threads: int
    points: tuple[Point, ...]
    machine: dict[str, str]

    def with_point(self, point: Point) -> Record:
        """The record with a point in the place of an earlier one of the same encoder, runner and size."""
        points = [*(other for other in self.points if other.key != point.key), point]
        return replace(self, points=tuple(sorted(points, key=lambda each: each.key)))


def measure(encoder: str, runner: str, side: int, threads: int, memory_gb: float) -> Point:
    """Measures one point in a process of its own; a failure is part of the result."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "encoder.onnx")
        try:
            if runner == ONNX_RUNTIME:
                path = _write(ENCODERS[encoder](side).eval(), side, path)
            given = {"encoder": encoder, "side": side, "threads": threads, "memory_gb": memory_gb, "path": str(path)}
            measured = run_json(["-m", _MODULE, "--child", json.dumps(given | {"runner": runner})], encoder)
        except (RsvlError, MemoryError) as error:
            return Point(encoder, runner, side, failure=f"more than {memory_gb:g} GB of memory, or: {error}"[:200])
    return Point(encoder, runner, side, **measured)


def _write(encoder: nn.Module, side: int, path: Path) -> Path:
    """Writes the graph to a path, and beside it in ONNX Runtime's form; the file that ONNX Runtime is to take."""
    with torch.no_grad():
        outputs = len(encoder(torch.zeros(1, 3, SIDES[0], SIDES[0]))) if isinstance(encoder, LWGANetEncoder) else None
    count = outputs or (1 if isinstance(encoder, ViTBase) else 4)
    names = tuple(TensorSpec(f"map_{number}", ("batch",)) for number in range(count))
    spec = GraphSpec("encoder", (TensorSpec("image", ("batch", 3, side, side)),), names, path.name)
    write_graph(encoder, spec, path)
    return path.with_name(replace(spec, variants=tuple(write_variants(path.parent, spec))).file_for("onnxruntime"))


def _child(encoder: str, runner: str, side: int, threads: int, memory_gb: float, path: str) -> dict[str, Any]:
    """Runs in the process that is measured."""
    limit = int(memory_gb * 1e9)
    torch.set_num_threads(threads)
    image = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
    before = peak_mb()
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    if runner == PYTORCH:
        run = _in_pytorch(ENCODERS[encoder](side).eval(), torch.from_numpy(image))
    else:
        run = partial(onnx_session(Path(path), threads).run, None, {"image": image})
    times: list[float] = []
    while len(times) < _RUNS and sum(times) < _ENOUGH_S:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    after = peak_mb()
    return {"seconds": min(times), "peak_mb": None if before is None or after is None else after - before}


def _in_pytorch(encoder: nn.Module, image: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            encoder(image)

    return run


def markdown(record: Record) -> str:
    """The record as a page."""
    rows = []
    for point in record.points:
        time_s = "–" if point.seconds is None else f"{point.seconds:.3g}"
        memory = "–" if point.peak_mb is None else f"{point.peak_mb:.0f}"
        rows.append([point.encoder, point.runner, f"{point.side}²", time_s, memory])
    parts = [
        f"# Image encoders on large images, {record.hardware}, threads: {record.threads}",
        "Float32, batch 1, random weights; the fastest run of a process of its own, and the memory that loading and "
        "running added to it.",
        markdown_table(["encoder", "runner", "image", "seconds", "memory (MB)"], rows, words=3),
        *(f"{p.encoder} at {p.side}² in {p.runner}: {p.failure}" for p in record.points if p.failure),
        "## Published",
        "\n".join(f"- {text}" for text in _published_texts()),
        "## The machine",
        markdown_table(["what", "value"], map(list, record.machine.items()), words=2),
    ]
    return "\n\n".join(parts) + "\n"


def _published_texts() -> list[str]:
    figures = [figure for figure in read("daily-papers").figures if figure.system == "DynamicVis"]
    return [f"{figure.system}, {figure.quantity} for {figure.of}: {figure.published}" for figure in figures]


def _dynamicvis() -> dict[tuple[str, str], float]:
    """What DynamicVis' abstract states for 2048², by quantity and unit."""
    figures = read("daily-papers").figures
    return {(figure.quantity, figure.unit): figure.value for figure in figures if figure.system == "DynamicVis"}


def plot(record: Record, path: Path) -> None:
    """Draws the record beside the published figures.

    Raises:
        OutputError: it cannot be written.
    """
    stated = _dynamicvis()
    latency, memory = stated["latency", "ms"] / 1e3, stated["GPU memory", "MB"]
    vit_latency = latency / stated["latency", "% of a ViT's"] * 100
    vit_memory = memory / stated["GPU memory", "% of a ViT's"] * 100
    own, its_vit = "DynamicVis, published, a GPU that is not named", "its ViT, from the published shares"
    panels = (
        Panel("seconds", _curves(record, "seconds"), {own: {2048: latency}, its_vit: {2048: vit_latency}}),
        Panel("memory (MB)", _curves(record, "peak_mb"), {own: {2048: memory}, its_vit: {2048: vit_memory}}),
    )
    caption = (
        f"Measured: {record.hardware}, {record.threads} thread(s), float32, batch 1. Published: DynamicVis' abstract. "
        "Its GPU and ours are different machines: compare the slopes and the shares, not the heights."
    )
    draw(panels, "Image encoders on large images", caption, path)


def _curves(record: Record, quantity: str) -> Mapping[str, Curve]:
    curves: dict[str, dict[int, float]] = {}
    for point in record.points:
        value = getattr(point, quantity)
        if value is not None:
            curves.setdefault(f"{point.encoder}, {point.runner}", {})[point.side] = value
    return curves


def recorded(empty: Record, folder: Path) -> Record:
    """The saved record of the same machine and threads; else the empty one.

    Raises:
        InputError: the file of that name is not a record.
    """
    path = folder / f"{_stem(empty)}.json"
    if not path.is_file():
        return empty
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return replace(empty, points=tuple(Point(**point) for point in data["points"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a record of encoders ({error!r}): move it away") from error


def _stem(record: Record) -> str:
    return file_stem(record.hardware, "encoder-scaling", str(record.threads), "threads")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures point after point and saves each at once, beside those of earlier runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", action="append", choices=ENCODERS, help="repeatable; by default all")
    parser.add_argument("--side", action="append", type=int, choices=SIDES, help="pixels; repeatable; by default all")
    parser.add_argument("--runner", action="append", choices=(PYTORCH, ONNX_RUNTIME), help="by default both")
    parser.add_argument("--threads", type=int, default=cores(), help="CPU threads; by default all cores")
    parser.add_argument("--memory-gb", type=float, default=12.0, help="most memory of a measurement")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the record")
    parser.add_argument("--plot", type=Path, help="a .png or .svg file")
    parser.add_argument("--only-plot", action="store_true", help="measure nothing: draw what is on record")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        print(json.dumps(_child(**json.loads(given.child))))
        return 0
    if given.plot:
        check_drawable(given.plot)
    record = recorded(Record(hardware(), given.threads, (), describe()), given.results)
    for side in () if given.only_plot else given.side or SIDES:
        for encoder in given.encoder or ENCODERS:
            for runner in given.runner or (PYTORCH, ONNX_RUNTIME):
                point = measure(encoder, runner, side, given.threads, given.memory_gb)
                record = record.with_point(point)
                keep(asdict(record), markdown(record), given.results, _stem(record))
                print(
                    point.failure or f"{encoder}, {runner}, {side}²: {point.seconds:.3f} s, {point.peak_mb:.0f} MB",
                    flush=True,
                )
    if given.plot:
        plot(record, given.plot)
        print(given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
