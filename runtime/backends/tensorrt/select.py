"""Whether this machine runs a bundle by its own TensorRT engines, and in words why not."""

from __future__ import annotations

import warnings

from rsvl.runtime.backends.cuda.cuda_device import find_device
from rsvl.runtime.backends.tensorrt.detect import INSTALL, find_library, installed_libraries
from rsvl.runtime.backends.tensorrt.session import EngineSession
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.backends.tensorrt.tensorrt_api import Library
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DeviceError, EngineError, MissingComponentError

BY_ENGINES = "engines"
"""The name by which `--provider` forces them."""


def open_engines(bundle: Bundle, forced: bool) -> EngineSession | None:
    """A bundle's engines, ready to run.

    They are chosen without being asked for where the bundle has engines already (`rsvl engine` was run on it): building
    some takes minutes, which nobody expects of loading a model.

    Args:
        bundle: whose graphs.
        forced: whether the user asked for engines and nothing else.

    Returns:
        None where they are not forced and either there are none or they do not start, which a warning says.

    Raises:
        MissingComponentError: forced, and there is no TensorRT, no GPU, or not the plugin that an engine calls.
        EngineError: forced, and an engine cannot be built or loaded.
        DeviceError: forced, and the GPU failed.
    """
    if not forced and not has_engines(bundle):
        return None
    device, why_not = find_device()
    libraries = () if device is None else installed_libraries()
    if device is None or not libraries:
        if forced:
            raise MissingComponentError(
                f"engines do not run here: {why_not or f'TensorRT is not installed: {INSTALL}'}"
            )
        return None
    try:
        library = _library_of(bundle, libraries) or find_library(gpu=device.gpu)
        return EngineSession(bundle, library, device)
    except (DeviceError, EngineError, MissingComponentError) as error:
        if forced:
            raise
        warnings.warn(f"not by its engines: {error}", stacklevel=2)
        return None


def has_engines(bundle: Bundle) -> bool:
    """Whether each graph of a bundle has an engine, of whatever machine."""
    store = EngineStore(bundle)
    return all(store.stored(graph) for graph in bundle.manifest.model.graphs)


def _library_of(bundle: Bundle, libraries: tuple[Library, ...]) -> Library | None:
    """The library that the bundle's newest engine was built with, where it is installed."""
    store = EngineStore(bundle)
    engines = [engine for graph in bundle.manifest.model.graphs for engine in store.stored(graph)[:1]]
    return next((library for e in engines for library in libraries if library.backend == e.key.builder.backend), None)
