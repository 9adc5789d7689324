"""`rsvl serve`: bundles behind HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from rsvl.cli import options
from rsvl.cli.console import print_line, print_note
from rsvl.runtime.errors import UsageError

_ACCESS, _LIMITS, _WORK = "Who may ask", "What is refused", "How it runs"


def serve(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE…", help="Bundles; requests call each by its name without suffix.")
    ],
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="N", min=0, max=65535, help="0: a free one.")] = 8000,
    root: Annotated[
        list[Path] | None,
        typer.Option("--root", metavar="DIR", help="Folder whose images requests may name; repeatable."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="API keys, one per line; else the variable RSVL_API_KEY.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Listen at another address than loopback without an API key.", rich_help_panel=_ACCESS
        ),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="ORIGIN",
            help="Site whose pages may ask (CORS), as scheme, host and port; repeatable.",
            rich_help_panel=_ACCESS,
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option("--root-path", metavar="PATH", help="Path below which a proxy shows it.", rich_help_panel=_ACCESS),
    ] = "",
    max_upload: Annotated[
        float,
        typer.Option("--max-upload", metavar="MB", min=0.001, help="Of a short request.", rich_help_panel=_LIMITS),
    ] = 64,
    max_scene: Annotated[
        float, typer.Option("--max-scene", metavar="MB", min=0.001, help="Sent with a job.", rich_help_panel=_LIMITS)
    ] = 4096,
    max_pixels: Annotated[
        float,
        typer.Option(
            "--max-pixels", metavar="MP", min=0.001, help="Of a short request, millions.", rich_help_panel=_LIMITS
        ),
    ] = 16.8,
    max_sentences: Annotated[
        int, typer.Option("--max-sentences", metavar="N", min=1, help="Of one request.", rich_help_panel=_LIMITS)
    ] = 32,
    max_letters: Annotated[
        int, typer.Option("--max-letters", metavar="N", min=1, help="Of one sentence.", rich_help_panel=_LIMITS)
    ] = 1000,
    header_seconds: Annotated[
        float,
        typer.Option("--header-seconds", metavar="S", min=0.1, help="For a head to come.", rich_help_panel=_LIMITS),
    ] = 10,
    body_seconds: Annotated[
        float,
        typer.Option("--body-seconds", metavar="S", min=0.1, help="For a body to come.", rich_help_panel=_LIMITS),
    ] = 60,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", min=0.1, help="For a short request's answer.", rich_help_panel=_LIMITS),
    ] = 60,
    queue: Annotated[
        int, typer.Option("--queue", metavar="N", min=0, help="Short requests that wait.", rich_help_panel=_LIMITS)
    ] = 64,
    max_jobs: Annotated[
        int, typer.Option("--max-jobs", metavar="N", min=1, help="Jobs that wait.", rich_help_panel=_LIMITS)
    ] = 100,
    stall_seconds: Annotated[
        float,
        typer.Option(
            "--stall-seconds",
            metavar="S",
            min=1,
            help="Without progress, after which a job's process is started again.",
            rich_help_panel=_LIMITS,
        ),
    ] = 1800,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            help="Jobs: queue, parts, results. Default: ~/.local/state/rsvl/serve-PORT.",
            rich_help_panel=_WORK,
        ),
    ] = None,
    keep_days: Annotated[
        float,
        typer.Option("--keep-days", metavar="N", min=0, help="To keep finished jobs.", rich_help_panel=_WORK),
    ] = 7,
    parallel: Annotated[
        int,
        typer.Option(
            "--parallel",
            metavar="N",
            min=1,
            help="Short requests at once; they share the threads.",
            rich_help_panel=_WORK,
        ),
    ] = 2,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, help="Processes of a job.", rich_help_panel=_WORK)
    ] = 1,
    log_level: Annotated[
        str,
        typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.", rich_help_panel=_WORK),
    ] = "info",
    provider: options.Provider = None,
    threads: options.Threads = None,
) -> None:
    """Serve bundles over HTTP: short requests, jobs for scenes, and a page to try it.

    Open the address in a browser, or: curl -F image=@scene.png -F text="the white ship" ADDRESS/bundles/NAME/ask

    A bundle is served when it has passed its golden test. SIGHUP loads all again; SIGTERM ends within 5 s, and jobs
    go on at the next start.
    """
    from rsvl.runtime.errors import MissingComponentError
    from rsvl.runtime.extras import remedy

    try:
        from rsvl.runtime.service.access import is_loopback, read_keys
        from rsvl.runtime.service.limits import Limits
        from rsvl.runtime.service.server import serve as run
        from rsvl.runtime.service.service import ServeOptions
    except ImportError as error:
        raise MissingComponentError(f"serving needs {error.name}: {remedy('fastapi')}") from error

    if log_level not in ("debug", "info", "warning", "error"):
        raise UsageError(f"--log-level is debug, info, warning or error, not {log_level!r}")
    keys, is_own = read_keys(api_key_file), is_loopback(host)
    if not keys and not is_own and not insecure:
        raise UsageError(
            f"{host} can be reached from other machines: set an API key (--api-key-file or RSVL_API_KEY), or say "
            "--insecure"
        )
    limits = Limits(
        upload_bytes=int(max_upload * 1e6),
        scene_bytes=int(max_scene * 1e6),
        pixels=int(max_pixels * 1e6),
        sentences=max_sentences,
        letters=max_letters,
        header_seconds=header_seconds,
        body_seconds=body_seconds,
        seconds=seconds,
        queue=queue,
        jobs=max_jobs,
        stall_seconds=stall_seconds,
        keep_days=keep_days,
    )
    asked = ServeOptions(
        bundles=bundles,
        state=state or _state_folder(port),
        roots=root or [],
        provider=provider,
        threads=threads,
        lanes=parallel,
        workers=workers,
        keys=keys,
        origins=[origin.rstrip("/") for origin in allow_origin or []],
        own_names_only=is_own and not keys,
        limits=limits,
    )
    if not keys:
        print_note("no API key: whoever can reach this address may ask")
    run(asked, host, port, log_level, root_path.rstrip("/"), lambda address: print_line(f"serving at {address}"))


def _state_folder(port: int) -> Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "rsvl" / f"serve-{port}"
