"""The engines in a bundle's `engines/`: each a file, and beside it what it was built from and its own SHA-256.

An engine that was cut short, changed or built for something else is skipped; the caller gets the reason in one phrase.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import replacing, write_text
from rsvl.runtime.backends.tensorrt.keys import Builder, EngineKey, differences, file_stem
from rsvl.runtime.bundle import ENGINES, Bundle, sha256
from rsvl.runtime.errors import BundleError, OutputError
from rsvl.runtime.manifest import GraphSpec

_MAX_NOTE_BYTES = 1 << 20


@dataclass(frozen=True)
class StoredEngine:
    """An engine on disk.

    Attributes:
        path: its file.
        key: what it was built from and for.
        sha256: of the file as it was written.
        size: its bytes.
        layers: of the network it was built from.
        seconds: that building took.
    """

    path: Path
    key: EngineKey
    sha256: str
    size: int
    layers: int
    seconds: float

    def damage(self) -> str:
        """Why its file cannot be what was written, as a phrase; empty where it is."""
        try:
            if self.path.stat().st_size != self.size:
                return f"{self.path.name} was cut short"
            same = sha256(self.path) == self.sha256
        except OSError as error:
            return f"{self.path.name} cannot be read ({error.strerror})"
        return "" if same else f"{self.path.name} has changed since it was built"

    def discard(self) -> None:
        """Makes sure that nobody finds it again."""
        with suppress(OSError):
            _note_of(self.path).unlink()

    def read(self) -> bytes:
        """The engine.

        Raises:
            BundleError: the file is not what was written.
        """
        data = self.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise BundleError(f"{self.path}: has changed since it was built: build it again with rsvl engine")
        return data


@dataclass(frozen=True)
class Found:
    """What the store has for a graph.

    Attributes:
        engine: one that serves; None where there is none.
        why: in one phrase, why the nearest one does not serve; empty where there is none at all.
        nearest: the one that `why` speaks of.
    """

    engine: StoredEngine | None
    why: str = ""
    nearest: StoredEngine | None = None


class EngineStore:
    """A bundle's engines.

    Raises:
        BundleError: `engines` is a link that leaves the bundle, or no folder.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.folder = bundle.root / ENGINES
        self._bundle = bundle
        inside = self.folder.resolve().is_relative_to(bundle.root.resolve())
        if not inside or (self.folder.exists() and not self.folder.is_dir()):
            raise BundleError(f"{bundle.source}: {ENGINES} must be a folder of the bundle: remove it")

    def stored(self, graph: GraphSpec) -> list[StoredEngine]:
        """All engines of a graph whose notes can be read, the newest first."""
        paths = self.folder.glob(f"{file_stem(graph.name)}-*.engine")
        notes = [note for path in paths if (note := _read_note(path)) is not None and note.key.graph == graph.name]
        return sorted(notes, key=lambda note: (-note.path.stat().st_mtime_ns, note.path.name))

    def find(self, graph: GraphSpec, builder: Builder) -> Found:
        """The newest engine that serves a graph on this machine."""
        why, nearest, fewest = "", None, 99
        for engine in self.stored(graph):
            reasons = differences(engine.key, builder, self._bundle, graph)
            if not reasons:
                damage = engine.damage()
                if not damage:
                    return Found(engine)
                reasons = [damage]
            if len(reasons) < fewest:
                why, nearest, fewest = " and ".join(reasons), engine, len(reasons)
        return Found(None, why, nearest)

    def find_exact(self, key: EngineKey) -> StoredEngine | None:
        """The engine of a key, where it is there and undamaged."""
        note = _read_note(self.folder / key.file)
        return note if note is not None and note.key == key and not note.damage() else None

    def write(self, key: EngineKey, engine: bytes, layers: int, seconds: float) -> StoredEngine:
        """Writes an engine, then its note: one without the other is no engine.

        Raises:
            OutputError: disk full, no permission.
        """
        self.make_folder()
        path = self.folder / key.file
        stored = StoredEngine(path, key, hashlib.sha256(engine).hexdigest(), len(engine), layers, round(seconds, 2))
        with replacing(path) as temporary:
            temporary.write_bytes(engine)
        write_text(_note_of(path), _note_text(stored))
        return stored

    def make_folder(self) -> None:
        """Makes `engines/`.

        Raises:
            OutputError: it cannot be made, or not be written to.
        """
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be made ({error.strerror}): copy the bundle elsewhere") from error
        if not os.access(self.folder, os.W_OK):
            raise OutputError(
                f"{self.folder}: cannot be written to: check its permissions or copy the bundle elsewhere"
            )

    def read_cache(self, name: str) -> bytes:
        """A cache of TensorRT's, which validates it itself; empty where there is none."""
        path = self.folder / name
        return path.read_bytes() if _is_own_file(path) else b""

    def write_cache(self, name: str, data: bytes) -> None:
        """Replaces a cache of TensorRT's.

        Raises:
            OutputError: disk full, no permission.
        """
        self.make_folder()
        with replacing(self.folder / name) as temporary:
            temporary.write_bytes(data)


def _is_own_file(path: Path) -> bool:
    """Whether it is a file and no link: a pipe would never end, nor would a device."""
    return path.is_file() and not path.is_symlink()


def _note_of(engine: Path) -> Path:
    return engine.with_suffix(".json")


def _note_text(stored: StoredEngine) -> str:
    fields: dict[str, Any] = {"key": asdict(stored.key), "sha256": stored.sha256, "bytes": stored.size}
    return json.dumps({**fields, "layers": stored.layers, "seconds": stored.seconds}, indent=2) + "\n"


def _read_note(engine: Path) -> StoredEngine | None:
    """What is noted of an engine, None where the note is missing or damaged, or is another engine's."""
    path = _note_of(engine)
    try:
        if not all(_is_own_file(each) for each in (engine, path)) or path.stat().st_size > _MAX_NOTE_BYTES:
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
        key = EngineKey.from_dict(data["key"])
        numbers = int(data["bytes"]), int(data["layers"]), float(data["seconds"])
        stored = StoredEngine(engine, key, str(data["sha256"]), *numbers)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return stored if key.file == engine.name else None
