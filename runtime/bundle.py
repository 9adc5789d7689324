"""Opening a bundle, a directory or a packed `.rsvl` file, without trusting it.

Nothing is read from a bundle before its path is known to stay inside, and nothing is used before its SHA-256 agrees
with the manifest. A packed bundle is a ZIP of stored (not compressed) entries, so what it declares is what it holds
and it cannot swell; it is unpacked to a temporary folder, because ONNX Runtime loads weights from files with half the
memory that it takes from bytes.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rsvl.runtime.errors import BundleError, OutputError
from rsvl.runtime.graph_file import check_graph_file
from rsvl.runtime.manifest import GraphSpec, Manifest
from rsvl.runtime.temporary import LockedFolder

MANIFEST = "manifest.json"
ENGINES = "engines"
GOLDEN, GOLDEN_INPUTS = "golden/golden.npz", "golden/inputs.npz"

UNPACKED = "rsvl-unpacked-"
"""What the names of the temporary folders begin with that packed bundles are unpacked to."""

_BLOCK = 1 << 20
_MAX_MANIFEST = 16 << 20
_MAX_ENTRIES = 10_000
"""Files of a packed bundle; the largest that is known has a few dozen."""
_LONGEST_NAME = 255


class Bundle:
    """An opened bundle.

    Attributes:
        source: the directory or the `.rsvl` file.
        root: the folder that holds its files; temporary for a packed bundle, removed with this object.
        manifest: its `manifest.json`.

    Examples:
        >>> bundle = Bundle("tiny.bundle")
        >>> bundle.manifest.precision, [graph.name for graph in bundle.manifest.model.graphs]
        ('fp32', ['image', 'text', 'head'])
    """

    def __init__(self, source: str | Path, check: bool = True) -> None:
        """Opens a bundle.

        Args:
            source: a bundle's directory or `.rsvl` file.
            check: whether to compare every file's SHA-256 with the manifest. Paths, the manifest and the presence of
                files are checked always.

        Raises:
            BundleError: not a bundle; a file that is missing, changed or not listed; a path that leaves the bundle; a
                newer schema.
        """
        self.source = Path(source)
        self._unpacked: LockedFolder | None = None
        if self.source.is_dir():
            self.root = self.source
        elif self.source.is_file():
            self._unpacked = _temporary(self.source)
            self.root = self._unpacked.path
            _unpack(self.source, self.root)
        else:
            raise BundleError(f"{source}: no such bundle: make one with rsvl export")
        self.manifest = self._read_manifest()
        self._check_listing()
        if check:
            self.check_hashes()

    @property
    def packed(self) -> bool:
        """Whether it came from a `.rsvl` file."""
        return self._unpacked is not None

    @property
    def size(self) -> int:
        """Bytes of the files that the manifest lists; built engines do not count."""
        return sum(self._inside(name).stat().st_size for name in self.manifest.files)

    def path(self, name: str) -> Path:
        """The path of one of the bundle's files.

        Raises:
            BundleError: the name leaves the bundle, or the manifest does not list it.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.source}: the manifest does not list {name!r}: export the bundle again")
        return self._inside(name)

    def graph(self, spec: GraphSpec, backend: str = "") -> Path:
        """The path of a graph's file, which a library may be given: see `rsvl.runtime.graph_file`.

        Args:
            spec: the graph.
            backend: ``onnxruntime`` or ``openvino`` for that backend's variant, where the graph has one; by default the
                standard form.

        Raises:
            BundleError: it names files outside of the bundle, or could keep a library busy for ever.
        """
        file = spec.file_for(backend)
        self._check_graph(file)
        return self.path(file)

    def weights(self, spec: GraphSpec) -> dict[str, Path]:
        """The files beside a graph's standard one that hold its weights, by the names by which it calls them.

        Raises:
            BundleError: as for `graph`.
        """
        folder = PurePosixPath(spec.file).parent
        return {name: self.path((folder / name).as_posix()) for name in self._check_graph(spec.file)}

    def _check_graph(self, file: str) -> list[str]:
        try:
            return check_graph_file(self.path(file), file, self.manifest.files)
        except (ValueError, OSError) as error:
            raise BundleError(f"{self.source}: {file} cannot be used, {error}: do not use this bundle") from error

    def check_hashes(self) -> None:
        """Compares the SHA-256 of every listed file with the manifest.

        Raises:
            BundleError: names the file that differs.
        """
        for name in self.changed_files():
            raise BundleError(f"{self.source}: {name} has changed since export (SHA-256 differs): copy it again")

    def changed_files(self) -> Iterator[str]:
        """The names of the files whose SHA-256 is not the manifest's, or that cannot be read.

        `MANIFEST` is one of them where it is not what was opened.
        """
        for name, expected in self.manifest.files.items():
            if not _has_hash(self._inside(name), expected):
                yield name
        if not _has_hash(self._inside(MANIFEST), self._manifest_sha256):
            yield MANIFEST

    def _read_manifest(self) -> Manifest:
        path = self._inside(MANIFEST)
        if not path.is_file():
            raise BundleError(f"{self.source}: no {MANIFEST} in it: not a bundle, or a copy that was cut short")
        if path.stat().st_size > _MAX_MANIFEST:
            raise BundleError(f"{self.source}: {MANIFEST} is larger than any manifest: not a bundle")
        try:
            text = path.read_bytes()
            self._manifest_sha256 = hashlib.sha256(text).hexdigest()
            return Manifest.from_json(text.decode("utf-8"))
        except (UnicodeDecodeError, RecursionError) as error:
            raise BundleError(f"{self.source}: {MANIFEST} is not JSON text: export the bundle again") from error
        except BundleError as error:
            raise BundleError(f"{self.source}: {error}") from error

    def _check_listing(self) -> None:
        """Every listed file is there and inside; no other file is; every file that the model needs is listed."""
        for name in self.manifest.files:
            if not self._inside(name).is_file():
                raise BundleError(f"{self.source}: {name} is missing: copy the bundle again")
        for name in self._present():
            if name not in self.manifest.files:
                raise BundleError(f"{self.source}: {name} is not in the manifest: remove it")
        model = self.manifest.model
        tokenizer = [] if model.text is None else [model.text.tokenizer]
        graphs = [name for graph in model.graphs for name in (graph.file, *(each.file for each in graph.variants))]
        for name in [*tokenizer, *graphs]:
            self.path(name)

    def _present(self) -> Iterator[str]:
        for path in sorted(self.root.rglob("*")):
            name = path.relative_to(self.root)
            if name.parts[0] != ENGINES and not path.is_dir() and name.as_posix() != MANIFEST:
                yield name.as_posix()

    def _inside(self, name: str) -> Path:
        path = self.root / safe_name(name, self.source)
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise BundleError(f"{self.source}: {name} is a link that leaves the bundle: copy the file itself")
        return path


def safe_name(name: str, source: str | Path) -> PurePosixPath:
    """A file name from a bundle as a relative path that cannot climb out of it.

    Raises:
        BundleError: empty, absolute, with ``..``, a backslash, a drive or a NUL, or longer than a file's name may be.
    """
    path = PurePosixPath(name)
    if any(len(part) > _LONGEST_NAME for part in path.parts):
        raise BundleError(f"{source}: a file name of {len(name)} letters: do not use this bundle")
    if not path.parts or path.is_absolute() or ".." in path.parts or any(c in name for c in "\\:\0"):
        raise BundleError(f"{source}: the path {name!r} leaves the bundle: do not use this bundle")
    return path


def is_packed_bundle(path: Path) -> bool:
    """Whether a file is a ZIP with a manifest that can be read; nothing else in it is looked at."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(MANIFEST).file_size > _MAX_MANIFEST:
                return False
            Manifest.from_json(archive.read(MANIFEST).decode("utf-8"))
    except (OSError, KeyError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile, BundleError):
        return False
    return True


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _has_hash(path: Path, expected: str) -> bool:
    try:
        return sha256(path) == expected
    except OSError:
        return False


def _temporary(source: Path) -> LockedFolder:
    try:
        return LockedFolder(UNPACKED)
    except OSError as error:
        raise OutputError(
            f"{source}: no place to unpack it ({error.strerror}): set TMPDIR to another folder"
        ) from error


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_entries(entries, source)
            for entry in entries:
                target = folder / safe_name(entry.filename, source)
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, target.open("wb") as file:
                    shutil.copyfileobj(packed, file, _BLOCK)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleError(f"{source}: not a readable .rsvl file ({error}): copy or export it again") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(f"{source}: no space to unpack it in {folder.parent}: free some or set TMPDIR") from error
        raise BundleError(f"{source}: cannot be unpacked ({error.strerror}): copy or export it again") from error


def _check_entries(entries: list[zipfile.ZipInfo], source: Path) -> None:
    if len(entries) > _MAX_ENTRIES:
        raise BundleError(f"{source}: holds {len(entries)} files, more than any bundle: do not use this bundle")
    names = [safe_name(entry.filename, source) for entry in entries]  # ./a and a are one file
    if len(set(names)) != len(names):
        raise BundleError(f"{source}: holds the same path twice: export it again")
    # Stored entries that together are no larger than the archive can neither swell nor overlap.
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    if not stored or sum(entry.file_size for entry in entries) > source.stat().st_size:
        raise BundleError(f"{source}: its entries are compressed: pack it with rsvl export --pack")
