"""The bundles that are served: each has passed its golden test here, and one takes another's place between requests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rsvl.runtime.bundle import MANIFEST, sha256
from rsvl.runtime.check import CheckReport, golden_test
from rsvl.runtime.errors import BundleError, UsageError, VerificationError
from rsvl.runtime.loading import load
from rsvl.runtime.service.problems import NO_PROCESS, RequestError
from rsvl.runtime.tasks import TASKS
from rsvl.runtime.tasks.runner import Runner


@dataclass(frozen=True, eq=False)
class ServedBundle:
    """A bundle that is loaded and has passed its golden test.

    Attributes:
        name: by which requests call it.
        source: its folder or file.
        runner: the loaded bundle.
        sha256: of its manifest, which has those of all other files.
        golden: what the golden test found.
        threads: CPU threads that it was loaded with.
    """

    name: str
    source: Path
    runner: Runner
    sha256: str
    golden: CheckReport
    threads: int | None

    def label(self) -> dict[str, Any]:
        """Which it is, for an answer of it."""
        return {
            "name": self.name,
            "model": self.runner.spec.name,
            "task": self.runner.spec.task,
            "precision": self.runner.manifest.precision,
            "provider": self.runner.provider,
            "sha256": self.sha256,
        }

    def to_dict(self) -> dict[str, Any]:
        """What a client may know of it."""
        spec = self.runner.spec
        return {
            **self.label(),
            "sensors": sorted({sensor for image in spec.images for sensor in image.sensors}),
            "takes_text": spec.text is not None,
            "threshold": spec.threshold,
            "options": sorted(self.runner.options),
            "golden": [str(measure) for measure in self.golden.measures],
        }


class Bundles:
    """The bundles by name. What a request has got stays whole for it, even if another takes its place."""

    def __init__(
        self,
        sources: Sequence[Path],
        provider: str | None = None,
        threads: int | None = None,
        swapped: Callable[[ServedBundle], None] = lambda bundle: None,
    ) -> None:
        """Loads all.

        Args:
            sources: folders or `.rsvl` files; their stems are their names.
            provider: as `rsvl.runtime.load` takes it.
            threads: CPU threads of each run.
            swapped: called with each bundle that begins to be served.

        Raises:
            UsageError: two of the same name, or one of a task that cannot be served.
            BundleError: one is damaged or has no golden test.
            VerificationError: one fails its golden test.
        """
        self._provider, self._threads, self._swapped = provider, threads, swapped
        self._loading = threading.Lock()
        self._served: dict[str, ServedBundle] = {}
        for source in sources:
            name = source.absolute().stem
            if name in self._served:
                raise UsageError(f"{source}: another bundle is called {name}, too: rename one")
            self._serve(self._load(name, source))

    def __iter__(self) -> Iterator[ServedBundle]:
        return iter(list(self._served.values()))

    def find(self, name: str) -> ServedBundle:
        """The bundle of a name.

        Raises:
            RequestError: there is none.
        """
        try:
            return self._served[name]
        except KeyError:
            known = ", ".join(self._served)
            raise RequestError(404, f"no bundle is called {name[:100]!r}: there is {known}", NO_PROCESS) from None

    def reload(self, name: str) -> ServedBundle:
        """Loads a bundle again from where it lies. It takes the old one's place only when its golden test has passed.

        Raises:
            RequestError: there is no such bundle, or the new one cannot be served: then the old one goes on.
        """
        old = self.find(name)
        with self._loading:
            try:
                new = self._load(name, old.source)
            except Exception as error:
                detail = f"the bundle at its place cannot be served, the old one goes on: {error}"
                raise RequestError(409, " ".join(detail.split())) from error
            self._serve(new)
        return new

    def _serve(self, bundle: ServedBundle) -> None:
        self._served[bundle.name] = bundle
        self._swapped(bundle)

    def _load(self, name: str, source: Path) -> ServedBundle:
        before = _fingerprint(source)
        runner: Runner = load(source, self._provider, self._threads)
        if runner.spec.task not in TASKS:
            raise UsageError(f"{source}: a bundle of the task {runner.spec.task}, whose raw inputs cannot be served")
        report = golden_test(runner.bundle, runner.session)  # of what will serve
        if not report.passed:
            failed = ", ".join(str(measure) for measure in report.measures if not measure.passed)
            raise VerificationError(f"{source}: the golden test fails on {report.provider} ({failed}): rsvl check")
        if before != _fingerprint(source):
            raise BundleError(f"{source}: it was exchanged while it was loaded: load it again")
        manifest = sha256(runner.bundle.root / MANIFEST)
        return ServedBundle(name, source, runner, manifest, report, self._threads)


def _fingerprint(source: Path) -> str:
    file = source / MANIFEST if source.is_dir() else source
    if not file.is_file():
        raise BundleError(f"{source}: no such bundle: make one with rsvl export")
    return sha256(file)
