"""What an engine was built from and for. Where any of it differs, another engine is needed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from rsvl.runtime.bundle import Bundle
from rsvl.runtime.manifest import GraphSpec

ANY = "any"


@dataclass(frozen=True)
class Builder:
    """What builds: the part of an engine's key that follows from the machine and not from the bundle.

    Attributes:
        backend: the Python module, ``tensorrt`` or ``tensorrt_rtx``.
        version: of that TensorRT.
        gpu: name and compute capability of the GPU that runs the engine, such as ``NVIDIA H200 (sm_90)``; for
            TensorRT for RTX, whose engines are portable, ``any`` or the only one that it is for, such as ``sm_86``.
        driver: the driver's CUDA version, such as ``13.0``; ``any`` where TensorRT checks it by itself.
    """

    backend: str
    version: str
    gpu: str
    driver: str


@dataclass(frozen=True)
class EngineKey:
    """Everything that invalidates an engine.

    Attributes:
        builder: see `Builder`.
        graph: the graph's name.
        precision: the bundle's.
        source: SHA-256 over the graph's file and its external weights.
        profile: min, opt and max shape of each dynamic input by name.
        plugins: names of the plugins that the engine calls, sorted; it cannot be loaded without them.
    """

    builder: Builder
    graph: str
    precision: str
    source: str
    profile: Mapping[str, Any]
    plugins: tuple[str, ...] = ()

    @property
    def file(self) -> str:
        """The engine's file name: the graph and a digest of the whole key."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{file_stem(self.graph)}-{hashlib.sha256(text.encode()).hexdigest()[:16]}.engine"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineKey:
        """From what `dataclasses.asdict` gave and JSON kept.

        Raises:
            KeyError, TypeError, ValueError: it is no such thing.
        """
        if set(data) != {field.name for field in fields(cls)}:
            raise ValueError("not the key of an engine")
        ranges = {str(k): tuple(tuple(int(n) for n in shape) for shape in v) for k, v in data["profile"].items()}
        if any(len(shapes) != 3 for shapes in ranges.values()):
            raise ValueError("a profile has three shapes per input")
        builder = Builder(**{str(k): str(v) for k, v in data["builder"].items()})
        words = {name: str(data[name]) for name in ("graph", "precision", "source")}
        return cls(builder=builder, profile=ranges, plugins=tuple(map(str, data["plugins"])), **words)


def file_stem(graph: str) -> str:
    """A graph's name as a part of a file name: a manifest may say anything."""
    return re.sub(r"[^A-Za-z0-9_]", "_", graph)


def source_hash(bundle: Bundle, graph: GraphSpec) -> str:
    """SHA-256 over what the manifest says of a graph's file and of the external weights beside it."""
    files = bundle.manifest.files
    parts = [files[name] for name in graph.files if name in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def differences(built: EngineKey, builder: Builder, bundle: Bundle, graph: GraphSpec) -> list[str]:
    """Why an engine does not fit a graph on this machine, one phrase per reason; none where it does."""
    then, now = built.builder, builder
    pairs = (
        ("the graph has changed", built.source, source_hash(bundle, graph)),
        ("the precision was {}, now {}", built.precision, bundle.manifest.precision),
        ("built with {}, here is {}", then.backend, now.backend),
        (f"built with {then.backend} {{}}, here is {{}}", then.version, now.version),
        ("built for {}, here is {}", then.gpu, now.gpu),
        ("built under driver {}, here is {}", then.driver, now.driver),
    )
    return [text.format(was, wanted) for text, was, wanted in pairs if was != wanted]
