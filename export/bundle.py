"""Writing a bundle so that it is whole or not there: staged in a hidden sibling, hashed, then renamed into place."""

from __future__ import annotations

import errno
import os
import platform
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import rsvl
from rsvl.export.verify import Verification
from rsvl.runtime.atomic import sync, sync_tree
from rsvl.runtime.bundle import MANIFEST, Bundle, is_packed_bundle, sha256
from rsvl.runtime.errors import BundleError, OutputError
from rsvl.runtime.manifest import SCHEMA_VERSION, SCHEMA_WITHOUT_PRESENCE, Manifest
from rsvl.runtime.temporary import LockedFolder, abandoned, exclusive

PACKED_SUFFIX = ".rsvl"

_REPLACED = "replaced"
"""In an export's temporary folder: the bundle that the new one replaces."""

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
    errno.ENOENT,
    errno.ENOTEMPTY,
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
        output.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(output.parent):  # another export may be exchanging the two at this instant
            _refuse_to_replace(output, pack)
            _restore_replaced(output)
            sibling = LockedFolder(_prefix(output), output.parent)
        with sibling:
            directory = sibling.path / output.name
            directory.mkdir()
            yield directory
            packed = sibling.path / packed_path(output).name
            if pack:
                _pack(directory, packed)
            sync_tree(sibling.path)
            with exclusive(output.parent):
                _refuse_to_replace(output, pack)  # the work was long
                if pack:
                    packed.replace(packed_path(output))
                _put_in_place(directory, output)
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
    schema = SCHEMA_VERSION if manifest.presence else SCHEMA_WITHOUT_PRESENCE
    manifest = replace(
        manifest, schema=schema, files={path.relative_to(directory).as_posix(): sha256(path) for path in files}
    )
    (directory / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest


def versions(*modules: str) -> dict[str, str]:
    """The versions of rsvl, of Python and of modules: several distributions bring `onnxruntime`."""
    found = {name: str(import_module(name).__version__) for name in modules}
    return {"rsvl": rsvl.__version__, "python": platform.python_version(), **found}


def _refuse_to_replace(output: Path, pack: bool) -> None:
    """Lets only an empty folder and a bundle be replaced: what opens as one and has no file that it does not list.

    Raises:
        OutputError: something else is there.
    """
    packed = packed_path(output)
    if output.is_symlink():
        raise OutputError(f"{output} is a link: choose another place with -o")
    if output.is_dir():
        if any(output.iterdir()):
            _open_as_bundle(output)
    elif output.exists():
        raise OutputError(f"{output} is a file: choose another place with -o")
    if pack and packed.is_dir():
        raise OutputError(f"{packed} is a directory: choose another place with -o")
    if pack and packed.exists() and not is_packed_bundle(packed):
        raise OutputError(f"{packed} is not a packed bundle: choose another place with -o, or remove it")


def _open_as_bundle(folder: Path) -> None:
    try:
        Bundle(folder, check=False)
    except BundleError as error:
        raise OutputError(
            f"{folder} is a directory that is not a bundle, or has other files in it ({error}): choose another place "
            "with -o, or remove it"
        ) from error


def _prefix(output: Path) -> str:
    return f".{output.name}.partial-"


def _put_in_place(directory: Path, output: Path) -> None:
    """Renames the new bundle to its place; the old one is moved beside the new one's folder, which is removed."""
    if output.exists():
        output.rename(directory.with_name(_REPLACED))
    directory.rename(output)
    sync(output.parent)


def _restore_replaced(output: Path) -> None:
    """Puts a bundle back that an export had moved aside when it was killed between its two renames."""
    for sibling, lock in abandoned(_prefix(output), output.parent):
        if (sibling / _REPLACED).exists() and not output.exists():
            (sibling / _REPLACED).rename(output)
        os.close(lock)


def _pack(directory: Path, target: Path) -> None:
    """Writes the directory's files to a ZIP without compression: weights do not compress, and can be read in place."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(p for p in directory.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(directory).as_posix())
