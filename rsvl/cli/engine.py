"""`rsvl engine`: TensorRT engines of a bundle's graphs, or a script that builds them on another device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rsvl.cli import completion, options
from rsvl.cli.console import print_json, print_line, print_note, print_table, progress

if TYPE_CHECKING:
    from rsvl.runtime.backends.tensorrt import BuiltEngine
    from rsvl.runtime.backends.tensorrt.profiles import Ranges
    from rsvl.runtime.backends.tensorrt.store import StoredEngine
    from rsvl.runtime.bundle import Bundle


def engine(
    bundle: options.Bundle,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="here; any, or a compute capability such as sm_86 (TensorRT for RTX builds for other GPUs); "
            "jetson-orin, jetson-thor, server … (writes a script to run on the device).",
            autocompletion=completion.targets,
        ),
    ] = "here",
    max_batch: Annotated[
        int, typer.Option("--max-batch", metavar="N", min=1, help="Largest batch; larger ones run in parts.")
    ] = 8,
    opt_batch: Annotated[int, typer.Option("--opt-batch", metavar="N", min=1, help="Batch size to optimize for.")] = 1,
    ranges: Annotated[
        list[str] | None,
        typer.Option("--range", metavar="NAME=MIN:OPT:MAX", help="Sizes of another dynamic dimension."),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option("--workspace", metavar="MIB", min=1, help="Scratch memory on the GPU. Default: TensorRT's own."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            "--backend", metavar="NAME", help="tensorrt or tensorrt_rtx. Default: tensorrt where there is a GPU."
        ),
    ] = None,
    plugins: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="OPERATION", help="Run this operation by rsvl's plugin instead of standard operators."
        ),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Rebuild engines that are there already.")] = False,
    json: options.Json = False,
) -> None:
    """Build TensorRT engines of a bundle's graphs into its engines folder.

    Engines that are there and still fit are kept. --target with a device's name writes a script and notes instead.
    """
    from rsvl.runtime.backends.tensorrt.profiles import BATCH, batch_range, checked_ranges, parse_range
    from rsvl.runtime.backends.tensorrt.targets import HERE, find_target, is_architecture
    from rsvl.runtime.bundle import Bundle

    device = None if target == HERE or is_architecture(target) else find_target(target)
    sizes = {BATCH: batch_range(max_batch, opt_batch), **dict(map(parse_range, ranges or []))}
    opened = Bundle(bundle)
    checked_ranges(opened.manifest.model.graphs, sizes)
    if device is not None:
        from rsvl.runtime.backends.tensorrt import write_device_script

        files = write_device_script(opened, device, sizes, workspace)
        _tell(bundle, target, [], files, json)
        return
    restricted_to = None if target == HERE else target
    built = _build(opened, sizes, restricted_to, workspace, backend, tuple(plugins or ()), rebuild)
    _tell(bundle, target, built, [], json)


def _build(
    bundle: Bundle,
    ranges: Ranges,
    restricted_to: str | None,
    workspace: int | None,
    backend: str | None,
    plugins: tuple[str, ...],
    rebuild: bool,
) -> list[BuiltEngine]:
    from rsvl.runtime.backends.cuda.cuda_device import find_device
    from rsvl.runtime.backends.tensorrt import BuildConfig, build_engines, find_tensorrt
    from rsvl.runtime.backends.tensorrt.tensorrt_api import RTX

    with progress("looking for TensorRT") as report:
        found, _ = find_device()
        gpu = None if found is None else found.gpu
        api = find_tensorrt(backend or (RTX if restricted_to else None), gpu)
        scratch = None if workspace is None else workspace << 20
        config = BuildConfig(api, gpu, restricted_to or "any", scratch, plugins)
        return build_engines(bundle, config, ranges, rebuild, report)


def _tell(bundle: Path, target: str, built: list[BuiltEngine], files: list[Path], json: bool) -> None:
    if json:
        engines = [{**as_dict(each.engine), "reused": each.reused, "why": each.why} for each in built]
        print_json({"bundle": str(bundle), "target": target, "engines": engines, "files": [str(f) for f in files]})
        return
    for each in built:
        if each.why:
            print_note(f"{each.engine.key.graph}: built again, {each.why}")
    if built:
        builder = built[0].engine.key.builder
        rows = [_row(each) for each in built]
        columns = ["graph", "MB", "layers", "seconds", "engine"]
        print_table(columns, rows, title=f"{builder.backend} {builder.version} for {_whose(builder.gpu)}")
    for file in files:
        print_line(f"wrote {file}")


def _row(built: BuiltEngine) -> list[str]:
    stored = built.engine
    took = "was there" if built.reused else f"{stored.seconds:.1f}"
    return [stored.key.graph, f"{stored.size / 1e6:.1f}", str(stored.layers), took, stored.path.name]


def _whose(gpu: str) -> str:
    return "any GPU that it knows" if gpu == "any" else gpu


def as_dict(stored: StoredEngine) -> dict[str, object]:
    """What is known of an engine, for JSON."""
    key = stored.key
    return {
        "graph": key.graph,
        "file": str(stored.path),
        "backend": key.builder.backend,
        "version": key.builder.version,
        "gpu": key.builder.gpu,
        "precision": key.precision,
        "profile": dict(key.profile),
        "bytes": stored.size,
        "layers": stored.layers,
        "seconds": stored.seconds,
    }
