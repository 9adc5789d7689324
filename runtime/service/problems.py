"""What goes wrong with a request, as RFC 7807 has it: a status, and one line that names cause and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import JSONResponse

from rsvl.runtime.errors import DeviceError, InputError, MissingComponentError, OutputError, RsvlError, UsageError

_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_PROCESS, NO_JOB, NOT_READY = (f"{_OGC}{name}" for name in ("no-such-process", "no-such-job", "result-not-ready"))

_STATUS = (
    (UsageError, 422),
    (InputError, 422),
    (MissingComponentError, 501),
    (OutputError, 507),
    (DeviceError, 503),
)


class RequestError(Exception):
    """A request that is not fulfilled.

    Attributes:
        status: the HTTP status.
        detail: one line that names cause and remedy.
        kind: a URI that tells its kind.
        headers: of the response.
    """

    def __init__(
        self, status: int, detail: str, kind: str = "about:blank", headers: Mapping[str, str] | None = None
    ) -> None:
        """See the attributes."""
        super().__init__(detail)
        self.status, self.detail, self.kind = status, detail, kind
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """As the body of a response has it."""
        title = HTTPStatus(self.status).phrase
        return {"type": self.kind, "title": title, "status": self.status, "detail": self.detail}

    def response(self) -> JSONResponse:
        """The response."""
        return JSONResponse(self.to_dict(), self.status, self.headers, "application/problem+json")


def problem_of(error: Exception, names: Mapping[str, str] | None = None) -> RequestError:
    """The problem of an exception.

    Args:
        error: what was raised.
        names: what the client calls files, by what the server calls them: it is told no paths of the server's.
    """
    if isinstance(error, RequestError):
        return error
    if isinstance(error, RsvlError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        return RequestError(status, one_line(str(error), names))
    if isinstance(error, MemoryError):
        return RequestError(503, "out of memory: ask for less at once", headers={"Retry-After": "5"})
    return RequestError(500, "internal error: the server's log has the reason, by the X-Request-ID of this response")


def one_line(text: str, names: Mapping[str, str] | None = None) -> str:
    """A message as one line, with the client's names of files."""
    for path, name in (names or {}).items():
        text = text.replace(path, name)
    return " ".join(text.split())
