"""`rsvl watch`: answers scenes as they arrive in a folder."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rsvl.cli import options, reading, scenes
from rsvl.cli.console import print_json, print_line
from rsvl.cli.outputs import make_folder
from rsvl.cli.places import SUFFIXES, unique_stems
from rsvl.runtime.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from rsvl.runtime.watch.watcher import Log

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_PANEL, _SENT, _SAFE = "What arrives", "What is sent down", "What goes wrong"


def watch(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder in which scenes arrive.")],
    bundles: Annotated[list[Path], typer.Argument(metavar="BUNDLE…", help="Bundles that answer every scene.")],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="What to find or answer, or a label; repeatable."),
    ] = None,
    texts: scenes.Texts = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder for the results, made if missing.")
    ] = Path(),
    once: Annotated[bool, typer.Option("--once", help="End when what is there is done or set aside.")] = False,
    sensor: Annotated[options.Sensor, typer.Option("--sensor", help="What takes the scenes.")] = options.Sensor.OPTICAL,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            metavar="SECONDS",
            min=0,
            help="A scene is whole when it and what lies beside it has not changed for so long.",
            rich_help_panel=_PANEL,
        ),
    ] = 2.0,
    done_suffix: Annotated[
        str,
        typer.Option(
            "--done-suffix",
            metavar="SUFFIX",
            help="… and when a file of its name and this suffix is there, such as .done.",
            rich_help_panel=_PANEL,
        ),
    ] = "",
    sidecar: Annotated[
        list[str] | None,
        typer.Option(
            "--sidecar",
            metavar="SUFFIX",
            help="… and such a file, as _RPC.TXT; repeatable. What is there already is waited for anyway.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    priority: Annotated[
        list[str] | None,
        typer.Option(
            "--priority",
            metavar="PATTERN=N",
            help="Priority of scenes by their names, as coast*=5; the first that matches. A file SCENE.priority with a "
            "number comes before these. Default: 1.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    poll: Annotated[
        float,
        typer.Option(
            "--poll",
            metavar="SECONDS",
            min=0.01,
            help="How often to look at the folder when there is nothing to do.",
            rich_help_panel=_PANEL,
        ),
    ] = 1.0,
    downlink: Annotated[
        str | None,
        typer.Option(
            "--downlink",
            metavar="BYTES",
            help="Write packages of at most so many bytes, as 20k or 5M: the best objects, then masks.",
            rich_help_panel=_SENT,
        ),
    ] = None,
    period: Annotated[
        float | None,
        typer.Option(
            "--period",
            metavar="SECONDS",
            min=1,
            help="One package for all scenes of so many seconds. Default: one per scene.",
            rich_help_panel=_SENT,
        ),
    ] = None,
    scrub: Annotated[
        float | None,
        typer.Option(
            "--scrub",
            metavar="SECONDS",
            min=0,
            help="Check files and weights so often and after every scene, before its results count. Default: never.",
            rich_help_panel=_SAFE,
        ),
    ] = None,
    spare: Annotated[
        list[Path] | None,
        typer.Option(
            "--spare",
            metavar="BUNDLE",
            help="Another copy of each BUNDLE, in their order, to mend it from.",
            rich_help_panel=_SAFE,
        ),
    ] = None,
    stall: Annotated[
        float,
        typer.Option(
            "--stall",
            metavar="SECONDS",
            min=0.1,
            help="Without progress for so long the work is killed and begun again.",
            rich_help_panel=_SAFE,
        ),
    ] = 600.0,
    tries: Annotated[
        int,
        typer.Option(
            "--tries",
            metavar="N",
            min=1,
            help="A scene is set aside after so many attempts that got nowhere.",
            rich_help_panel=_SAFE,
        ),
    ] = 3,
    keep_free: Annotated[
        str,
        typer.Option(
            "--keep-free",
            metavar="BYTES",
            help="Begin no scene while less is free on the disk of the results.",
            rich_help_panel=_SAFE,
        ),
    ] = "100M",
    geotiff: scenes.GeoTiff = False,
    gpkg: scenes.GeoPackage = False,
    geoparquet: scenes.GeoParquet = False,
    threshold: scenes.Threshold = None,
    limit: scenes.MostFound = None,
    min_score: scenes.MinScore = None,
    min_area: scenes.MinArea = None,
    presence: scenes.MinPresence = None,
    simplify: scenes.Simplify = None,
    tile: scenes.Tile = "auto",
    scales: scenes.Scales = None,
    gsd: scenes.Gsd = None,
    batch: scenes.Batch = None,
    overlap: scenes.Overlap = None,
    aoi: scenes.Aoi = None,
    bands: reading.Bands = None,
    stretch: reading.Stretch = None,
    nodata: reading.NoData = None,
    crs: reading.Crs = None,
    provider: options.Provider = None,
    threads: options.Threads = None,
    json_lines: Annotated[bool, typer.Option("--json-lines", help="Print one JSON object per event and line.")] = False,
) -> None:
    """Answer scenes as they arrive in a folder, for weeks (docs/onboard.md).

    Results are those of rsvl run, in place when whole; what became of each scene is kept in DIR/watch. A run that was
    killed goes on; no scene is lost or done twice. Ends by SIGTERM (exit code 143).
    """
    from rsvl.cli.run import tile_of
    from rsvl.cli.watch_worker import WatchWork, reason_of
    from rsvl.runtime import Query
    from rsvl.runtime.temporary import only_user
    from rsvl.runtime.watch.inbox import Inbox
    from rsvl.runtime.watch.supervisor import Supervisor
    from rsvl.runtime.watch.watcher import STATE, Limits, Watcher

    flags = {"geotiff": geotiff, "gpkg": gpkg, "geoparquet": geoparquet}
    flags |= {"threshold": threshold is not None, "limit": limit is not None, "tile": tile != "auto"}
    flags |= {"overlap": overlap is not None, "aoi": aoi is not None}
    flags |= {"min-score": min_score is not None, "min-area": min_area is not None}
    flags |= {"simplify": simplify is not None, "batch": batch is not None}
    flags |= {"presence": presence is not None}
    flags |= {"scales": scales is not None, "gsd": gsd is not None}
    if gsd is not None and tile != "auto":
        raise UsageError("--gsd says how large the tiles are: leave --tile out")
    if period is not None and downlink is None:
        raise UsageError("--period is of --downlink: give both")
    if spare and len(spare) != len(bundles):
        raise UsageError(f"{len(bundles)} bundles and {len(spare)} of --spare: give one for each, or none")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder to watch: make it first")
    make_folder(output, "-o")
    if output.resolve() == folder.resolve():
        raise UsageError("the results cannot lie among the scenes: choose another folder with -o")
    budget = None if downlink is None else _bytes(downlink, "--downlink")
    limits = Limits(tries, _bytes(keep_free, "--keep-free"), poll, budget, period)
    inbox = Inbox(folder, SUFFIXES, settle, done_suffix, tuple(sidecar or ()), _priorities(priority or ()))
    read_as = reading.read_options(bands, stretch, nodata, crs, only_sar=sensor is options.Sensor.SAR)
    share = Query.overlap if overlap is None else overlap
    names = unique_stems(bundles) if len(bundles) > 1 else [""]
    work = WatchWork(
        bundles=list(zip(bundles, names, strict=True)),
        spares=dict(zip(bundles, spare or (), strict=False)),
        provider=provider,
        threads=threads,
        texts=[*(text or []), *scenes.read_texts(texts)],
        query=Query({}, (), threshold, tile_of(tile), reading=read_as, limit=limit, overlap=share, batch=batch),
        given=[name for name, is_given in flags.items() if is_given],
        options=scenes.options_of(
            threads, aoi, None, min_score, min_area, limit, presence, simplify, scales, gsd, False
        ),
        sensor=sensor.value,
        scrub=scrub,
    )
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # `rsvl.runtime.watch.inbox` says why
    lock = only_user(output / STATE)
    try:
        watcher = Watcher(inbox, output, Supervisor(work, reason_of, stall), limits, _log(json_lines))
        watcher.run(once)
    finally:
        os.close(lock)
    if once and (left := watcher.set_aside()):
        raise IncompleteError(f"{len(left)} scenes were set aside: {', '.join(left[:5])}: the reasons are above")


def _log(json_lines: bool) -> Log:
    def as_json(event: str, about: dict[str, Any]) -> None:
        print_json({"time": round(time.time(), 3), "event": event, **about})

    def for_people(event: str, about: dict[str, Any]) -> None:
        named = str(about.get("scene", about.get("package", about.get("folder", ""))))
        print_line(f"{time.strftime('%H:%M:%S')} {event}{f' {named}' if named else ''}{_details(about)}")

    return as_json if json_lines else for_people


def _details(about: dict[str, Any]) -> str:
    words = [f"{about['seconds']:.1f} s"] if "seconds" in about else []
    words += [
        f"{found.get('text', found.get('question', ''))}: {found.get('count', found.get('answer', ''))}"
        for found in about.get("found", ())
        if found.get("text") or found.get("question")
    ]
    words += [f"{about['skipped_tiles']} tiles skipped"] if about.get("skipped_tiles") else []
    if "left_out" in about:
        words.append(f"{about['bytes']} bytes, {about['objects']} objects and {about['masks']} masks")
        words.append(f"left out: {about['left_out']} objects and {about['masks_left_out']} masks")
    words += [about["reason"]] if about.get("reason") else []
    words += ["mended"] if about.get("mended") else []
    return f": {', '.join(words)}" if words else ""


def _bytes(value: str, option: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([kMG]?)B?", value)
    if found is None:
        raise UsageError(f"{option} takes bytes, as in 20000, 20k or 5M, not {value!r}")
    return round(float(found[1]) * _UNITS[found[2]])


def _priorities(values: Sequence[str]) -> list[tuple[str, float]]:
    found = []
    for value in values:
        pattern, _, number = value.rpartition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not pattern or not 0 < weight < float("inf"):
            raise UsageError(f"--priority {value}: write PATTERN=N with a number above 0, such as coast*=5")
        found.append((pattern, weight))
    return found
