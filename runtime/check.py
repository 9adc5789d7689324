"""Whether a bundle is whole, and whether this device computes what the export computed."""

from __future__ import annotations

import hashlib
import math
import time
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from rsvl.runtime.backends.backend import first_line
from rsvl.runtime.backends.session import Session, to_numpy
from rsvl.runtime.bundle import GOLDEN, GOLDEN_INPUTS, Bundle
from rsvl.runtime.errors import BundleError
from rsvl.runtime.images.preprocess import preprocess
from rsvl.runtime.manifest import ModelSpec, TensorSpec
from rsvl.runtime.npz import UNREADABLE
from rsvl.runtime.tasks import compare, coverage, find_task
from rsvl.runtime.tasks.agreement import DIFFERING, Measure, differing
from rsvl.runtime.tasks.tokenizer import Tokenizer

_MAX_GOLDEN = 1 << 30
"""Bytes of a golden test's arrays; that of the largest model has 20 MiB."""

_MAX_LEVELS = 2.0
"""Of 255: resampling may round otherwise in another release of Pillow."""

_SAME_NUMBER = 1e-9


@dataclass(frozen=True)
class CheckReport:
    """The result of `rsvl check`. Hashes, schema and paths are right whenever there is a report: otherwise it raises.

    Attributes:
        bundle: the bundle that was checked.
        model: the model's name.
        precision: the precision that was computed in, which sets the limits: see `Session.precision`.
        files: how many files were hashed.
        provider: what ran the golden test.
        samples: how many samples the golden test has.
        measures: how far the outputs agree with those expected, by the task's own rules.
        seconds: time of the golden run, loading left out.
        coverage: how much the golden test sees, such as the share of foreground.
        lack: why it says little, in one phrase; empty where it does not.
        fingerprint: SHA-256 of the outputs' bits: the same session gives the same again as long as its weights are
            what they were, on a device that repeats itself exactly, as CPUs do.
    """

    bundle: str
    model: str
    precision: str
    files: int
    provider: str
    samples: int
    measures: tuple[Measure, ...]
    seconds: float
    coverage: dict[str, float] = field(default_factory=dict)
    lack: str = ""
    fingerprint: str = ""

    @property
    def passed(self) -> bool:
        """Whether the golden test stays within the limits."""
        return all(measure.passed for measure in self.measures)


def check(bundle: str | Path, provider: str | None = None, threads: int | None = None) -> CheckReport:
    """Checks a bundle's schema, paths and hashes and runs its golden test on this device.

    Args:
        bundle: a bundle's directory or `.rsvl` file.
        provider: as `rsvl.runtime.load` takes it; None takes the one that `load` would.
        threads: CPU threads; None takes the physical cores.

    Raises:
        BundleError: damaged, incomplete, unsafe, written by a newer rsvl, or without a golden test.
        MissingComponentError: the forced provider is not installed.

    Examples:
        >>> report = check("tiny.bundle")
        >>> report.passed, report.measures[0].name, report.measures[0].value
        (True, 'mask IoU', 1.0)
    """
    opened = Bundle(bundle, check=True)
    find_task(opened.manifest.model.task).runner.check_outputs(opened)
    session = Session(opened, provider, threads)
    return golden_test(opened, session)


def golden_test(bundle: Bundle, session: Session) -> CheckReport:
    """Runs a bundle's golden test on a session that is loaded.

    Raises:
        BundleError: it has no golden test, or a damaged one.
        VerificationError: outputs that are not finite.
    """
    manifest = bundle.manifest
    inputs, expected = read_golden(bundle)
    found, seconds = run_golden(bundle, session, inputs, expected)
    seen = coverage(manifest.model, expected)
    return CheckReport(
        bundle=str(bundle.source),
        model=manifest.model.name,
        precision=session.precision,
        files=len(manifest.files),
        provider=session.provider,
        samples=len(next(iter(inputs.values()))),
        measures=(
            *compare(manifest.model, expected, found, session.precision),
            *_alive(manifest.model, found),
            *(compare_inputs(bundle) if GOLDEN_INPUTS in manifest.files else ()),
        ),
        coverage=seen.values,
        lack=seen.lack,
        seconds=seconds,
        fingerprint=_fingerprint(found),
    )


def _fingerprint(outputs: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(outputs):
        digest.update(f"{name} {outputs[name].dtype} {outputs[name].shape}".encode())
        digest.update(np.ascontiguousarray(outputs[name]).data)
    return digest.hexdigest()


def run_golden(
    bundle: Bundle, session: Session, inputs: Mapping[str, Any], expected: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], float]:
    """Runs the golden test's inputs through all graphs.

    Args:
        bundle: whose test.
        session: what runs its graphs.
        inputs: as `read_golden` gave them; outputs of the first graphs beside them spare those graphs.
        expected: as `read_golden` gave them.

    Returns:
        The outputs that are expected, by name, and the seconds that they took.

    Raises:
        BundleError: they are not of the shapes that are expected.
        RsvlError: a graph failed, or gave values that are not finite.
    """
    graphs = [graph for graph in bundle.manifest.model.graphs if not {t.name for t in graph.outputs} <= set(inputs)]
    started = time.perf_counter()
    outputs = session.run(inputs, [graph.name for graph in graphs])
    seconds = time.perf_counter() - started
    found = {name: to_numpy(outputs[name]) for name in expected}
    for name, array in expected.items():
        if found[name].shape != array.shape:
            raise BundleError(
                f"{bundle.source}: golden test expects {name} {list(array.shape)}, the graphs give "
                f"{list(found[name].shape)}: export again"
            )
    return found, seconds


def _alive(model: ModelSpec, found: Mapping[str, np.ndarray]) -> tuple[Measure, ...]:
    """That the outputs of the golden test's samples are not all the same, where they have to differ to mean anything.

    A constant output agrees with itself: no comparison finds a dead model.
    """
    share = differing(model, found).values.get(DIFFERING, 1.0)  # a single sample has nothing to differ from
    return () if share > 0 else (Measure(DIFFERING, share, 1 / len(next(iter(found.values()))), at_least=True),)


def read_golden(bundle: Bundle) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The golden test's raw inputs and the final outputs that it expects, by name, [N, …].

    Raises:
        BundleError: the bundle has no golden test, or a damaged one.
    """
    model = bundle.manifest.model
    try:
        arrays = _arrays(bundle.path(GOLDEN), {**model.raw_inputs, **model.final_outputs})
    except UNREADABLE as error:
        reason = first_line(error)
        raise BundleError(f"{bundle.source}: its golden test cannot be read ({reason}): export it again") from error
    inputs, outputs = ({name: arrays[name] for name in names} for names in (model.raw_inputs, model.final_outputs))
    if len({len(array) for array in inputs.values()}) != 1:
        raise BundleError(f"{bundle.source}: its golden test has not as many of each input: export it again")
    return inputs, outputs


def compare_inputs(bundle: Bundle) -> tuple[Measure, ...]:
    """Whether pictures and sentences become the raw inputs that they became at the export, and masks are cut as there.

    Raises:
        BundleError: the file is damaged.
    """
    model, found = bundle.manifest.model, list[Measure]()
    try:
        with zipfile.ZipFile(bundle.path(GOLDEN_INPUTS)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_GOLDEN:
                raise ValueError("it is too large")
        with np.load(bundle.path(GOLDEN_INPUTS), allow_pickle=False) as arrays:
            for image in model.images:
                made = preprocess(arrays[f"picture.{image.name}"], image)
                levels = np.abs(made - arrays[f"raw.{image.name}"]) * (255 * np.array(image.std)[:, None, None])
                found.append(Measure(f"{image.name} from pixels, gray levels", float(levels.max()), _MAX_LEVELS))
            if model.text is not None:
                tokenizer = Tokenizer.from_file(bundle.path(model.text.tokenizer), model.text)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a sentence may be cut, as at the export
                    tokens = tokenizer([str(text) for text in arrays["sentences"]])
                same = (tokens == arrays["tokens"]).all(axis=1)
                found.append(Measure("sentences of the same tokens", float(same.mean()), 1.0, at_least=True))
            found.append(
                Measure("threshold difference", abs(float(arrays["threshold"]) - model.threshold), _SAME_NUMBER)
            )
    except UNREADABLE as error:
        reason = first_line(error)
        raise BundleError(f"{bundle.source}: its golden inputs cannot be read ({reason}): export it again") from error
    return tuple(found)


def _arrays(path: Path, wanted: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Arrays of a .npz file of a stranger's; what it declares is bounded before it is read."""
    with zipfile.ZipFile(path) as archive:
        declared = sum(entry.file_size for entry in archive.infolist())
        if declared > _MAX_GOLDEN:
            raise ValueError(f"{declared >> 20} MiB of arrays")
        found = {}
        for name, tensor in wanted.items():
            entry = archive.getinfo(f"{name}.npy")
            with archive.open(entry) as file:
                _check_header(file, name, tensor, entry.file_size)
            with archive.open(entry) as file:
                found[name] = np.lib.format.read_array(file, allow_pickle=False)
        return found


def _check_header(file: IO[bytes], name: str, tensor: TensorSpec, size: int) -> None:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    fits = len(shape) == len(tensor.shape) and math.prod(shape) * dtype.itemsize <= size
    if not fits or dtype != tensor.dtype:
        raise ValueError(f"{name} is {dtype} {list(shape)}, the graphs have {tensor.dtype} {list(tensor.shape)}")
