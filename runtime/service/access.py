"""Who may ask: API keys, and requests that a browser sends on behalf of another site's page."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rsvl.runtime.errors import InputError
from rsvl.runtime.service.problems import RequestError

KEY_VARIABLE = "RSVL_API_KEY"
_SHORTEST_KEY = 16
_LOOPBACK = frozenset(("localhost", "127.0.0.1", "::1"))
_OPEN = frozenset(("/", "/conformance", "/api", "/health/live", "/health/ready", "/page/page.css", "/page/page.js"))
"""What needs no key: it says nothing of bundles, images and jobs."""


def read_keys(file: Path | None) -> tuple[str, ...]:
    """The API keys of a file, one per line, else that of the environment variable `RSVL_API_KEY`.

    Raises:
        InputError: the file cannot be read, or a key is too short to be one.
    """
    if file is None:
        found = [os.environ[KEY_VARIABLE]] if os.environ.get(KEY_VARIABLE) else []
    else:
        try:
            found = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "no UTF-8 text"
            raise InputError(f"{file}: cannot be read ({reason}): write one API key per line") from error
        found = [line for line in found if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file}: holds no API key: write one per line, such as openssl rand -hex 32 gives")
    if any(len(key) < _SHORTEST_KEY for key in found):
        raise InputError(f"an API key has fewer than {_SHORTEST_KEY} characters: take one of openssl rand -hex 32")
    return tuple(found)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    return host in _LOOPBACK


class Access:
    """Refuses requests without an API key, and those of other sites' pages.

    A page of any site may send requests to this machine. The browser names the page's site in ``Origin``; and where a
    site's name was turned to this machine's address, the ``Host`` is that name. Both are held against what is served.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str], origins: Collection[str]) -> None:
        """Wraps an application.

        Args:
            app: the application.
            keys: API keys; none lets everyone in who calls this machine by a name of its own.
            origins: sites whose pages may ask.
        """
        self._app, self._origins = app, frozenset(origins)
        self._keys = [_digest(key) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
        else:
            await problem.response()(scope, receive, send)

    def _problem(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        origin, host = headers.get("origin"), headers.get("host", "")
        if origin is not None and origin not in self._origins and urlsplit(origin).netloc != host:
            detail = f"pages of {origin[:100]} may not ask here: --allow-origin lets them"
            return RequestError(403, detail, headers=_CLOSE)
        if not self._keys:
            return None
        if scope["path"] in _OPEN or self._is_known(headers):
            return None
        challenge = {"WWW-Authenticate": "Bearer", **_CLOSE}
        return RequestError(401, "an API key is needed: send it as Authorization: Bearer KEY", headers=challenge)

    def _is_known(self, headers: Headers) -> bool:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = _digest(key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", ""))
        return sum(hmac.compare_digest(given, known) for known in self._keys) > 0  # all are compared, whichever it is


class OwnNames:
    """Refuses requests that call this machine by a name that is not its own; see `Access`."""

    def __init__(self, app: ASGIApp) -> None:
        """Wraps an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else "localhost"
        if is_loopback(urlsplit(f"//{host}").hostname or ""):
            await self._app(scope, receive, send)
            return
        detail = f"called by the name {host[:100]!r}, which is not this machine's: behind a proxy, set an API key"
        await RequestError(421, detail, headers=_CLOSE).response()(scope, receive, send)


_CLOSE = {"Connection": "close"}
"""A refused request's body is not read, so nothing can follow it."""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
