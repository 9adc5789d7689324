"""Listening: uvicorn with a patience of its own, signals, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from rsvl.runtime.errors import InputError
from rsvl.runtime.service.app import create_app
from rsvl.runtime.service.observed import log_to_stderr
from rsvl.runtime.service.service import ServeOptions, Service

_GRACE_SECONDS = 3
_CONNECTIONS = 1000
log = logging.getLogger("rsvl.runtime.service")


def serve(
    options: ServeOptions,
    host: str,
    port: int,
    log_level: str = "info",
    root_path: str = "",
    listening: Callable[[str], None] = lambda address: None,
) -> None:
    """Serves until SIGTERM or SIGINT, which is raised again at the end. SIGHUP loads all bundles again.

    Args:
        options: what is served, and how.
        host: the address to listen at.
        port: the port; 0 takes a free one.
        log_level: the least level that is logged.
        root_path: the path below which a proxy shows the service.
        listening: called with the address when requests are answered.

    Raises:
        InputError: the address cannot be listened at.
        RsvlError: a bundle cannot be served, or a folder cannot be used.
    """
    listener = _listener(host, port)
    with contextlib.closing(listener):
        service = Service(options)
        log_to_stderr(log_level)
        warnings.simplefilter("ignore")  # what is guessed of an image is in the answer, and a registry of it would grow
        config = uvicorn.Config(
            service.wrapped(create_app(service)),
            http=_patient(options.limits.header_seconds),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            root_path=root_path,
        )
        server = _Server(config, service, lambda: listening(_address(listener)))
        try:
            server.run(sockets=[listener])
        finally:
            if service.lanes.running:  # a graph that does not end must not keep the process
                sys.stderr.flush()
                os._exit(128 + signal.SIGTERM)


class _Server(uvicorn.Server):
    """Says when it listens, and loads bundles again on SIGHUP."""

    def __init__(self, config: uvicorn.Config, service: Service, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._service, self._listening = service, listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server`."""
        await super().startup(sockets)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        self._listening()

    def _reload(self) -> None:
        threading.Thread(target=_reload_all, args=(self._service,), daemon=True).start()


def _reload_all(service: Service) -> None:
    for bundle in service.bundles:
        try:
            new = service.bundles.reload(bundle.name)
        except Exception as error:
            log.error("bundle not reloaded", extra={"about": {"bundle": bundle.name, "reason": str(error)}})
        else:
            log.info("bundle reloaded", extra={"about": {"bundle": new.name, "bundle_sha256": new.sha256}})


def _listener(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        raise InputError(f"{host}:{port}: cannot be listened at ({error.strerror}): choose another --port") from error
    listener.set_inheritable(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _patient(seconds: float) -> type[asyncio.Protocol]:
    """The protocol of uvicorn, which ends connections whose request's head does not come in time."""

    class PatientProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            if self.conn.their_state is not h11.IDLE:
                self._stop()
            elif self._timer is None:
                self._timer = self.loop.call_later(seconds, self._end)

        def _stop(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _end(self) -> None:
            if self.conn.their_state is h11.IDLE:
                self.transport.abort()

    return PatientProtocol
