"""Counts and logs every request: Prometheus metrics, and one JSON object per line on stderr."""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
import time
import traceback
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any, TextIO

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rsvl.runtime.service.problems import problem_of

_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)
_LATENCIES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_LINES_KEPT, _SECONDS_TO_FLUSH = 10_000, 0.5
_QUIET = ("/health/live", "/health/ready", "/metrics")
"""What is asked all the time: logged at the level debug."""
log = logging.getLogger("rsvl.runtime.service")


class Metrics:
    """What Prometheus is told. Labels are names of routes and bundles, never what a client wrote."""

    def __init__(self) -> None:
        """Begins to count."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rsvl_requests", "Requests answered", ("route", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "rsvl_request_seconds", "Time to the answer", ("route",), buckets=_LATENCIES, registry=self.registry
        )
        self.waiting = Gauge("rsvl_requests_waiting", "Short requests that wait", registry=self.registry)
        self.running = Gauge("rsvl_requests_running", "Short requests that run", registry=self.registry)
        self.jobs = Gauge("rsvl_jobs", "Jobs by status", ("status",), registry=self.registry)
        self.tiles = Counter("rsvl_tiles", "Tiles that were run", ("bundle",), registry=self.registry)
        self.bundle = Gauge(
            "rsvl_bundle_info",
            "1 for each bundle that is served",
            ("bundle", "model", "precision", "provider", "sha256"),
            registry=self.registry,
        )
        self._known: dict[str, tuple[str, ...]] = {}

    def serve(self, name: str, model: str, precision: str, provider: str, sha256: str) -> None:
        """Says which bundle is served by a name now."""
        if name in self._known:
            self.bundle.remove(*self._known[name])
        self._known[name] = (name, model, precision, provider, sha256)
        self.bundle.labels(*self._known[name]).set(1)


class Observed:
    """Gives each request an id, answers what nothing else caught, then counts and logs the request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Wraps an application."""
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        about = _Request(scope)
        try:
            await self._app(scope, receive, about.sending(send))
        except Exception as error:
            log.error(
                "internal error",
                extra={"about": about.known | {"traceback": "".join(traceback.format_exception(error))}},
            )
            if about.status is None:
                await problem_of(error).response()(scope, receive, about.sending(send))
        finally:
            self._tell(about, scope)

    def _tell(self, about: _Request, scope: Scope) -> None:
        route = getattr(scope.get("route"), "path", "other")
        seconds, status = time.perf_counter() - about.started, about.status or 499
        self._metrics.requests.labels(route, about.known["method"], str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        known = about.known | scope["state"].get("log", {}) | {"status": status, "seconds": round(seconds, 6)}
        log.log(logging.DEBUG if route in _QUIET else logging.INFO, "request", extra={"about": known})


class _Request:
    """A request that is observed.

    Attributes:
        started: when it came.
        status: of the response, None before there is one.
        known: what the log says of it.
    """

    def __init__(self, scope: Scope) -> None:
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        self.started = time.perf_counter()
        self.status: int | None = None
        self._id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        client = scope.get("client") or ("",)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self.known = {"request_id": self._id, "client": client[0], "method": method, "path": scope["path"][:200]}
        scope.setdefault("state", {}).update(request_id=self._id, log={})

    def sending(self, send: Send) -> Send:
        """Adds what every response has."""

        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                there = {name for name, _ in message.get("headers", ())}
                more = [(name, value) for name, value in _HEADERS if name not in there]
                message["headers"] = [*message.get("headers", ()), *more, (b"x-request-id", self._id.encode())]
            await send(message)

        return wrapped


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        now = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": now, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "about", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _Written(logging.Handler):
    """Writes lines to a stream in a thread: a reader that stops reading must not stop the service."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str] = queue.Queue(_LINES_KEPT)
        threading.Thread(target=self._write, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`; what does not fit is lost."""
        with suppress(queue.Full):
            self._lines.put_nowait(self.format(record))

    def flush(self) -> None:
        """Waits a little for what is not written yet."""
        end = time.monotonic() + _SECONDS_TO_FLUSH
        while self._lines.unfinished_tasks and time.monotonic() < end:
            time.sleep(0.01)

    def _write(self) -> None:
        while True:
            line = self._lines.get()
            with suppress(OSError, ValueError):
                print(line, file=self._stream, flush=True)
            self._lines.task_done()


def log_to_stderr(level: str) -> None:
    """Sends the service's and uvicorn's log to stderr."""
    handler = _Written(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, at_least in (("rsvl.runtime.service", level.upper()), ("uvicorn.error", "WARNING")):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(at_least)
