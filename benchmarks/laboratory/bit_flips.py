"""What becomes of flipped bits, kills and full disks: what is detected, what is recovered from, what is silently wrong.

python -m rsvl.benchmarks.laboratory.bit_flips tiny.bundle --image docs/scene.jpg --text "the white building" --count 20

Every injection is one random bit (or kill), from one seed. An answer is *wrong* where a mask's IoU with the
undisturbed one is below 0.99 or a probability differs by more than 0.01 (`--tolerance`). A flip that changes nothing
beyond that and is not detected is *harmless*; a wrong answer that is not detected is *silent*, and makes the exit code
1. In memory a bit is flipped where two of a graph's weights lie one after the other: in one copy of them, which the
backend may not use any more, or in every copy. For full disks a small disk is mounted, which takes root's rights.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rsvl.benchmarks.machine import hardware
from rsvl.benchmarks.markdown import markdown_table
from rsvl.benchmarks.records import RESULTS, file_stem, keep
from rsvl.runtime import Segmentation, load
from rsvl.runtime.bundle import Bundle
from rsvl.runtime.errors import RsvlError
from rsvl.runtime.scrub import Scrubber, open_bundle

_RUN = bytes(8)
_OTHER = np.zeros((32, 32, 3), np.uint8)
_MIN_TENSOR = 16


@dataclass(frozen=True)
class Question:
    """What is asked, and what counts as another answer."""

    image: Path
    texts: Sequence[str]
    tolerance: float

    def answer(self, runner: Any) -> list[Segmentation]:
        """The undisturbed model's, or a disturbed one's."""
        found: list[Segmentation] = runner.segment(self.image, self.texts, keep_probability=True)
        return found

    def is_wrong(self, found: Sequence[Segmentation], right: Sequence[Segmentation]) -> bool:
        """Whether answers differ by more than the tolerance."""
        return any(self._differs(one, other) for one, other in zip(found, right, strict=True))

    def _differs(self, one: Segmentation, other: Segmentation) -> bool:
        if one.mask.shape != other.mask.shape or one.probability is None or other.probability is None:
            return True
        either = int((one.mask | other.mask).sum())
        iou = int((one.mask & other.mask).sum()) / either if either else 1.0
        return iou < 0.99 or float(np.abs(one.probability - other.probability).max()) > self.tolerance


@dataclass
class Row:
    """What came of one kind of injection."""

    what: str
    outcomes: Counter[str] = field(default_factory=Counter)

    def cells(self) -> list[str]:
        """Its line of the table."""
        columns = ("detected", "recovered", "harmless", "silent")
        return [self.what, str(self.count), *(str(self.outcomes[name]) for name in columns)]

    @property
    def count(self) -> int:
        """How often it was injected."""
        return sum(self.outcomes[name] for name in ("detected", "harmless", "silent", "other image"))


def flip_in_file(path: Path, rng: random.Random) -> None:
    """Flips one bit of a file, at random."""
    data = bytearray(path.read_bytes())
    bit = rng.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def in_files(bundle: Path, question: Question, count: int, rng: random.Random, folder: Path) -> Iterator[Row]:
    """Flips in every file of a bundle: loading must refuse it, and a spare copy must mend it."""
    right, damaged = question.answer(load(bundle, "cpu", 1)), folder / "damaged.bundle"
    for name in (*Bundle(bundle).manifest.files, "manifest.json"):
        row = Row(f"a bit of `{name}` on the disk")
        for _ in range(count):
            shutil.rmtree(damaged, ignore_errors=True)
            shutil.copytree(bundle, damaged)
            flip_in_file(damaged / name, rng)
            try:
                found = question.answer(load(damaged, "cpu", 1))
            except RsvlError:
                row.outcomes["detected"] += 1
                open_bundle(damaged, bundle)
                row.outcomes["recovered"] += (damaged / name).read_bytes() == (bundle / name).read_bytes()
                continue
            row.outcomes["silent" if question.is_wrong(found, right) else "harmless"] += 1
        yield row


def in_memory(bundle: Path, question: Question, count: int, rng: random.Random) -> Iterator[Row]:
    """Flips in the weights of a loaded bundle: a scrub must find those that change the answer."""
    runner = load(bundle, "cpu", 1)
    right, scrubber = question.answer(runner), Scrubber(runner, question.texts)
    for graph in runner.spec.graphs:
        for kind, bits in (("any bit", range(32)), ("sign or exponent, in every copy,", range(23, 32))):
            row = Row(f"{kind} of a weight of `{graph.file}` in memory")
            for places in _weights(runner.bundle.path(graph.file), count, rng):
                with _flipped([rng.choice(places)] if len(bits) == 32 else places, rng.choice(bits)):
                    try:
                        runner.segment(_OTHER, question.texts[0])  # the last image's features are kept
                        is_wrong = question.is_wrong(question.answer(runner), right)
                    except RsvlError:
                        is_wrong = True
                    is_found = not scrubber.scrub().passed
                row.outcomes["detected" if is_found else "silent" if is_wrong else "harmless"] += 1
                row.outcomes["recovered"] += is_found and not question.is_wrong(
                    question.answer(load(bundle, "cpu", 1)), right
                )
            yield row


def _weights(graph: Path, count: int, rng: random.Random) -> Iterator[list[int]]:
    """Where copies of single weights of a graph lie in this process's memory, weights at random."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(graph)
    tensors = [numpy_helper.to_array(each) for each in model.graph.initializer]
    tensors = [each.ravel() for each in tensors if each.dtype == np.float32 and each.size >= _MIN_TENSOR]
    own = [(each.ctypes.data, each.ctypes.data + each.nbytes) for each in tensors]
    sizes = [each.size for each in tensors]
    found = tried = 0
    while tensors and found < count and tried < 20 * count:
        tried += 1
        (tensor,) = rng.choices(tensors, sizes)
        start = rng.randrange(tensor.size - 1)
        pattern = tensor[start : start + 2].tobytes()
        if pattern == _RUN:
            continue
        places = [at for at in _places(pattern) if not any(low <= at < high for low, high in own)]
        if places:
            found += 1
            yield places


def _places(pattern: bytes) -> list[int]:
    """Where bytes lie in this process's writable memory, aligned to 4."""
    found = list[int]()
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, mode, _, _, inode, *name = line.split()
        if not mode.startswith("rw") or inode != "0" or (name and name[0] != "[heap]"):
            continue
        low, high = (int(each, 16) for each in span.split("-"))
        with open("/proc/self/mem", "rb", buffering=0) as memory:  # noqa: PTH123
            memory.seek(low)
            data = memory.read(high - low)
        at = data.find(pattern)
        while at >= 0 and len(found) < 64:
            if at % 4 == 0:
                found.append(low + at)
            at = data.find(pattern, at + 1)
    return found


@contextmanager
def _flipped(addresses: Sequence[int], bit: int) -> Iterator[None]:
    values = [ctypes.c_uint32.from_address(address) for address in addresses]
    for value in values:
        value.value ^= 1 << bit
    try:
        yield
    finally:
        for value in values:
            value.value ^= 1 << bit


def in_inputs(bundle: Path, question: Question, count: int, rng: random.Random, folder: Path) -> Iterator[Row]:
    """Flips in an image's file. Pixels without a checksum cannot tell: what is not refused is another image."""
    runner, row = load(bundle, "cpu", 1), Row(f"a bit of the image ({question.image.suffix[1:]})")
    right, copy = question.answer(runner), folder / question.image.name
    for _ in range(count):
        shutil.copyfile(question.image, copy)
        flip_in_file(copy, rng)
        try:
            found = Question(copy, question.texts, question.tolerance).answer(runner)
        except RsvlError:
            row.outcomes["detected"] += 1
            continue
        row.outcomes["other image" if question.is_wrong(found, right) else "harmless"] += 1
    yield row


def with_watch(bundle: Path, question: Question, count: int, rng: random.Random, folder: Path) -> Iterator[Row]:
    """Kills of `rsvl watch` and of its worker at random instants, and full disks: the results must be the same."""
    scenes = folder / "in"
    scenes.mkdir()
    for number in range(2):
        shutil.copyfile(question.image, scenes / f"scene-{number}{question.image.suffix}")
    texts = [word for text in question.texts for word in ("--text", text)]
    command = [sys.executable, "-m", "rsvl", "watch", str(scenes), str(bundle), *texts, "--once", "--settle", "0"]
    command += ["--poll", "0.02", "--scrub", "1", "--threads", "1", "--json-lines", "-o"]
    started = time.monotonic()
    subprocess.run([*command, str(folder / "right")], check=True, capture_output=True)
    whole = time.monotonic() - started
    right = _results(folder / "right")
    for what, disturb in (
        ("SIGKILL of the watch", lambda process: process.kill()),
        ("SIGKILL of its worker", lambda process: _kill_child(process.pid)),
        ("SIGTERM of the watch", lambda process: process.terminate()),
    ):
        row = Row(what)
        for index in range(count):
            output = folder / f"out-{file_stem(what)}-{index}"
            row.outcomes[_disturbed([*command, str(output)], disturb, rng.uniform(0.1, whole), right, output)] += 1
            if _results(output) == right:
                row.outcomes["recovered"] += 1
            shutil.rmtree(output, ignore_errors=True)
        yield row
    yield _on_full_disks([*command[:-1], "--keep-free", "0", "-o"], count, rng, right, folder / "disk")


def _on_full_disks(command: Sequence[str], count: int, rng: random.Random, right: dict[str, bytes], disk: Path) -> Row:
    """Runs on a disk that is too small, which is then made larger."""
    row = Row("a full disk")
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk], check=False, capture_output=True).returncode:
        print("full disks were left out: a small disk cannot be mounted here")
        return row
    try:
        for index in range(count):
            output, size = disk / str(index), rng.randrange(24, 160)
            subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
            small = subprocess.run([*command, str(output)], check=False, capture_output=True).returncode
            wrong = any(data != right.get(name) for name, data in _results(output).items())
            subprocess.run(["mount", "-o", "remount,size=100m", disk], check=True)
            subprocess.run([*command, str(output)], check=False, capture_output=True)
            row.outcomes["silent" if wrong else "detected" if small else "harmless"] += 1
            row.outcomes["recovered"] += _results(output) == right
            shutil.rmtree(output)
    finally:
        subprocess.run(["umount", disk], check=True)
    return row


def _disturbed(
    command: Sequence[str], disturb: Callable[[Any], None], after: float, right: dict[str, bytes], output: Path
) -> str:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(after)
    disturb(process)
    out, _ = process.communicate()
    wrong = any(data != right.get(name) for name, data in _results(output).items())
    told = process.returncode != 0 or any(
        json.loads(line)["event"] in ("failed", "restarted") for line in out.splitlines() if line.startswith(b"{")
    )
    subprocess.run(command, check=False, capture_output=True)
    again = any(data != right.get(name) for name, data in _results(output).items())
    return "silent" if wrong or again else "detected" if told else "harmless"


def _kill_child(pid: int) -> None:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in children.read_text().split() if children.exists() else ():
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            os.kill(int(child), signal.SIGKILL)


def _results(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.*") if path.is_file()} if folder.exists() else {}


def page(rows: Sequence[Row], question: Question, seed: int) -> str:
    """The table as Markdown."""
    columns = ["injected", "times", "detected", "recovered", "harmless", "silently wrong"]
    text = markdown_table(columns, [row.cells() for row in rows])
    others = sum(row.outcomes["other image"] for row in rows)
    said = f"{others} of the image's flips made another image of it, which no checksum could tell." if others else ""
    return (
        f"# Injected faults\n\n{hardware()}; seed {seed}; an answer is wrong where a mask's IoU is below 0.99 or a "
        f"probability differs by more than {question.tolerance}. {said}\n\n{text}\n"
    )


def main() -> int:
    """Injects everything, records the table and returns 1 where something was silently wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--text", action="append", required=True)
    parser.add_argument("--count", type=int, default=20, help="of each kind of flip")
    parser.add_argument("--kills", type=int, default=5, help="of each kind of kill")
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--only", choices=("files", "memory", "inputs", "watch"), help="and keep the record's others")
    given = parser.parse_args()
    question, rng = Question(given.image, given.text, given.tolerance), random.Random(given.seed)
    stem = file_stem(hardware(), "injected faults", Bundle(given.bundle).manifest.model.name)
    rows = _recorded(given.output / f"{stem}.json") if given.only else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kinds = {
            "files": in_files(given.bundle, question, given.count, rng, folder),
            "memory": in_memory(given.bundle, question, given.count, rng),
            "inputs": in_inputs(given.bundle, question, given.count, rng, folder),
            "watch": with_watch(given.bundle, question, given.kills, rng, folder),
        }
        for kind, found in kinds.items():
            for row in found if given.only in (None, kind) else ():
                rows[row.what] = row
                print(" | ".join(row.cells()), flush=True)
    data = {"seed": given.seed, "tolerance": given.tolerance}
    data |= {"rows": {row.what: dict(row.outcomes) for row in rows.values()}}
    print(keep(data, page(list(rows.values()), question, given.seed), given.output, stem))
    return int(any(row.outcomes["silent"] for row in rows.values()))


def _recorded(path: Path) -> dict[str, Row]:
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    return {what: Row(what, Counter(outcomes)) for what, outcomes in rows.items()}


if __name__ == "__main__":
    sys.exit(main())
