"""Names files that are no checkpoints for what they are: what a download left, other formats, a bundle."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

_BEGINNINGS = (
    (b"version https:", "a Git LFS pointer and not the file itself: fetch it with git lfs pull"),
    (b"GGUF", "a GGUF file: give the safetensors or PyTorch file that it was made from"),
    (b"\x89HDF", "an HDF5 file: give a PyTorch or safetensors file of the model"),
    (b"\x1f\x8b", "a gzip archive: unpack it, and give the checkpoint in it"),
    (b"7z\xbc\xaf", "a 7-Zip archive: unpack it, and give the checkpoint in it"),
    (b"Rar!", "a RAR archive: unpack it, and give the checkpoint in it"),
    (b"\x89PNG", "a picture: give a checkpoint"),
    (b"\xff\xd8\xff", "a picture: give a checkpoint"),
    (b"%PDF", "a PDF document: give a checkpoint"),
)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<?xml")
_AGAIN = "download it again"
_BEGINS = 1 << 12
"""Bytes from a file's beginning that are looked at."""


def what_it_is(path: Path) -> str | None:
    """What a file is, and what to do, where its beginning or its length shows that it is no whole checkpoint.

    Args:
        path: a regular file.
    """
    with path.open("rb") as file:
        begin = file.read(_BEGINS)
        size = os.fstat(file.fileno()).st_size
    if not begin:
        return f"empty: {_AGAIN}"
    if not begin.strip(b"\0"):
        return f"zeros, which a download that has stopped leaves: {_AGAIN}"
    if begin.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page, such as that of a login or an error, not the file behind it: open the link in a browser"
    for magic, named in _BEGINNINGS:
        if begin.startswith(magic):
            return named
    return _part(path, begin, size)


def _part(path: Path, begin: bytes, size: int) -> str | None:
    """Whether it is a part of a file, or an archive of something else."""
    if begin[8:9] == b"{":
        return _part_of_safetensors(path, int.from_bytes(begin[:8], "little"), size)
    if not begin.startswith(b"PK"):
        return None
    if not zipfile.is_zipfile(path):
        return f"the beginning of a PyTorch file or other ZIP archive, whose end is missing: {_AGAIN}"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if "manifest.json" in names:
        return BUNDLE
    if not any(name.endswith("data.pkl") for name in names):
        return "a ZIP archive without a checkpoint of PyTorch: unpack it, and give the checkpoint in it"
    return None


BUNDLE = "a bundle, which rsvl export made of a checkpoint: give the checkpoint, or give the bundle to rsvl run"


def _part_of_safetensors(path: Path, header: int, size: int) -> str | None:
    if header > size - 8:
        return f"the beginning of a safetensors file, whose header alone has {header} bytes: {_AGAIN}"
    with path.open("rb") as file:
        file.seek(8)
        try:
            tensors = json.loads(file.read(header)).values()
            whole = (
                8
                + header
                + max((tensor["data_offsets"][1] for tensor in tensors if "data_offsets" in tensor), default=0)
            )
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
            return None  # damaged, which its reader says
    return f"{size} of the {whole} bytes of a safetensors file: {_AGAIN}" if whole > size else None
