"""Mending a damaged bundle from another copy of it: each file from whichever copy has it as the manifest says."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rsvl.runtime.atomic import replacing
from rsvl.runtime.bundle import MANIFEST, Bundle, safe_name, sha256
from rsvl.runtime.errors import BundleError
from rsvl.runtime.manifest import Manifest


def heal(source: str | Path, spare: str | Path) -> list[Path]:
    """Makes both copies of a bundle whole, each from the other where it is damaged; files take their place whole.

    Args:
        source: a bundle's folder or `.rsvl` file.
        spare: another copy of the same form.

    Returns:
        The files that were mended, in both.

    Raises:
        BundleError: they are of different bundles or forms, or a file is damaged in both.
        OutputError: a file cannot be written.

    Examples:
        >>> import shutil
        >>> spare = shutil.copytree("tiny.bundle", "spare.bundle")
        >>> damaged = Path("tiny.bundle/tokenizer.json").write_text("")
        >>> heal("tiny.bundle", "spare.bundle")
        [PosixPath('tiny.bundle/tokenizer.json')]
    """
    copies = Path(source), Path(spare)
    if all(path.is_dir() for path in copies):
        return _heal_folders(copies)
    if all(path.is_file() for path in copies):
        return _heal_packed(copies)
    raise BundleError(f"{source} and {spare} are not two folders or two .rsvl files: give a copy of the same form")


def _heal_folders(copies: Sequence[Path]) -> list[Path]:
    manifests = {folder: text for folder in copies if (text := _manifest(folder)) is not None}
    if not manifests:
        raise BundleError(f"{copies[0]}: its manifest is damaged, and that of {copies[1]} too: copy it again")
    if len(set(manifests.values())) > 1:
        raise BundleError(f"{copies[0]} and {copies[1]} are different bundles: give a copy of the same one")
    good = next(iter(manifests))
    hashes = Manifest.from_json(manifests[good].decode("utf-8")).files
    sound = {name: [folder for folder in copies if _is_sound(folder, name, hashes[name])] for name in hashes}
    for folder in copies:
        if 2 * sum(folder in found for found in sound.values()) < len(hashes):
            raise BundleError(f"{folder}: most of its files are not those of the other copy: give a copy of the same")
    for name, found in sound.items():
        if not found:
            raise BundleError(f"{copies[0]}: {name} is damaged, and in {copies[1]} too: copy it again")
    sound[MANIFEST] = list(manifests)
    mended = []
    for name, found in sound.items():
        for folder in copies:
            if folder not in found:
                mended.append(folder / safe_name(name, folder))
                _copy(found[0] / safe_name(name, folder), mended[-1])
    return mended


def _manifest(folder: Path) -> bytes | None:
    """A manifest's text, None where it is damaged."""
    try:
        text = (folder / MANIFEST).read_bytes()
        Manifest.from_json(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, BundleError):
        return None
    return text


def _is_sound(folder: Path, name: str, expected: str) -> bool:
    try:
        return sha256(folder / safe_name(name, folder)) == expected
    except OSError:
        return False


def _heal_packed(copies: Sequence[Path]) -> list[Path]:
    whole = [path for path in copies if _opens(path)]
    if not whole:
        raise BundleError(f"{copies[0]} is damaged, and {copies[1]} too: copy it again")
    damaged = [path for path in copies if path not in whole]
    for path in damaged:
        _copy(whole[0], path)
    return damaged


def _opens(path: Path) -> bool:
    try:
        Bundle(path)
    except BundleError:
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
