"""The work of `rsvl watch`, in its own process: bundles that are loaded once and answer scene after scene."""

from __future__ import annotations

import time
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rsvl.cli.console import finite, printable
from rsvl.cli.error_messages import explain
from rsvl.cli.render import check_options, dispatch
from rsvl.cli.scenes import SceneOptions

if TYPE_CHECKING:
    from rsvl.runtime import Query, Runner
    from rsvl.runtime.scrub import Scrubber
    from rsvl.runtime.watch.supervisor import Tell
    from rsvl.runtime.watch.watcher import Job


def reason_of(error: BaseException) -> str:
    """One line for an exception."""
    return printable(explain(error).line)


@dataclass(frozen=True)
class WatchWork:
    """What is asked of every scene; called in the worker's process, it gives the worker.

    Attributes:
        bundles: the bundles, and the name of each's folder of results; empty for a single one.
        spares: another copy of each, or none.
        provider: what runs them.
        threads: CPU threads.
        texts: what to find.
        query: what else is asked; its images are put in.
        given: names of the options that were given and that only some tasks have.
        options: what is asked of scenes.
        sensor: what took them.
        scrub: seconds between two scrubs; None for none.
    """

    bundles: Sequence[tuple[Path, str]]
    spares: Mapping[Path, Path]
    provider: str | None
    threads: int | None
    texts: Sequence[str]
    query: Query
    given: Collection[str]
    options: SceneOptions
    sensor: str
    scrub: float | None

    def __call__(self, tell: Tell) -> WatchWorker:
        """Loads the bundles.

        Raises:
            RsvlError: one cannot be used, or its golden test fails.
        """
        return WatchWorker(self, tell)


class WatchWorker:
    """Bundles that are loaded, and watched over where that is asked for."""

    def __init__(self, work: WatchWork, tell: Tell) -> None:
        from rsvl.runtime import load
        from rsvl.runtime.scrub import Scrubber, open_bundle

        self._work, self._last_scrub = work, time.monotonic()
        self._runners: list[tuple[Runner, str]] = []
        self._scrubbers: list[Scrubber] = []
        self._told: dict[Path, tuple[str, ...]] = {}
        for path, name in work.bundles:
            tell()
            spare = work.spares.get(path)
            runner = load(open_bundle(path, spare), work.provider, work.threads)
            check_options(runner, work.given)
            self._runners.append((runner, name))
            if work.scrub is not None:
                texts = work.texts if runner.spec.text is not None else ()
                self._scrubbers.append(Scrubber(runner, texts, spare))

    def answer(self, job: Job, tell: Tell) -> dict[str, Any]:
        """Answers a scene by each bundle; see `rsvl.runtime.watch.supervisor.Worker`.

        Returns:
            ``files``, by their paths in the job's folder, ``found`` and, of each bundle, ``answers``.
        """
        _clear(job, None if self._work.scrub is None else job.parts or ())
        files, answers = list[str](), list[dict[str, Any]]()
        for runner, name in self._runners:
            given = {*self._work.given, "geojson"} & runner.options
            folder = job.folder / name
            folder.mkdir(exist_ok=True)
            runner.set_timing_hook(lambda *_: tell())  # a graph that has run is progress, whatever it belongs to

            def progress(done: float, total: float, stage: str = "", detail: str = "") -> None:
                tell()
                self._scrub_if_due(job, tell)

            query = replace(
                self._work.query, images={self._work.sensor: job.scene}, texts=self._work.texts, progress=progress
            )
            output = dispatch(runner, query, folder, job.stem, given, self._work.options)
            about = output.to_dict()
            answers.append({"bundle": str(runner.bundle.source), "provider": runner.provider, "read": about["read"]})
            answers[-1]["found"] = [_short(each) for each in about["found"]]
            files += [path.relative_to(job.folder).as_posix() for path in output.files]
        self._scrub(job, tell)
        found = {"files": files, "found": _counts(answers), "skipped_tiles": _skipped(answers), "answers": answers}
        return finite(found)

    def _scrub_if_due(self, job: Job, tell: Tell) -> None:
        if self._work.scrub is not None and time.monotonic() - self._last_scrub > self._work.scrub:
            self._scrub(job, tell)

    def _scrub(self, job: Job, tell: Tell) -> None:
        """Scrubs, and says which parts are there: they were made by weights that are as they were.

        Files that have changed are mended from the spare copy; without one the work goes on with what is in memory.

        Raises:
            UnsoundError: something has changed in memory.
        """
        from rsvl.runtime.healing import heal
        from rsvl.runtime.watch.supervisor import UnsoundError

        parts = [path.relative_to(job.folder).as_posix() for path in sorted(job.folder.rglob("part-*.npz"))]
        for scrubber in self._scrubbers:
            tell()
            report, source = scrubber.scrub(), scrubber.runner.bundle.source
            if report.memory:
                raise UnsoundError(f"{source}: {report}")
            if report.files and report.files != self._told.get(source):
                spare = self._work.spares.get(source)
                mended = [] if spare is None else heal(source, spare)
                tell({"bundle": str(source), "reason": str(report), "mended": [str(path) for path in mended]})
                self._told[source] = () if mended else report.files
        if self._scrubbers:
            tell({"parts": parts})
        self._last_scrub = time.monotonic()


def _clear(job: Job, usable: Collection[str] | None) -> None:
    """Removes what an earlier attempt left but for whole parts, of those that may be used; None is all of them."""
    for path in sorted(job.folder.rglob("*"), reverse=True):
        name = path.relative_to(job.folder).as_posix()
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.name.startswith("part-"):
            if not _is_whole(path) or (usable is not None and name not in usable):
                path.unlink()
        elif path.name != "plan.json":
            path.unlink()


def _is_whole(part: Path) -> bool:
    try:
        with zipfile.ZipFile(part) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return False


def _short(found: dict[str, Any]) -> dict[str, Any]:
    """A result without the list of its objects, which its files have."""
    short = {key: value for key, value in found.items() if key not in ("objects", "boxes", "scores")}
    if isinstance(found.get("objects"), list):
        short["count"] = len(found["objects"])
    elif isinstance(found.get("boxes"), list):
        short["count"] = len(found["boxes"])
    return short


def _counts(answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = ("text", "found", "count", "score", "answer", "label", "probability", "classes")
    return [{key: each[key] for key in keys if key in each} for answer in answers for each in answer["found"]]


def _skipped(answers: Sequence[dict[str, Any]]) -> int:
    return sum(len(reading["skipped"]) for answer in answers for reading in answer["read"])
