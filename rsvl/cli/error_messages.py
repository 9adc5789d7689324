"""What went wrong, as one line that names cause and remedy and as an exit code."""

from __future__ import annotations

import errno
import os
import traceback
from dataclasses import dataclass
from pathlib import Path

from rsvl.runtime.errors import MissingComponentError, RsvlError, UsageError
from rsvl.runtime.extras import find_component

_REMEDIES = {
    errno.ENOSPC: "free space or write elsewhere",
    errno.EDQUOT: "free space or write elsewhere",
    errno.EACCES: "check the permissions or choose another place",
    errno.EPERM: "check the permissions or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.EEXIST: "choose another name",
    errno.ENOTDIR: "a file lies where a folder is needed, choose another path",
    errno.EISDIR: "name a file, not a folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOMEM: "free memory or ask for less at once",
}


@dataclass(frozen=True)
class ErrorMessage:
    """A line for stderr, empty where nothing needs to be said, and the exit code."""

    line: str
    exit_code: int


INTERRUPTED = ErrorMessage("interrupted", 130)
TERMINATED = ErrorMessage("terminated", 143)


class Terminated(BaseException):
    """SIGTERM arrived. No `except Exception` may hold it up."""


def explain(error: BaseException) -> ErrorMessage:
    """What to tell the user of an exception that ended a command."""
    if isinstance(error, RsvlError):
        return ErrorMessage(_one_line(str(error)), error.exit_code)
    if hasattr(error, "format_message"):  # typer's usage errors; typer's and click's releases differ in their class
        return ErrorMessage(_usage(error), UsageError.exit_code)
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, Terminated):
        return TERMINATED
    if isinstance(error, BrokenPipeError):
        return ErrorMessage("", 1)  # the reader of a pipe, such as `head`, has seen enough
    if isinstance(error, ImportError) and (missing := _missing_component(error)):
        return missing
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ErrorMessage("out of memory: ask for less at once, or use a machine with more", 1)
    if isinstance(error, OSError) and error.errno is not None:
        return ErrorMessage(_operating_system(error), 1)
    if os.environ.get("RSVL_TRACEBACK"):
        traceback.print_exception(error)
    return ErrorMessage(f"{_internal(error)}; please report it with what RSVL_TRACEBACK=1 shows", 1)


def _usage(error: BaseException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "rsvl"
    message = _one_line(error.format_message()).rstrip(".").replace("Value error, ", "")  # type: ignore[attr-defined]
    return f"{message}: see {path} --help"


def _missing_component(error: ImportError) -> ErrorMessage | None:
    component = find_component(error.name or "")
    if component is None:
        return None
    module = component.module
    installed = isinstance(error, ModuleNotFoundError) and error.name == module
    cause = f"this needs {module}" if installed else f"{module} is installed but broken ({_one_line(str(error))})"
    return ErrorMessage(f"{cause}: {component.remedy}", MissingComponentError.exit_code)


def _operating_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "check the path and the device")
    return _one_line(f"{where}{error.strerror or error}: {remedy}")


def _internal(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return _one_line(f"internal error, {type(error).__name__}: {error}{place}")


def _one_line(text: str) -> str:
    return " ".join(text.split())
