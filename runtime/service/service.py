"""The service: bundles, folders, lanes, jobs and limits, put together into one ASGI application."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from rsvl.runtime.errors import OutputError
from rsvl.runtime.service.access import Access, OwnNames
from rsvl.runtime.service.bodies import BodyLimits
from rsvl.runtime.service.bundles import Bundles, ServedBundle
from rsvl.runtime.service.job_process import Order
from rsvl.runtime.service.job_runner import JobRunner
from rsvl.runtime.service.jobs import Job, Jobs
from rsvl.runtime.service.lanes import Lanes
from rsvl.runtime.service.limits import Limits
from rsvl.runtime.service.observed import Metrics, Observed
from rsvl.runtime.service.roots import Roots
from rsvl.runtime.service.short_requests import SENSORS
from rsvl.runtime.temporary import LockedFolder, only_user

UPLOADS = "rsvl-upload-"
"""What the names of the temporary folders begin with that short requests' images are put into."""


@dataclass(frozen=True)
class ServeOptions:
    """How bundles are served.

    Attributes:
        bundles: folders or `.rsvl` files.
        state: folder of the jobs.
        roots: folders whose images may be named.
        provider: as `rsvl.runtime.load` takes it.
        threads: CPU threads in all; None for all cores.
        lanes: short requests that run at once; the threads are shared among them.
        workers: processes of a job.
        keys: API keys; none lets everyone in.
        origins: sites whose pages may ask.
        own_names_only: whether this machine must be called by a name of its own.
        limits: what is refused.
    """

    bundles: Sequence[Path]
    state: Path
    roots: Sequence[Path] = ()
    provider: str | None = None
    threads: int | None = None
    lanes: int = 2
    workers: int = 1
    keys: Sequence[str] = ()
    origins: Sequence[str] = ()
    own_names_only: bool = True
    limits: Limits = field(default_factory=Limits)


class Service:
    """All that the routes need.

    Attributes:
        options: how bundles are served.
        bundles: what is served.
        roots: folders whose images may be named.
        lanes: threads of short requests.
        jobs: the queue.
        job_runner: what runs it.
        metrics: what Prometheus is told.
        uploads: folder of short requests' images.
        ends: whether the service is ending.
    """

    def __init__(self, options: ServeOptions) -> None:
        """Loads the bundles and opens the queue; `start` begins to run jobs.

        Raises:
            RsvlError: a bundle cannot be served, or a folder cannot be used.
        """
        self.options, self.limits = options, options.limits
        self.metrics = Metrics()
        self.roots = Roots(options.roots)
        cores = options.threads or os.cpu_count() or 1
        self._job_threads = max(1, cores // options.workers)
        self.bundles = Bundles(options.bundles, options.provider, max(1, cores // options.lanes), self._tell_swapped)
        self.lanes = Lanes(options.lanes, self.limits.queue, self.limits.seconds)
        self._lock = only_user(options.state)
        self.jobs = Jobs(options.state)
        self.job_runner = JobRunner(self.jobs, self.limits, self.order_of, self.count_tiles)
        self._uploads = _upload_folder()
        self.uploads = self._uploads.path
        self.ends = False

    def start(self) -> None:
        """Begins to run jobs."""
        self.job_runner.start()

    def stop(self) -> None:
        """Parks the job that runs, and closes what is open."""
        self.ends = True
        self.job_runner.stop()
        self.jobs.close()
        self._uploads.close()
        os.close(self._lock)

    def order_of(self, job: Job) -> Order:
        """What a job's process is told.

        Raises:
            RequestError: its bundle is not served any more, or its image is not there any more.
        """
        bundle, folder = self.bundles.find(job.process), self.jobs.folder_of(job.id)
        sent = job.inputs["sent"]
        images = {sensor: folder / sensor for sensor in sent}
        names = {str(folder / sensor): name for sensor, name in sent.items()}
        for name, sensor in SENSORS.items():
            given = job.inputs["asked"].get(name)
            if given is not None:
                images[sensor] = self.roots.find(given)
                names[str(images[sensor])] = given
        return Order(
            bundle=bundle.source,
            sha256=bundle.sha256,
            provider=bundle.runner.provider,
            threads=self._job_threads,
            workers=self.options.workers,
            images=images,
            names=names,
            inputs=job.inputs["asked"],
            folder=folder,
        )

    def count_tiles(self, bundle: str, tiles: float) -> None:
        """Counts tiles that were run."""
        if tiles > 0:
            self.metrics.tiles.labels(bundle).inc(tiles)

    def _tell_swapped(self, bundle: ServedBundle) -> None:
        about = bundle.to_dict()
        self.metrics.serve(bundle.name, about["model"], about["precision"], about["provider"], bundle.sha256)

    def wrapped(self, app: ASGIApp) -> ASGIApp:
        """The application behind all that a request passes first; see `rsvl.runtime.service`."""
        options = self.options
        app = BodyLimits(app, self.limits)
        app = Access(app, options.keys, options.origins)
        if options.own_names_only:
            app = OwnNames(app)
        if options.origins:
            app = CORSMiddleware(
                app,
                allow_origins=list(options.origins),
                allow_methods=["GET", "POST", "DELETE"],
                allow_headers=["authorization", "content-type", "prefer", "x-api-key", "x-request-id"],
                expose_headers=["location", "retry-after", "x-request-id"],
            )
        return Observed(app, self.metrics)


def _upload_folder() -> LockedFolder:
    try:
        return LockedFolder(UPLOADS)
    except OSError as error:
        raise OutputError(f"no place for what is sent ({error.strerror}): set TMPDIR to another folder") from error
