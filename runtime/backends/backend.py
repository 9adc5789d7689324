"""The protocol of whatever runs a bundle's graphs, and what those that compute from main memory share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np

from rsvl.runtime.errors import DeviceError, InputError, RsvlError

_OUT_OF_MEMORY = re.compile(
    r"allocate memory|(fail|cannot|could not|unable).{0,20}allocate|out of memory|bad_alloc|MemoryAllocation",
    re.IGNORECASE,
)


class Backend(Protocol):
    """The graphs of one bundle, loaded. Its runs may come from several threads."""

    @property
    def provider(self) -> str:
        """The name that chooses it, as `--provider` takes it."""
        ...

    @property
    def precision(self) -> str:
        """What it computes in, which limits how far its outputs may differ: the bundle's precision, or ``bf16``."""
        ...

    def run_graph(self, name: str, outputs: Iterable[str], feeds: Mapping[str, Any]) -> list[Any]:
        """Runs one graph.

        Args:
            name: the graph's name.
            outputs: the names of the outputs to return.
            feeds: each input by name, as `as_input` or an earlier run returned it.

        Returns:
            The outputs, on the device that computed them; `in_main_memory` copies them.

        Raises:
            InputError: a feed of the wrong type or shape.
            DeviceError: memory ran out, or the GPU stopped answering.
            RsvlError: the graph failed for another reason.
        """
        ...

    def as_input(self, array: Any) -> Any:
        """An array as `run_graph` takes it, with `shape`, `ndim` and `dtype`; copied only where it must be.

        Raises:
            InputError: it is no array, or lies where this backend cannot read it.
        """
        ...


def host_array(array: Any, provider: str) -> np.ndarray:
    """An array in main memory, without a copy where its library shares it through DLPack.

    Args:
        array: NumPy, anything that NumPy converts, or an array with DLPack.
        provider: the backend's, for the error.

    Raises:
        InputError: it lies in a GPU's memory.
    """
    if isinstance(array, np.ndarray) or not hasattr(array, "__dlpack__"):
        return np.asarray(array)
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError) as error:
        raise InputError(f"an array that is not in main memory: give NumPy to {provider}") from error


def in_main_memory(tensor: Any) -> np.ndarray:
    """A tensor that any backend's run returned, as an array in main memory; copied only where it lies elsewhere."""
    return tensor if isinstance(tensor, np.ndarray) else np.asarray(tensor.numpy())


def run_error(reason: str, remedy: str) -> RsvlError:
    """The error for a run that failed, from what the library says of it."""
    if _OUT_OF_MEMORY.search(reason):
        return DeviceError("memory ran out: use a smaller --tile or a smaller batch")
    if "no kernel image" in reason:
        return DeviceError(f"it has no code for the GPU here ({reason}): see rsvl doctor, or use --provider cpu")
    return RsvlError(f"{reason}: {remedy}")


def first_line(error: Exception) -> str:
    """An exception's first line, at most 200 characters; its type where it has no message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
