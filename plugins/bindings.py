"""cuda-python's modules: opened or said to be missing, and the answers of their calls checked."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rsvl.runtime.errors import MissingComponentError, RsvlError
from rsvl.runtime.extras import remedy


def opened(name: str, probe: str, needed: str) -> Any:
    """A module of `cuda.bindings`, once it has opened the library behind it.

    Args:
        name: the module's.
        probe: a function of it that takes nothing and needs the library, but no GPU.
        needed: who needs what, for the error.

    Raises:
        MissingComponentError: the bindings are missing, or the library that they open.
    """
    try:
        module = import_module(f"cuda.bindings.{name}")
        getattr(module, probe)()
    except (ImportError, RuntimeError) as error:
        raise MissingComponentError(f"{needed} ({error}): {remedy('cuda.bindings.nvrtc')}") from error
    return module


def checked(result: tuple[Any, ...], who: str, remedy: str) -> Any:
    """The value of a call, which begins with its status: zero is success in every module.

    Raises:
        RsvlError: the status is another; its name, who failed and the remedy are in the line.
    """
    status, *values = result
    if status.value != 0:
        raise RsvlError(f"{who} failed with {status.name}: {remedy}")
    return values[0] if values else None
