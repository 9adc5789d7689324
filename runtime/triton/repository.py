"""A bundle as a model repository of NVIDIA's Triton Inference Server: one model per graph, and an ensemble.

The ONNX files are the bundle's own. rsvl's operations are functions inside of them, so that Triton's ONNX Runtime
backend runs them with nothing installed. Layout and fields are those of Triton's documents, "Model Repository"
and "Model Configuration".
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rsvl.runtime.atomic import replacing_folder
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import GOLDEN, Bundle
from rsvl.runtime.check import read_golden
from rsvl.runtime.errors import OutputError, UsageError
from rsvl.runtime.manifest import GraphSpec
from rsvl.runtime.triton.configs import (
    Instances,
    WarmupInput,
    can_batch,
    check_expressible,
    ensemble_config,
    graph_config,
)
from rsvl.runtime.triton.text_format import Message, to_text

CONFIG, WARMUP = "config.pbtxt", "warmup"
_WRITTEN_BY = "# Written by rsvl triton"
"""What every configuration begins with: a folder of such models alone may be replaced."""

_MODEL = "model.onnx"
_VERSION = "1"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
"""A model's name is its folder's and part of the address at which it is asked."""


@dataclass(frozen=True)
class Repository:
    """A model repository that was written.

    Attributes:
        path: its folder.
        ensemble: the model to ask, which takes the bundle's raw inputs and gives its final outputs.
        models: the model of each graph, by graph.
        max_batch_size: the most samples of one request; 0 where the first dimension is one of the tensors' own.
        warmed_up: whether each graph is warmed up with the golden test's inputs.
    """

    path: Path
    ensemble: str
    models: Mapping[str, str]
    max_batch_size: int
    warmed_up: bool


def write_repository(
    bundle: str | Path | Bundle,
    path: str | Path,
    name: str | None = None,
    max_batch_size: int = 8,
    instances: Instances | None = None,
) -> Repository:
    """Writes a model repository, whole or not at all.

    Args:
        bundle: a bundle's directory or `.rsvl` file, or one that is opened already.
        path: the repository's folder. One that holds nothing but models that this function wrote is replaced.
        name: the ensemble's; its graphs' models are NAME-GRAPH. None for the bundle's model's name.
        max_batch_size: the most samples of one run, 1 or more. It counts where Triton can batch (`can_batch`).
        instances: how many copies of each graph, and where; None for one on the CPU.

    Raises:
        BundleError: a bundle that is damaged, or a golden test that cannot be read.
        UsageError: a name that cannot be a folder's, a number below 1, or tensors that Triton cannot express.
        OutputError: something else is at the path, or it cannot be written.
        RsvlError: the bundle's graphs cannot be run here, which gives the warm-up its tensors.

    Examples:
        >>> repository = write_repository("tiny.bundle", "triton-models", name="ships")
        >>> repository.ensemble, list(repository.models.values()), repository.max_batch_size
        ('ships', ['ships-image', 'ships-text', 'ships-head'], 8)
    """
    instances = instances or Instances()
    if max_batch_size < 1 or instances.count < 1:
        raise UsageError("max_batch_size and the count of instances must be 1 or more")
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    model, target = opened.manifest.model, Path(path)
    ensemble = model.name if name is None else name
    names = {graph.name: f"{ensemble}-{graph.name}" for graph in model.graphs}
    _check_names(ensemble, *names.values())
    check_expressible(model)
    check_replaceable(target)
    batch = max_batch_size if can_batch(model) else 0
    warmup = _warmup(opened, batch > 0)
    with replacing_folder(target) as folder:
        for graph in model.graphs:
            given = {tensor.name: warmup[tensor.name] for tensor in graph.inputs if tensor.name in warmup}
            _write_graph(folder / names[graph.name], opened, graph, given)
            _write_config(folder, graph_config(names[graph.name], graph, batch, instances, given))
        _write_version_of_ensemble(folder / ensemble / _VERSION)
        _write_config(folder, ensemble_config(ensemble, model, names, batch))
        check_replaceable(target)  # the work was long
    return Repository(target, ensemble, names, batch, bool(warmup))


def check_replaceable(path: Path) -> None:
    """Checks that nothing is lost where a repository is written: no folder, an empty one, or one of ours.

    Raises:
        OutputError: something else is there.
    """
    if path.is_symlink():
        raise OutputError(f"{path} is a link: name the folder itself")
    if not path.exists():
        return
    if not path.is_dir():
        raise OutputError(f"{path} is a file: name another folder")
    for entry in sorted(path.iterdir()):
        if not _is_ours(entry):
            raise OutputError(
                f"{path} holds {entry.name}, which rsvl triton did not write: name another folder (Triton takes "
                "--model-repository several times)"
            )


def _is_ours(model: Path) -> bool:
    try:
        with (model / CONFIG).open(encoding="utf-8") as file:
            return file.readline().startswith(_WRITTEN_BY)
    except (OSError, UnicodeDecodeError):
        return False


def _check_names(*names: str) -> None:
    for name in names:
        if _NAME.fullmatch(name) is None:
            raise UsageError(
                f"{name!r} cannot be the name of a Triton model: choose a --name of letters, digits and _ . + -"
            )


def _warmup(bundle: Bundle, batched: bool) -> dict[str, WarmupInput]:
    """Every graph's inputs as the golden test gives them: one sample where Triton batches, else all."""
    if GOLDEN not in bundle.manifest.files:
        return {}
    model = bundle.manifest.model
    inputs, _ = read_golden(bundle)
    raw = {name: array[:1] if batched else array for name, array in inputs.items()}
    made = Session(bundle, "cpu").run(raw, [graph.name for graph in model.graphs])
    taken = dict.fromkeys(tensor.name for graph in model.graphs for tensor in graph.inputs)
    arrays = {name: raw[name] if name in raw else to_numpy(made[name]) for name in taken}
    return {
        name: WarmupInput(f"{number}-{re.sub(r'[^A-Za-z0-9_.-]', '_', name)}", array[0] if batched else array)
        for number, (name, array) in enumerate(arrays.items())
    }


def _write_graph(folder: Path, bundle: Bundle, graph: GraphSpec, warmup: Mapping[str, WarmupInput]) -> None:
    """A model's files but its configuration. Triton wants a graph of several files in a folder of the graph's name."""
    version, weights = folder / _VERSION, bundle.weights(graph)
    place = version / _MODEL if weights else version
    place.mkdir(parents=True)
    shutil.copyfile(bundle.graph(graph), place / _MODEL)
    for name, source in weights.items():
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            raise UsageError(f"{bundle.source}: the weights of graph {graph.name} are called {name}: export it again")
        shutil.copyfile(source, target)
    for given in warmup.values():
        (folder / WARMUP).mkdir(exist_ok=True)
        little_endian = np.ascontiguousarray(given.array, given.array.dtype.newbyteorder("<"))
        (folder / WARMUP / given.file).write_bytes(little_endian.tobytes())


def _write_version_of_ensemble(folder: Path) -> None:
    """Triton wants the folder of a version, though it reads nothing of it; object stores keep no empty folders."""
    folder.mkdir(parents=True)
    (folder / ".keep").touch()


def _write_config(repository: Path, config: Message) -> None:
    path = repository / str(config["name"]) / CONFIG
    path.write_text(f"{_WRITTEN_BY}\n{to_text(config)}", encoding="utf-8")
