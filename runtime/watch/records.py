"""What became of each scene, on the disk: one small file per scene, so that damage to one costs no other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rsvl.runtime.atomic import sync, write_text
from rsvl.runtime.errors import OutputError
from rsvl.runtime.manifest import seal
from rsvl.runtime.watch.inbox import Arrival

TRYING, DONE, SET_ASIDE = "trying", "done", "set aside"
_DAMAGED = ".damaged"


@dataclass(frozen=True)
class Record:
    """What became of a scene.

    Attributes:
        name: of its file.
        size: of its file, in bytes.
        mtime_ns: of its file.
        stem: what the names of its results begin with; no other record has it.
        priority: when it was taken up.
        state: `TRYING`, `DONE` or `SET_ASIDE`.
        attempts: how often it was begun since a part of it was done last.
        reason: why the last attempt failed.
        parts: parts of it that were there when the weights were found unchanged last; None where all count.
        finished: when it was done or set aside, in seconds since 1970.
        package: in what it was sent down; empty until then.
        about: of a scene that is done: what was found, and the names of the files, in the folder of the results.
    """

    name: str
    size: int
    mtime_ns: int
    stem: str
    priority: float = 1.0
    state: str = TRYING
    attempts: int = 0
    reason: str = ""
    parts: list[str] | None = None
    finished: float = 0.0
    package: str = ""
    about: dict[str, Any] = field(default_factory=dict, compare=False)

    def is_of(self, arrival: Arrival) -> bool:
        """Whether it is about a file as it is now."""
        return (self.name, self.size, self.mtime_ns) == (arrival.path.name, arrival.size, arrival.mtime_ns)


class Records:
    """The records of a folder. What they hold of the results stays on the disk.

    Attributes:
        damaged: the files that could not be read and were put aside; their scenes are done again.
    """

    def __init__(self, folder: Path) -> None:
        """Reads what is there.

        Raises:
            OutputError: the folder cannot be made or read.
        """
        self._folder, self.damaged = folder, list[Path]()
        self._by_stem: dict[str, Record] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.glob("*.json")):
                if path.name.startswith("."):
                    path.unlink()  # unfinished, of a run that was killed
                else:
                    self._read(path)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be used ({error.strerror}): choose another -o") from error
        self._by_name: dict[str, Record] = {}
        for record in sorted(self._by_stem.values(), key=lambda each: each.mtime_ns):
            self._by_name[record.name] = record

    def __iter__(self) -> Iterator[Record]:
        return iter(list(self._by_stem.values()))

    def of(self, arrival: Arrival) -> Record:
        """The record of a scene as its file is now; a new one, not written yet, for a scene that is not known.

        A file that was changed after its scene was done or set aside is another scene, with results of its own.
        """
        known = self._by_name.get(arrival.path.name)
        if known is not None and known.is_of(arrival):
            return known
        new = Record(arrival.path.name, arrival.size, arrival.mtime_ns, "", arrival.priority)
        if known is not None and known.state == TRYING:
            return replace(new, stem=known.stem)
        return replace(new, stem=self._free_stem(arrival.path))

    def save(self, record: Record) -> Record:
        """Writes a record; when this returns it is on the disk.

        Raises:
            OutputError: it cannot be written.
        """
        write_text(self._path(record.stem), json.dumps(seal(asdict(record)), indent=1) + "\n")
        kept = replace(record, about={})
        self._by_stem[record.stem] = self._by_name[record.name] = kept
        return kept

    def about(self, record: Record) -> dict[str, Any]:
        """What a record holds of the results.

        Raises:
            OSError, ValueError: it cannot be read any more.
        """
        found = json.loads(self._path(record.stem).read_text(encoding="utf-8"))["about"]
        assert isinstance(found, dict)
        return found

    def count(self) -> dict[str, int]:
        """How many records are in each state."""
        return dict(Counter(record.state for record in self._by_stem.values()))

    def _path(self, stem: str) -> Path:
        return self._folder / f"{stem}.json"

    def _free_stem(self, path: Path) -> str:
        stem, number = path.stem, 2
        while stem in self._by_stem:
            stem, number = f"{path.stem}-{number}", number + 1
        return stem

    def _read(self, path: Path) -> None:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if seal(data) != data:
                raise ValueError("changed")
            record = Record(**{each.name: data[each.name] for each in fields(Record)})
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            path.replace(path.with_name(path.name + _DAMAGED))
            sync(self._folder)
            self.damaged.append(path)
            return
        self._by_stem[record.stem] = replace(record, about={})
