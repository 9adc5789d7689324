"""Writing a bundle so that it is whole or not there: staged in a hidden sibling, hashed, then renamed into place."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import rsvl
from rsvl.export.verify import Verification
from rsvl.runtime.bundle import MANIFEST, sha256
from rsvl.runtime.errors import OutputError
from rsvl.runtime.manifest import Manifest

PACKED_SUFFIX = ".rsvl"

_CANNOT_WRITE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
}


@dataclass(frozen=True)
class Exported:
    """A bundle that was written.

    Attributes:
        path: the bundle's directory.
        packed: the same as one file, where that was asked for.
        manifest: what `manifest.json` says.
        verification: how the graphs compare with their reference.
    """

    path: Path
    packed: Path | None
    manifest: Manifest
    verification: Verification


@contextmanager
def staged(output: Path, pack: bool = False) -> Iterator[Path]:
    """Gives an empty directory to write a bundle into; when the block ends well, it becomes `output`.

    A block that fails leaves what was at `output` before and nothing else. One that is killed leaves a hidden
    directory beside `output`, which the next export to the same place removes.

    Args:
        output: the bundle's directory. A bundle that is there is replaced.
        pack: also write the bundle as one file, `packed_path(output)`.

    Raises:
        OutputError: something other than a bundle is at `output`, or the disk is full or not writable.
    """
    output = output.absolute()
    try:
        _refuse_to_replace(output, pack)
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(output)
        with _locked_sibling(output) as sibling:
            directory = sibling / output.name
            directory.mkdir()
            yield directory
            if pack:
                _pack(directory, sibling / packed_path(output).name)
                (sibling / packed_path(output).name).replace(packed_path(output))
            if output.exists():
                output.rename(sibling / "replaced")
            directory.rename(output)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        raise OutputError(
            f"cannot write {output} ({error.strerror}): free space or choose another place with -o"
        ) from error


def packed_path(output: Path) -> Path:
    """Where the one-file form of the bundle at `output` is written."""
    return output.with_name(output.name + PACKED_SUFFIX)


def write_manifest(directory: Path, manifest: Manifest) -> Manifest:
    """Writes `manifest.json` with the SHA-256 of every other file that the bundle now has; returns it with those."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST)
    manifest = replace(manifest, files={path.relative_to(directory).as_posix(): sha256(path) for path in files})
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def versions(*modules: str) -> dict[str, str]:
    """The versions of rsvl, of Python and of modules: several distributions bring `onnxruntime`."""
    found = {name: str(import_module(name).__version__) for name in modules}
    return {"rsvl": rsvl.__version__, "python": platform.python_version(), **found}


def _refuse_to_replace(output: Path, pack: bool) -> None:
    if output.is_dir():
        if not (output / MANIFEST).is_file() and any(output.iterdir()):
            raise OutputError(f"{output} is a directory that is not a bundle: choose another place with -o")
    elif output.exists():
        raise OutputError(f"{output} is a file: choose another place with -o")
    if pack and packed_path(output).is_dir():
        raise OutputError(f"{packed_path(output)} is a directory: choose another place with -o")


def _prefix(output: Path) -> str:
    return f".{output.name}.partial-"


@contextmanager
def _locked_sibling(output: Path) -> Iterator[Path]:
    """A hidden directory on the same file system, locked for as long as this process lives, removed at the end."""
    sibling = Path(tempfile.mkdtemp(prefix=_prefix(output), dir=output.parent))
    lock = os.open(sibling, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield sibling
    finally:
        shutil.rmtree(sibling, ignore_errors=True)
        os.close(lock)


def _remove_abandoned(output: Path) -> None:
    """Removes what killed exports left: siblings whose lock nobody holds."""
    for sibling in output.parent.iterdir():
        if not sibling.name.startswith(_prefix(output)):
            continue
        lock = os.open(sibling, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (sibling / "replaced").exists() and not output.exists():
                (sibling / "replaced").rename(output)  # killed between the two renames
            shutil.rmtree(sibling, ignore_errors=True)
        except BlockingIOError:
            continue  # another export is at work
        finally:
            os.close(lock)


def _pack(directory: Path, target: Path) -> None:
    """Writes the directory's files to a ZIP without compression: weights do not compress, and can be read in place."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in directory.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(directory).as_posix())
