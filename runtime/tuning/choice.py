"""What was chosen for a bundle, and what it holds for: another machine or version may make another choice."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import rsvl
from rsvl.runtime.backends.onnxruntime.providers import onnxruntime, present_providers
from rsvl.runtime.backends.tensorrt.store import EngineStore
from rsvl.runtime.bundle import MANIFEST, Bundle, sha256
from rsvl.runtime.hardware import cores, cpu_features, cpu_model, nvidia_device

TUNED = "tuned"
"""The provider name of a choice that gives graphs backends or threads of their own."""

_MAX_THREADS = 4096


@dataclass(frozen=True)
class GraphChoice:
    """What runs a graph.

    Attributes:
        provider: a name as `rsvl.runtime.load` takes it, such as ``openvino``.
        threads: CPU threads; None for the backend's own choice.
    """

    provider: str
    threads: int | None = None

    def __str__(self) -> str:
        if self.threads is None:
            return self.provider
        return f"{self.provider} on {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Circumstances:
    """What a choice was measured on; where any of it differs, the choice is stale.

    Attributes:
        cpu: model and architecture.
        features: instructions that speed models up.
        cores: CPU cores that the process could use.
        accelerator: the NVIDIA device; empty where there is none.
        versions: of rsvl and of the libraries, with ONNX Runtime's providers; empty for one that is not installed.
        engines: names of the TensorRT engines that the bundle had.
    """

    cpu: str
    features: tuple[str, ...]
    cores: int
    accelerator: str
    versions: Mapping[str, str]
    engines: tuple[str, ...]

    def differences(self, other: Circumstances) -> list[str]:
        """What is otherwise in `other`, one phrase each."""
        pairs = (
            ("CPU", self.cpu, other.cpu),
            ("CPU features", ", ".join(self.features), ", ".join(other.features)),
            ("cores", self.cores, other.cores),
            ("accelerator", self.accelerator, other.accelerator),
            ("TensorRT engines", len(self.engines), len(other.engines)),
            *((name, self.versions.get(name, ""), other.versions.get(name, "")) for name in _names(self, other)),
        )
        found = [f"{what} {was or 'none'}, here {now or 'none'}" for what, was, now in pairs if was != now]
        return found or (["other TensorRT engines"] if self.engines != other.engines else [])


@dataclass(frozen=True)
class Choice:
    """What `rsvl tune` chose for a bundle.

    Attributes:
        bundle: `bundle_hash` of the bundle.
        circumstances: what it was measured on.
        date: when, ISO 8601 in UTC.
        default: today's default provider, which all graphs would run on.
        graphs: what runs each graph.
        ratio: time of a whole run relative to the default's, median of the ratios measured in turns; 1 where the
            default was kept.
    """

    bundle: str
    circumstances: Circumstances
    date: str
    default: str
    graphs: Mapping[str, GraphChoice]
    ratio: float

    @property
    def keeps_default(self) -> bool:
        """Whether nothing was faster than the default."""
        return set(self.graphs.values()) == {GraphChoice(self.default)}

    @property
    def summary(self) -> str:
        """One phrase: what runs which graph, or that the default does."""
        if self.keeps_default:
            return f"{self.default}, the default: nothing was faster"
        graphs = ", ".join(f"{name} {choice}" for name, choice in self.graphs.items())
        return f"{graphs}; {self.ratio:.2f} of the default's time"

    @property
    def measured(self) -> str:
        """One phrase: when, and on what."""
        return f"chosen by rsvl tune on {self.date[:10]}, {self.circumstances.cpu}, {self.circumstances.cores} cores"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Choice:
        """From what `to_dict` gave and JSON kept.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is no such thing.
        """
        was = data["circumstances"]
        circumstances = Circumstances(
            cpu=str(was["cpu"]),
            features=tuple(map(str, was["features"])),
            cores=int(was["cores"]),
            accelerator=str(was["accelerator"]),
            versions={str(name): str(version) for name, version in was["versions"].items()},
            engines=tuple(map(str, was["engines"])),
        )
        graphs = {str(name): _graph_choice(each) for name, each in data["graphs"].items()}
        words = {name: str(data[name]) for name in ("bundle", "date", "default")}
        return cls(circumstances=circumstances, graphs=graphs, ratio=float(data["ratio"]), **words)


def _graph_choice(data: Mapping[str, Any]) -> GraphChoice:
    threads = data["threads"]
    if threads is not None and not (type(threads) is int and 1 <= threads <= _MAX_THREADS):
        raise ValueError(f"{threads!r} threads")
    return GraphChoice(str(data["provider"]), threads)


def _names(one: Circumstances, other: Circumstances) -> list[str]:
    return sorted({*one.versions, *other.versions})


def bundle_hash(bundle: Bundle) -> str:
    """SHA-256 of a bundle's manifest, which has the SHA-256 of every other file."""
    return sha256(bundle.root / MANIFEST)


def circumstances(bundle: Bundle) -> Circumstances:
    """Those of a bundle on this machine now.

    Raises:
        MissingComponentError: ONNX Runtime is not installed.
        BundleError: its folder of engines is a link that leaves it.
    """
    store, graphs = EngineStore(bundle), bundle.manifest.model.graphs
    providers = ", ".join(provider.name for provider in present_providers())
    return Circumstances(
        cpu=f"{cpu_model()} ({platform.machine()})",
        features=tuple(cpu_features()),
        cores=cores(),
        accelerator=nvidia_device() or "",
        versions={
            "rsvl": rsvl.__version__,
            "onnxruntime": f"{onnxruntime().__version__} ({providers})",
            "openvino": _version("openvino"),
        },
        engines=tuple(sorted(engine.path.name for graph in graphs for engine in store.stored(graph))),
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
