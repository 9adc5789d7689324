"""Bodies that are too large or too slow, refused while they come."""

from __future__ import annotations

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rsvl.runtime.service.limits import Limits
from rsvl.runtime.service.problems import RequestError

_DRAINED_BYTES, _DRAINED_SECONDS = 1 << 20, 1.0
"""What is still read of a refused body: a client that is cut off while it sends may not see the answer."""


class BodyLimits:
    """Counts what comes in and stops what is beyond the limits, before it is kept anywhere."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        """Wraps an application."""
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._limits.body_seconds, self._most(scope))
        try:
            body.check_declared(Headers(scope=scope).get("content-length", ""))
        except RequestError as problem:
            await problem.response()(scope, receive, body.closing(send))
            return
        await self._app(scope, body.receive, body.closing(send))

    def _most(self, scope: Scope) -> int:
        if not Headers(scope=scope).get("content-type", "").startswith("multipart/form-data"):
            return self._limits.json_bytes
        is_job = scope["path"].endswith("/execution")
        return self._limits.scene_bytes if is_job else self._limits.upload_bytes


class _Body:
    def __init__(self, receive: Receive, seconds: float, most: int) -> None:
        self._receive, self._most = receive, most
        self._seconds, self._end = seconds, time.monotonic() + seconds
        self._count, self._is_whole, self._is_refused = 0, False, False

    def check_declared(self, length: str) -> None:
        """Refuses by what the head says.

        Raises:
            RequestError: it is too large.
        """
        if length.isdecimal() and len(length) < 20 and int(length) > self._most:
            raise self._too_large()
        if length.isdecimal() and len(length) >= 20:
            raise self._too_large()

    async def receive(self) -> Message:
        """See ASGI; raises a `RequestError` for what is beyond the limits."""
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), max(0.0, self._end - time.monotonic()))
        except asyncio.TimeoutError:
            raise self._refused(
                408, f"the body has not come within {self._seconds:g} s: send it faster, or a smaller one"
            ) from None
        self._count += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._count > self._most:
            raise self._too_large()
        return message

    def closing(self, send: Send) -> Send:
        """Ends the connection after the answer to a body that was not read to its end."""

        async def wrapped(message: Message) -> None:
            if self._is_refused and message["type"] == "http.response.body" and not message.get("more_body"):
                await send({**message, "more_body": True})
                await self._drain()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        return wrapped

    async def _drain(self) -> None:
        count, end = 0, time.monotonic() + _DRAINED_SECONDS
        while count < _DRAINED_BYTES and not self._is_whole:
            try:
                message = await asyncio.wait_for(self._receive(), max(0.0, end - time.monotonic()))
            except asyncio.TimeoutError:
                return
            count += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)

    def _too_large(self) -> RequestError:
        size = f"{self._most >> 20} MiB" if self._most >= 1 << 20 else f"{self._most} bytes"
        return self._refused(413, f"the body is larger than {size}: send a smaller image, or name one in a folder")

    def _refused(self, status: int, detail: str) -> RequestError:
        self._is_refused = True
        return RequestError(status, detail, headers={"Connection": "close"})
