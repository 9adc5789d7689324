"""Whether this machine runs a bundle's TensorRT engines, and a warning that says why not."""

from __future__ import annotations

import warnings

from rsvl.runtime.backends.cuda.cuda_device import find_device
from rsvl.runtime.backends.tensorrt.detect import INSTALL, find_tensorrt, installed_tensorrts
from rsvl.runtime.backends.tensorrt.session import TensorRTSession
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.backends.tensorrt.tensorrt_api import TensorRTApi
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import DeviceError, EngineError, MissingComponentError


def open_engines(bundle: Bundle, forced: bool) -> TensorRTSession | None:
    """A bundle's engines, ready to run.

    Where nothing is forced, they run only if the bundle has engines already (`rsvl engine` was run on it): to build
    them takes minutes, which nobody expects of loading a model.

    Args:
        bundle: whose graphs.
        forced: whether the user asked for engines and nothing else.

    Returns:
        None where they are not forced and either there are none or, with a warning, they do not start.

    Raises:
        MissingComponentError: forced, and there is no TensorRT, no GPU, or not the plugin that an engine calls.
        EngineError: forced, and an engine cannot be built or loaded.
        DeviceError: forced, and the GPU failed.
    """
    if not forced and not has_engines(bundle):
        return None
    device, why_not = find_device()
    installed = () if device is None else installed_tensorrts()
    if device is None or not installed:
        if forced:
            raise MissingComponentError(
                f"engines do not run here: {why_not or f'TensorRT is not installed: {INSTALL}'}"
            )
        return None
    try:
        api = _builder_of(bundle, installed) or find_tensorrt(gpu=device.gpu)
        return TensorRTSession(bundle, api, device)
    except (DeviceError, EngineError, MissingComponentError) as error:
        if forced:
            raise
        warnings.warn(f"falling back from TensorRT engines: {error}", stacklevel=2)
        return None


def has_engines(bundle: Bundle) -> bool:
    """Whether each graph of a bundle has an engine, built for any machine."""
    store = EngineStore(bundle)
    return all(store.stored(graph) for graph in bundle.manifest.model.graphs)


def _builder_of(bundle: Bundle, installed: tuple[TensorRTApi, ...]) -> TensorRTApi | None:
    """The TensorRT that the bundle's newest engine was built with, where it is installed."""
    store = EngineStore(bundle)
    engines = [engine for graph in bundle.manifest.model.graphs for engine in store.stored(graph)[:1]]
    return next((api for e in engines for api in installed if api.backend == e.key.builder.backend), None)
