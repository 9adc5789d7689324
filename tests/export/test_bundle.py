"""A bundle is whole or not there, whatever happens while it is written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from rsvl.export.bundle import packed_path, staged, versions, write_manifest
from rsvl.runtime.bundle import Bundle, sha256
from rsvl.runtime.errors import OutputError
from rsvl.runtime.manifest import ImageSpec, Manifest, ModelSpec

MANIFEST = Manifest(ModelSpec("m", "t", "p", (ImageSpec(8, (0.5,) * 3, (0.5,) * 3),), None, ()), "fp32")


def write(output: Path, text: str, pack: bool = False) -> None:
    """A bundle of one file and its manifest."""
    with staged(output, pack) as directory:
        (directory / "golden").mkdir()
        (directory / "golden" / "a.txt").write_text(text)
        write_manifest(directory, MANIFEST)


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


BUNDLE = {"b", "b/golden", "b/golden/a.txt", "b/manifest.json"}


def test_staged_becomes_the_bundle_and_leaves_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "new" / "b", "1")
    assert everything(tmp_path / "new") == BUNDLE


def test_write_manifest_lists_the_hash_of_every_other_file(tmp_path: Path) -> None:
    write(tmp_path / "b", "1")
    manifest = Manifest.from_json((tmp_path / "b" / "manifest.json").read_text())
    assert manifest.files == {"golden/a.txt": sha256(tmp_path / "b" / "golden" / "a.txt")}


def test_staged_replaces_a_bundle(tmp_path: Path) -> None:
    write(tmp_path / "b", "1")
    write(tmp_path / "b", "2")
    assert everything(tmp_path) == BUNDLE
    assert (tmp_path / "b" / "golden" / "a.txt").read_text() == "2"


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_failure_leaves_the_bundle_that_was_there(tmp_path: Path, failure: type[BaseException]) -> None:
    write(tmp_path / "b", "1")
    with pytest.raises(failure), staged(tmp_path / "b") as directory:
        (directory / "half").touch()
        raise failure
    assert everything(tmp_path) == BUNDLE


def test_pack_holds_the_directory_uncompressed(tmp_path: Path) -> None:
    write(tmp_path / "b", "1" * 1000, pack=True)
    assert everything(tmp_path) == BUNDLE | {"b.rsvl"}
    with zipfile.ZipFile(packed_path(tmp_path / "b")) as archive:
        assert {entry.filename for entry in archive.infolist()} == {"golden/a.txt", "manifest.json"}
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("golden/a.txt") == b"1" * 1000


@pytest.mark.parametrize("pack", [False, True])
def test_staged_refuses_to_replace_what_is_not_a_bundle(tmp_path: Path, pack: bool) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "c.rsvl").mkdir()
    before = everything(tmp_path)
    for name in ("folder", "file", *(["c"] if pack else [])):
        with pytest.raises(OutputError, match="choose another place"):
            write(tmp_path / name, "1", pack)
    assert everything(tmp_path) == before


def test_folder_with_a_manifest_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "a web app"}')
    write(tmp_path / "b", "1")
    (tmp_path / "b" / "notes.txt").write_text("mine")
    (tmp_path / "c.rsvl").write_text("not a bundle")
    before = everything(tmp_path)
    for name in ("app", "b", "c"):
        with pytest.raises(OutputError, match="choose another place"):
            write(tmp_path / name, "2", pack=name == "c")
    assert everything(tmp_path) == before


def test_exports_to_one_place_at_once_all_end_well(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: write(tmp_path / "b", str(n), pack=True), range(16)))
    assert everything(tmp_path) == BUNDLE | {"b.rsvl"}
    Bundle(tmp_path / "b")
    Bundle(tmp_path / "b.rsvl")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Lets no file grow over 64 KiB: the system then fails the write, as it does when the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(OutputError, match=r"^cannot write .*b \(File too large\): free space[^\n]*$"):
        write(tmp_path / "b", "1" * 100_000)
    assert everything(tmp_path) == set()


def test_full_disk_while_packing_leaves_nothing(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(OutputError), staged(tmp_path / "b", pack=True) as directory:
        for part in range(3):
            (directory / str(part)).write_bytes(b"1" * 2**15)
    assert everything(tmp_path) == set()


def test_output_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write(tmp_path / "file" / "b", "1")


def killed_while_writing(output: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from rsvl.export.bundle import staged
with staged(Path({str(output)!r})) as directory:
    (directory / "manifest.json").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL


def test_killed_export_leaves_no_bundle_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    killed_while_writing(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert all(name.startswith(".b.partial-") for name in everything(tmp_path))
    write(tmp_path / "b", "2")
    assert everything(tmp_path) == BUNDLE


def test_export_leaves_another_one_alone_that_is_at_work(tmp_path: Path) -> None:
    with staged(tmp_path / "b") as directory:
        (directory / "first").touch()
        write(tmp_path / "b", "2")
        assert (directory / "first").exists()
        write_manifest(directory, MANIFEST)
    assert everything(tmp_path) == {"b", "b/first", "b/manifest.json"}


def test_bundle_lost_between_the_two_renames_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "b", "1")
    (tmp_path / ".b.partial-x").mkdir()
    (tmp_path / "b").rename(tmp_path / ".b.partial-x" / "replaced")
    with pytest.raises(ValueError, match="stop"), staged(tmp_path / "b"):
        raise ValueError("stop")
    assert everything(tmp_path) == BUNDLE


def test_versions_are_those_of_the_modules_whatever_distribution_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(__version__="1.31.1"))  # by onnxruntime-gpu
    monkeypatch.setattr("importlib.metadata.version", lambda name: pytest.fail(f"no distribution {name}"))
    assert versions("onnxruntime")["onnxruntime"] == "1.31.1"
